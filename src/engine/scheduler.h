/* Decides what the next batch holds: sequences in, batches out. Pure logic, no MPI. SPDX-License-Identifier: MIT */
#ifndef SRC_ENGINE_SCHEDULER_H
#define SRC_ENGINE_SCHEDULER_H

#include "src/engine/batch.h"
#include "src/engine/pages.h"
#include "src/engine/sequence.h"

/* Sequences that wait, first come first served. */
struct scheduler_queue {
    struct sequence *first, *last; /* linked by sequence->next */
};

struct scheduler {
    struct page_pool pool;
    struct sequence **slots; /* [n_slots] owned array of borrowed sequences; NULL = free */
    int32_t n_slots;
    int32_t max_rows; /* rows a batch may hold */
    int32_t chunk;    /* prompt rows of one sequence a batch may hold */
    uint64_t n_batches;
    struct scheduler_queue waiting, ended;
};

struct scheduler_options {
    int32_t n_slots, n_pages, max_rows, chunk;
};
int scheduler_init(struct scheduler *s, const struct scheduler_options *options, struct error *err);
void scheduler_free(struct scheduler *s);

/* Puts a sequence (borrowed until scheduler_take_ended gives it back) at the end of the queue; it gets a slot when one is free.
 */
void scheduler_add(struct scheduler *s, struct sequence *sequence);
/* Every sequence that has not stopped stops as cancelled. */
void scheduler_cancel_all(struct scheduler *s);

/* Fills *batch with rows that can run now: the newest token of every running sequence, then chunks of prompts; takes the pages
 * that they need. Returns the number of rows; 0 = nothing can run until a batch comes home. */
int32_t scheduler_next(struct scheduler *s, struct batch *batch);

/* A batch came home: its rows are no longer in flight. */
void scheduler_returned(struct scheduler *s, const struct batch *batch);

/* A sequence that has stopped and has nothing in flight; its slot and pages are free again. NULL = none. */
struct sequence *scheduler_take_ended(struct scheduler *s);
/* 1 when it holds no sequence at all. */
int scheduler_is_empty(const struct scheduler *s);

#endif
