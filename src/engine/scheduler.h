/* Decides what the next batch holds: sequences in, batches out. Pure logic, no MPI. SPDX-License-Identifier: MIT */
#ifndef SRC_ENGINE_SCHEDULER_H
#define SRC_ENGINE_SCHEDULER_H

#include "src/engine/batch.h"
#include "src/engine/pages.h"
#include "src/engine/sequence.h"

struct scheduler {
    struct page_pool pool;
    struct sequence **slots; /* [n_slots] owned array of borrowed sequences; NULL = free */
    int32_t n_slots;
    int32_t max_rows; /* rows a batch may hold */
    int32_t chunk;    /* prompt rows of one sequence a batch may hold */
    uint64_t n_batches;
};

struct scheduler_options {
    int32_t n_slots, n_pages, max_rows, chunk;
};
int scheduler_init(struct scheduler *s, const struct scheduler_options *options, struct error *err);
void scheduler_free(struct scheduler *s);

/* Puts a sequence (borrowed until scheduler_remove) into its slot, which must be free. */
void scheduler_add(struct scheduler *s, struct sequence *sequence);
/* Takes it out and gives its pages back to the pool; nothing of it may be in flight. */
void scheduler_remove(struct scheduler *s, struct sequence *sequence);

/* Fills *batch with rows that can run now: the newest token of every running sequence, then chunks of prompts; takes the pages
 * that they need. Returns the number of rows; 0 = nothing can run until a batch comes home. */
int32_t scheduler_next(struct scheduler *s, struct batch *batch);

/* A batch came home: its rows are no longer in flight. */
void scheduler_returned(struct scheduler *s, const struct batch *batch);

#endif
