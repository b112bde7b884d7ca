/* Which layers and vocabulary rows each rank owns. Pure. SPDX-License-Identifier: MIT */
#ifndef SRC_CLUSTER_PARTITION_H
#define SRC_CLUSTER_PARTITION_H

#include <stdint.h>

#include "src/core/error.h"

/* Half-open ranges; either may be empty. */
struct partition_slice {
    int32_t layer_first, layer_end;
    int32_t vocab_first, vocab_end; /* rows of the output matrix; for now all on rank 0 */
};

struct partition_input {
    const uint64_t *layer_cost; /* [n_layers] bytes read per token */
    int32_t n_layers;
    uint64_t head_cost; /* rank 0 also does this much */
    int32_t n_vocab;
    int32_t n_ranks;
};

/* Contiguous split that makes the most loaded rank as light as possible (exact, by dynamic programming; ties: rank 0 gets as few
 * layers as it may, then the ranks after it are split by the same rule). Rank 0 owns no layer only where that makes the most
 * loaded rank lighter: the head alone is as heavy, or there are too few layers. Every other rank owns at least one: more ranks
 * than that allows is an error that says how many would do. slices: [n_ranks]. */
int partition_balance(const struct partition_input *in, struct partition_slice *slices, struct error *err);

/* By hand: counts[i] layers on rank i, each >= 0, sum n_layers, n_counts == n_ranks; the message says what was found and
 * expected. */
int partition_from_counts(const struct partition_input *in, const int32_t *counts, int32_t n_counts,
                          struct partition_slice *slices, struct error *err);

#endif
