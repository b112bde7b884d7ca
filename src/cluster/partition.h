/* Which layers and vocabulary rows each rank owns. Pure. SPDX-License-Identifier: MIT */
#ifndef SRC_CLUSTER_PARTITION_H
#define SRC_CLUSTER_PARTITION_H

#include <stdint.h>

#include "src/core/error.h"

/* Half-open ranges, contiguous in rank order; either may be empty. */
struct partition_slice {
    int32_t layer_first, layer_end;
    int32_t vocab_first, vocab_end; /* rows of the output matrix */
};

enum partition_objective {
    PARTITION_THROUGHPUT, /* the most loaded rank as light as possible: many streams keep all ranks busy */
    PARTITION_LATENCY     /* the sum of the ranks as small as possible: one stream passes them one after the other */
};

/* Costs are in any one unit: seconds, or bytes where all ranks are equal. */
struct partition_input {
    int32_t n_ranks, n_layers, n_vocab;
    enum partition_objective objective;
    int32_t tile; /* > 0: each rank may own a run of vocabulary tiles of so many rows, whole but for the last; 0: all on rank 0 */
    /* 1, with tiles and throughput: among alike ranks many splits are equally good, as the tiles of a divided head fill what
     * layers leave. The one with the most even layers is best for prompts, which pass the layers and not the head, and has the
     * most even head: taken where it loads no rank by more than 1 % above the best. */
    int prefer_even;
    const double *layer_cost;    /* [n_ranks, n_layers] */
    const double *layers_once;   /* [n_ranks] added where a rank owns layers */
    const double *row_cost;      /* [n_ranks] one vocabulary row */
    const double *head_once;     /* [n_ranks] added where a rank owns vocabulary rows */
    const uint64_t *layer_bytes; /* [n_layers] weights and cache */
    const uint64_t *row_bytes;   /* [n_ranks] one vocabulary row, with its logits */
    const uint64_t *memory;      /* [n_ranks] bytes for layers and rows; UINT64_MAX = enough */
};

/* Exact for throughput, but for prefer_even. Other ties: rank 0 gets as few layers as it may, but at least one unless none makes
 * the most loaded rank lighter; then the ranks after it are split by the same rule. Vocabulary tiles then level the loads.
 * Latency: the fastest ranks are filled to their memory; a divided head counts by its slowest part, since all parts run at once;
 * within 1 % of the best. Ties: low ranks are filled first, the others stay empty.
 * -1 with *err when no split fits the memory: what is needed and what there is. slices: [n_ranks]. */
int partition_balance(const struct partition_input *in, struct partition_slice *slices, struct error *err);

/* By hand: counts[i] layers on rank i, each >= 0, sum n_layers, n_counts == n_ranks; the message says what was found and
 * expected. The vocabulary is divided as by partition_balance, without a look at memory. */
int partition_from_counts(const struct partition_input *in, const int32_t *counts, int32_t n_counts,
                          struct partition_slice *slices, struct error *err);

/* What a rank's range costs; with 1e-9 of slack for the order of summation. */
double partition_layers_load(const struct partition_input *in, int32_t rank, int32_t first, int32_t end);
double partition_head_load(const struct partition_input *in, int32_t rank, int32_t n_rows);

#endif
