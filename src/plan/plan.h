/* Who owns what, and what that takes: the division of a model over ranks before anything is loaded. SPDX-License-Identifier: MIT
 */
#ifndef SRC_PLAN_PLAN_H
#define SRC_PLAN_PLAN_H

#include "src/cluster/partition.h"
#include "src/plan/speed.h"
#include "src/model/segment.h"
#include "src/model/slice.h"

enum plan_split_head { PLAN_SPLIT_HEAD_AUTO, PLAN_SPLIT_HEAD_ON, PLAN_SPLIT_HEAD_OFF }; /* "auto on off" */

struct plan_options {
    int32_t n_ranks;
    const int32_t *split; /* [n_split] layers of each rank; NULL = by what follows */
    int32_t n_split;
    int32_t n_ctx, n_slots;  /* KV pool: n_slots sequences of n_ctx positions, unless kv_memory says */
    uint64_t kv_memory;      /* bytes of KV pages a rank may have; 0 = not given */
    int32_t max_rows, depth; /* buffers */
    int32_t chunk;           /* prompt rows that travel together */
    enum kv_type k_type, v_type;
    int objective;                  /* enum partition_objective */
    int split_head;                 /* enum plan_split_head */
    int32_t mix_prompt, mix_answer; /* tokens of a typical request: weighs prompts against answers; 0, 0 = 512, 128 */
    const struct speed *speeds;     /* [n_ranks]; NULL = all alike, by bytes */
    const uint64_t *memory;         /* [n_ranks] bytes that a rank may take; NULL = enough */
};

struct plan_rank {
    struct slice_range range;
    int32_t n_pages; /* of the KV pool: the same on every rank */
    uint64_t weight_bytes, kv_bytes;
    uint64_t buffer_bytes; /* batches, intermediates, logits */
};

/* KV pages that one sequence of n_ctx positions can fill. */
int32_t plan_pages(int32_t n_ctx);

/* Fills ranks[n_ranks]: by --split; else by the ranks' speeds and memory; where all ranks are alike by the bytes that a token
 * reads, which no noise can change. -1 with *err when it does not fit, or not one page
 * fits kv_memory. */
int plan_make(const struct slice_sizes *sizes, const struct model_config *config, const struct plan_options *options,
              struct plan_rank *ranks, struct error *err);

/* Bytes of all that a rank needs. */
uint64_t plan_total(const struct plan_rank *rank);

#endif
