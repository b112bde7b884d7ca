/* What a division over ranks will do: tokens a second, and who limits. Pure. SPDX-License-Identifier: MIT */
#ifndef SRC_PLAN_PREDICT_H
#define SRC_PLAN_PREDICT_H

#include "src/engine/batch_cost.h"
#include "src/plan/plan.h"

struct predict_rank {
    struct speed speed;
    double hop_s, bytes_per_s; /* to the next rank: a small message's way, and what longer ones add */
};

struct predict_input {
    int32_t n_ranks;
    const struct predict_rank *ranks; /* [n_ranks] */
    const struct plan_rank *plan;     /* [n_ranks] */
    const struct slice_sizes *sizes;
    int32_t dim, chunk, depth;
};

struct prediction {
    double tokens_per_s;
    int32_t limits; /* the most loaded rank */
};

/* A batch with row_bytes of hidden a row from one rank to the next, over a link with these figures. */
struct batch_way predict_way(size_t row_bytes, double latency_s, double bytes_per_s);

/* Decoding with n_streams sequences of `past` positions each, in the best number of groups (at least as many as there are ranks,
 * fewer with fewer streams, at most `depth`): a round takes the way round the ring, or as long as the most loaded rank works for
 * all groups. */
struct prediction predict_decode(const struct predict_input *in, int32_t n_streams, double past);

/* A prompt of n tokens until its first token: chunks follow each other through the ring, at most `depth` under way. */
struct prediction predict_prefill(const struct predict_input *in, int32_t n);

/* Seconds of a step on one rank: its layers, its part of the head for n_tokens rows, and on rank 0 sampling. */
double predict_rank_s(const struct predict_input *in, int32_t rank, const struct speed_step *step, int32_t n_tokens);

#endif
