/* Decides what the next batch holds: sequences in, batches out. Pure logic, no MPI. SPDX-License-Identifier: MIT
 *
 * A sequence waits until there is a slot and its prompt fits into the free pages; first come, first served. Then its prompt is
 * computed in chunks, and then one row for each new token.
 *
 * - Running sequences form groups of equal size, one a rank, so every stage has one to compute at any time and none waits behind
 *   another: a batch takes at most running / n_ranks of them (rounded up), those that have waited longest. There are more groups
 *   where that hides the way between stages and pays (batch_cost_groups).
 * - Prompt chunks are mixed in by time (struct batch_cost): a batch takes at most `stretch` times as long as its running
 *   sequences' rows alone. When nothing runs, chunks have the size that brings prompts through the stages soonest.
 * - The oldest prompt gets at least half of that time; the other half goes to the shortest ones behind it.
 * - Full pages are found again by what they hold (pages.h) and shared, also those of sequences that have ended. A page may be
 *   read by batches after the one that completes it; a prompt whose next page is being computed waits for it.
 * - When a sequence needs a page and there is none, the youngest gives all of its pages back as soon as nothing of it is in
 * flight and waits again, in front; its prompt and answer so far are computed anew. So the oldest never waits for long. One that
 * has the pool for itself and finds it full stops as SEQUENCE_STOP_LENGTH, as does one whose prompt can never fit.
 * - When its batch has come home a sequence may be given more than the one token (n_ids): the rest is computed as a prompt. One
 * that was given nothing stays where it is.
 *
 * None of this changes a token: rows do not depend on their neighbours or on the size of chunks. */
#ifndef SRC_ENGINE_SCHEDULER_H
#define SRC_ENGINE_SCHEDULER_H

#include "src/engine/batch.h"
#include "src/engine/batch_cost.h"
#include "src/engine/pages.h"
#include "src/engine/sequence.h"

/* Linked by sequence->next and previous. */
struct sequence_list {
    struct sequence *first, *last;
    int32_t n;
};

struct scheduler_options {
    int32_t n_slots;        /* sequences that have pages at a time */
    int32_t n_pages;        /* KV pool; may be much smaller than n_slots full contexts */
    int32_t max_rows;       /* rows a batch may hold */
    int32_t chunk;          /* prompt rows a batch may hold */
    int32_t blind_chunk;    /* the same while the cost is not known; 0 = chunk */
    int32_t n_ranks;        /* stages that a batch passes, or depth if that is less; 0 = 1 */
    int32_t max_groups;     /* of running sequences, where more than n_ranks hide the way between stages; less = n_ranks */
    double stretch;         /* how many times longer a batch may take for the sake of prompts; 0 = 1.8 */
    int no_sharing;         /* 1: every row of every prompt is computed, for measurements */
    struct batch_cost cost; /* all zero: not known, prompt chunks have as many rows as they may */
    struct batch_way way;   /* between two stages */
};

struct scheduler_stats {
    uint64_t n_batches;
    uint64_t answer_rows, prompt_rows; /* computed; prompt_rows with what was computed anew */
    uint64_t shared_rows;              /* rows that were not computed because their page was there */
    uint64_t shared_pages;
    uint64_t n_preemptions;
    uint64_t n_evicted; /* kept pages whose content was given up */
    int32_t peak_pages; /* held at a time */
    int32_t peak_sequences;
};

enum { SCHEDULER_MAX_IN_FLIGHT = 128 };

struct scheduler {
    struct scheduler_options options;
    struct page_pool pool;
    struct sequence **slots; /* [n_slots] owned array of borrowed sequences; NULL = free. Those in flight stay where they are */
    int32_t n_slots;
    int32_t *free_slots; /* [n_slots] owned; the first n_free_slots are free, taken from the end */
    int32_t n_free_slots;
    struct sequence_list waiting, prompts; /* by age */
    struct sequence_list ready, landed;    /* by the time they came home */
    struct sequence_list finished;
    struct sequence *look;    /* where the search for stopped sequences in `waiting` goes on */
    struct sequence *lacking; /* the oldest that found no page and nobody to take one from */
    int found_wall;           /* one that has the pool for itself found it full in this call */
    uint64_t n_added;
    uint64_t refused_at; /* pool.n_given when the first in `waiting` was found not to fit */

    int32_t n_running;                        /* sequences whose prompt is through */
    int32_t flights[SCHEDULER_MAX_IN_FLIGHT]; /* rows of running sequences in batch number % SCHEDULER_MAX_IN_FLIGHT */
    int32_t n_rows_out, n_groups_out;         /* rows of running sequences in flight, batches that hold such */
    uint64_t n_batches, n_home;               /* batches made, come home */
    double answer_s;                          /* what the rows of running sequences alone cost in the last batch that had any */
    double wave_rows, wave_pairs;             /* of all prompts since none was there */

    struct sequence **members; /* [max_rows] owned: sequences of the batch that is being made */
    int32_t n_members, n_rows, n_changes;
    struct scheduler_stats stats;
};

int scheduler_init(struct scheduler *s, const struct scheduler_options *options, struct error *err);
void scheduler_free(struct scheduler *s);
/* A better guess of what batches cost; takes effect with the next batch. */
void scheduler_set_cost(struct scheduler *s, const struct batch_cost *cost);

/* Puts a sequence (borrowed until scheduler_take_ended gives it back) at the end of the queue. Any number may wait. Its `stop`
 * may be set at any time from now on: it leaves once nothing of it is in flight. */
void scheduler_add(struct scheduler *s, struct sequence *sequence);
/* Every sequence that has not stopped stops as cancelled. */
void scheduler_cancel_all(struct scheduler *s);

/* Fills *batch with rows that can run now and the changes of the page tables that they need. Returns the number of rows; 0 =
 * nothing can run until a batch comes home. A batch that was filled must be computed, after those before it. The batch's shape
 * should allow max_rows / KV_PAGE + min(n_slots, max_rows) page changes and those of one whole context; with fewer, less is
 * shared. */
int32_t scheduler_next(struct scheduler *s, struct batch *batch);

/* A batch came home (they do so in order): its rows are no longer in flight. The caller appends the tokens that they gave before
 * the next call. */
void scheduler_returned(struct scheduler *s, const struct batch *batch);

/* A sequence that has stopped and has nothing in flight; it has no slot and no pages any more. NULL = none. */
struct sequence *scheduler_take_ended(struct scheduler *s);
/* 1 when it holds no sequence at all. */
int scheduler_is_empty(const struct scheduler *s);
/* Counts so far. */
void scheduler_get_stats(const struct scheduler *s, struct scheduler_stats *out);

#endif
