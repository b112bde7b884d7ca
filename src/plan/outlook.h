/* What a division promises, and what else could be done with the same machines. Pure. SPDX-License-Identifier: MIT */
#ifndef SRC_PLAN_OUTLOOK_H
#define SRC_PLAN_OUTLOOK_H

#include "src/cluster/ring.h"
#include "src/plan/predict.h"

enum { OUTLOOK_STREAMS = 3, OUTLOOK_PROMPT = 2048, OUTLOOK_VERDICT_BYTES = 600 };
extern const int32_t outlook_streams[OUTLOOK_STREAMS]; /* 1, 8, 32 */

struct outlook_input {
    const struct slice_sizes *sizes;
    const struct model_config *config;
    struct plan_options options;   /* with speeds and memory */
    const struct ring_link *links; /* [n_ranks] */
};

/* Tokens a second. */
struct outlook {
    int fits;
    double streams[OUTLOOK_STREAMS], prompt;
    int32_t limits; /* the rank that limits many streams */
};

/* Of a division that has been made. */
struct outlook outlook_of(const struct outlook_input *in, const struct plan_rank *plan);

/* The ways to use the machines. */
struct outlook_ways {
    struct outlook split;          /* the division */
    struct outlook latency;        /* divided for one stream instead */
    struct outlook equal;          /* the same number of layers for all, the head on rank 0 */
    struct outlook one;            /* the best rank alone */
    struct outlook pipelines;      /* n_pipelines of them side by side, the best of their numbers */
    int32_t one_rank, n_pipelines; /* n_pipelines 0: no number of them fits */
    int32_t n_slow, *slow;         /* [n_slow] owned: ranks that only slow a single stream */
    int32_t most_streams;          /* sequences of the context that fit the memory, 0 = not known */
};
int outlook_compare(const struct outlook_input *in, const struct plan_rank *plan, struct outlook_ways *out, struct error *err);
void outlook_free(struct outlook_ways *ways);

/* What to do, as one or two sentences. */
void outlook_verdict(const struct outlook_ways *ways, int32_t n_ranks, char *text, size_t size);

#endif
