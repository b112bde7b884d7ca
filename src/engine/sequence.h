/* One request from its prompt to its end; exists on rank 0 only, elsewhere it is a slot number. SPDX-License-Identifier: MIT */
#ifndef SRC_ENGINE_SEQUENCE_H
#define SRC_ENGINE_SEQUENCE_H

#include "src/engine/sampler.h"

enum sequence_stop {
    SEQUENCE_RUNNING,
    SEQUENCE_STOP_EOS,       /* the model ended its text */
    SEQUENCE_STOP_STRING,    /* a stop string appeared */
    SEQUENCE_STOP_LENGTH,    /* max_new tokens, or the context is full */
    SEQUENCE_STOP_CANCELLED, /* the user's signal */
};
/* "eos", "stop", "length", "cancelled": as results name them. */
const char *sequence_stop_name(enum sequence_stop stop);

struct sequence {
    int32_t *ids; /* [max_ids] owned: prompt, then answer */
    int32_t n_prompt, n_ids, max_ids;
    int32_t n_scheduled; /* rows [0, n_scheduled) have been put into batches */
    int32_t n_in_flight; /* batches under way that hold rows of it */
    int32_t slot;        /* row of the page tables; -1 = waits for one */
    int32_t *pages;      /* [max_pages] owned: pages of the pool, in order of position */
    int32_t n_pages, max_pages;
    int want_prompt_logits; /* every row of the prompt comes home, not only the last */
    enum sequence_stop stop;
    struct sampler_params sampling;
    void *owner;           /* the command's; not looked at here */
    struct sequence *next; /* the scheduler's queues */
};

/* Copies n_prompt ids (at least one); room for max_ids in all. */
int sequence_init(struct sequence *s, const int32_t *ids, int32_t n_prompt, int32_t max_ids, struct error *err);
void sequence_free(struct sequence *s);
/* Takes a sampled token as the next one; there must be room. */
void sequence_append(struct sequence *s, int32_t id);

#endif
