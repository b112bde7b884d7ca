/* Who owns what, and what that takes: the division of a model over ranks before anything is loaded. SPDX-License-Identifier: MIT
 */
#ifndef SRC_COMMANDS_PLAN_H
#define SRC_COMMANDS_PLAN_H

#include "src/commands/options.h"
#include "src/model/segment.h"
#include "src/model/slice.h"

struct plan_options {
    int32_t n_ranks;
    const struct option_ints *split; /* layers of each rank; NULL or not given = by bytes */
    int split_head;                  /* 1: every rank owns vocabulary rows */
    int32_t n_ctx, n_slots;          /* KV pool: n_slots sequences of n_ctx positions, unless kv_memory says */
    uint64_t kv_memory;              /* bytes of KV pages a rank may have; 0 = not given */
    int32_t max_rows, depth;         /* buffers */
    enum kv_type k_type, v_type;
};

struct plan_rank {
    struct slice_range range;
    int32_t n_pages; /* of the KV pool: the same on every rank */
    uint64_t weight_bytes, kv_bytes;
    uint64_t buffer_bytes; /* batches, intermediates, logits */
};

/* KV pages that one sequence of n_ctx positions can fill. */
int32_t plan_pages(int32_t n_ctx);

/* Fills ranks[n_ranks]. The layers are divided by --split or by the bytes that a token reads, the head counted on rank 0. -1 with
 * *err when the ranks do not suit the layers, or not one page fits kv_memory. */
int plan_make(const struct gguf *file, const struct model_config *config, const struct plan_options *options,
              struct plan_rank *ranks, struct error *err);

/* Bytes of all that a rank needs. */
uint64_t plan_total(const struct plan_rank *rank);

#endif
