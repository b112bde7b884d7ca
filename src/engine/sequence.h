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

/* Where a sequence stands; the scheduler's. */
enum sequence_place {
    SEQUENCE_NOWHERE,
    SEQUENCE_WAITS,   /* for a slot and pages */
    SEQUENCE_PROMPT,  /* rows of its prompt (after a preemption: of its answer too) are to be computed */
    SEQUENCE_READY,   /* its newest token can be computed */
    SEQUENCE_FLIES,   /* its last known row is in a batch under way */
    SEQUENCE_LANDED,  /* that batch came home; the token is about to be appended */
    SEQUENCE_FINISHED /* waits to be taken back */
};

struct sequence {
    /* What the scheduler looks at in every batch stands together. */
    struct sequence *next, *previous; /* in one of the scheduler's lists */
    int32_t *ids;                     /* [max_ids] owned: prompt, then answer */
    int32_t n_ids;
    int32_t n_scheduled; /* rows [0, n_scheduled) have been put into batches, or their pages are shared */
    int32_t n_in_flight; /* batches under way that hold rows of it */
    enum sequence_stop stop;
    enum sequence_place place;
    int32_t slot;    /* row of the page tables; -1 = none */
    uint64_t number; /* order of arrival: the age */

    int32_t n_prompt, max_ids;
    int want_prompt_logits; /* every row of the prompt comes home, not only the last */
    struct sampler_params sampling;
    void *owner; /* the command's; not looked at here */

    /* The scheduler's, from scheduler_add to scheduler_take_ended. */
    int32_t *pages; /* [max_pages] owned: pages of the pool, in order of position */
    int32_t n_pages, max_pages;
    int32_t n_told;    /* entries of its page table that batches have carried */
    int32_t n_wanted;  /* rows of the prompt that came or come home; not wanted again after a preemption */
    int32_t n_chained; /* full pages [0, n_chained) have the content `chain` (pages.h) */
    uint64_t chain;
    uint64_t last_batch; /* that holds rows of it; UINT64_MAX = none */
};

/* Copies n_prompt ids (at least one); room for max_ids in all. */
int sequence_init(struct sequence *s, const int32_t *ids, int32_t n_prompt, int32_t max_ids, struct error *err);
void sequence_free(struct sequence *s);
/* Takes a sampled token as the next one; there must be room. */
void sequence_append(struct sequence *s, int32_t id);

#endif
