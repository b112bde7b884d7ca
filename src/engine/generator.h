/* Rank 0's loop: sequences go through scheduler, ring and sampler until all have ended. SPDX-License-Identifier: MIT */
#ifndef SRC_ENGINE_GENERATOR_H
#define SRC_ENGINE_GENERATOR_H

#include <signal.h>

#include "src/engine/scheduler.h"
#include "src/engine/stage.h"

/* A token was sampled and appended (main thread). May set sequence->stop. */
typedef void (*generator_token_fn)(void *context, struct sequence *sequence, const struct sampler_result *result);
/* A sequence has stopped and nothing of it is in flight: it has left the scheduler, its pages are free, and it is the caller's
 * again. */
typedef void (*generator_end_fn)(void *context, struct sequence *sequence);
/* Asked before every batch (main thread): the caller may generator_add. 1 = more sequences may still come, 0 = no more. */
typedef int (*generator_more_fn)(void *context);
/* A batch is home, its tokens have been taken (main thread): its times are to be had. */
typedef void (*generator_batch_fn)(void *context, const struct batch *batch);
/* Logits [n_vocab] of a prompt row of a sequence that wants them, in order of position (compute thread; main thread when the head
 * is divided). */
typedef void (*generator_logits_fn)(void *context, const struct sequence *sequence, int32_t position, const float *logits);

/* 1 when the token ends a text (any thread). */
typedef int (*generator_is_end_fn)(void *context, int32_t id);

struct generator {
    struct stage *stage;            /* borrowed; its on_logits and on_shortlist are generator's, with it as context */
    struct scheduler *scheduler;    /* borrowed */
    struct sampler *sampler;        /* owned */
    struct sampler_result *results; /* [n_slots] owned: of the sequence in the slot, written by the compute thread */
    int32_t n_vocab;
    generator_token_fn on_token;
    generator_end_fn on_end;              /* NULL = nobody cares */
    generator_more_fn more;               /* NULL = all sequences are there from the start */
    generator_batch_fn on_batch;          /* NULL = nobody cares */
    generator_logits_fn on_prompt_logits; /* NULL = nobody wants them */
    generator_is_end_fn is_end;           /* NULL = no token ends a text; asked when the backend does not compute */
    void *context;
    const volatile sig_atomic_t *cancel; /* borrowed; once it is not 0, all sequences stop as cancelled. NULL = never */
};
int generator_init(struct generator *g, struct stage *stage, struct scheduler *scheduler, int32_t n_vocab, struct error *err);
void generator_free(struct generator *g);

/* Plugs for stage_options.on_logits and on_shortlist. */
void generator_on_logits(void *context, const struct batch *batch, int32_t row, const float *logits);
void generator_on_shortlist(void *context, const struct batch *batch, int32_t row, const struct shortlist *list);

/* Hands a sequence over (borrowed until on_end): it waits for its turn. Any number may wait. */
void generator_add(struct generator *g, struct sequence *sequence);
/* From any thread: `more` has something to say, look again. */
void generator_wake(struct generator *g);

/* Works until no sequence is left and `more` says that none will come. */
void generator_run(struct generator *g);

#endif
