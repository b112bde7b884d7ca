/* All that a rank has, and its loop: one thread moves messages, another computes. SPDX-License-Identifier: MIT
 *
 * A batch enters (rank 0: from the scheduler, others: from the previous rank), is computed in place in its buffer and leaves to
 * the next rank. The last stage keeps only the hidden of the rows that want a token; every batch comes home to rank 0, where the
 * head turns them into logits. When the head is divided, each owner of vocabulary rows computes its part (stage_head.c). */
#ifndef SRC_ENGINE_STAGE_H
#define SRC_ENGINE_STAGE_H

#include <pthread.h>
#include <stdatomic.h>

#include "src/cluster/link.h"
#include "src/cluster/mail.h"
#include "src/cluster/wait.h"
#include "src/engine/batch.h"
#include "src/engine/queue.h"
#include "src/engine/trace.h"
#include "src/model/head.h"
#include "src/model/segment.h"

/* Logits of one row that wants a token, on rank 0, in the order of the rows: on the compute thread, or on the main thread when
 * the head is divided. */
typedef void (*stage_logits_fn)(void *context, const struct batch *batch, int32_t row, const float *logits);
/* The same when the head is divided and the row's need is not every logit; main thread. */
typedef void (*stage_shortlist_fn)(void *context, const struct batch *batch, int32_t row, const struct shortlist *list);

/* Vocabulary rows of a rank, in whole tiles but for the last. */
struct stage_owner {
    int32_t vocab_first, vocab_end;
};

/* Called once on the compute thread as it starts. */
typedef void (*stage_bind_fn)(void *context);

struct stage_options {
    int32_t depth;            /* batches in flight */
    struct batch_shape shape; /* n_stages = number of ranks */
    int32_t n_slots, max_pages_per_slot;
    const struct stage_owner *owners;        /* [n_stages] borrowed: the head is divided; NULL = rank 0 has all of it */
    stage_logits_fn on_logits;               /* rank 0 */
    stage_shortlist_fn on_shortlist;         /* rank 0, when the head is divided */
    void *on_logits_context;                 /* of both */
    double link_latency_s, link_bytes_per_s; /* simulated network; 0 bytes/s = none */
    struct trace *trace;                     /* borrowed; NULL = nothing is recorded */
};

/* What a stage did; times in seconds. */
struct stage_totals {
    double busy_s; /* the compute thread worked */
    double wait_s; /* it had nothing to do, between the first and the last batch */
    uint64_t n_batches, n_rows;
};

struct stage {
    struct cluster *cluster;  /* borrowed */
    struct link *link;        /* owned */
    struct mail *mail;        /* owned; NULL = the head is undivided */
    struct stage_head *split; /* owned: of the divided head */
    struct segment *segments; /* [n_segments] borrowed: layers in order, on one device or on two */
    int32_t n_segments;
    struct head *head; /* borrowed; NULL on ranks that own no vocabulary rows */
    struct stage_options options;
    struct stage_entry *entries; /* [n_entries] owned: every batch buffer */
    int32_t n_entries;
    struct stage_entry **idle; /* [n_entries] owned: rank 0's buffers that can be filled */
    int32_t n_idle;
    int32_t *page_table;                 /* [n_slots, max_pages_per_slot] owned */
    int32_t *tokens, *positions, *slots; /* [max_rows] owned: the rows as the backend wants them */

    pthread_t thread;
    int thread_runs;
    stage_bind_fn bind_thread; /* what the compute thread calls first */
    void *bind_context;
    struct queue forward, home, done; /* to the compute thread: new batches, hidden for the head; and back */
    struct bell compute_bell, main_bell;
    struct wait_policy wait;
    int32_t n_jobs;         /* handed to the compute thread and not yet taken back */
    struct link_delay port; /* the simulated network's end at this rank */
    atomic_int woken;
    int stopped; /* the stop message has been sent on (rank 0: has come home) */

    int32_t n_in_flight; /* rank 0: submitted and not yet returned */

    struct stage_entry *at_work; /* what the compute thread works on, */
    double began_s, segment_s;   /* since when; and the segment */
    double head_s;               /* the last part of the head took so long */
    struct stage_totals totals;  /* written by the compute thread; whole when it has ended (after stage_stop, stage_work) */
    double hops_s;               /* rank 0: time of n_rounds batches on the way between stages, summed */
    uint64_t n_rounds;
};

/* Buffers, tables, the ring's connections and the compute thread. bind_thread: what the compute thread calls first (binding to
 * cores), NULL = nothing. Collective. */
int stage_init(struct stage *stage, struct cluster *cluster, struct segment *segments, int32_t n_segments, struct head *head,
               const struct stage_options *options, stage_bind_fn bind_thread, void *bind_context, struct error *err);
/* After stage_stop or stage_work, or a failed stage_init. */
void stage_free(struct stage *stage);

/* Ranks above 0: works until the stop message has passed. The compute thread has ended then. */
void stage_work(struct stage *stage);

/* Rank 0: an empty batch to fill, or NULL when `depth` are in flight. */
struct batch *stage_batch(struct stage *stage);
/* Sends the filled batch on its way. */
void stage_submit(struct stage *stage, struct batch *batch);
/* Gives back a batch that was not filled after all. */
void stage_return(struct stage *stage, struct batch *batch);
/* Waits until a batch is home and its logits have been delivered: it is the caller's until stage_return. NULL when stage_wake
 * came first, and within 0.1 s when nothing is in flight. */
struct batch *stage_wait(struct stage *stage);
/* From any thread: ends a stage_wait. */
void stage_wake(struct stage *stage);
/* Tells every rank to leave its loop and waits for the message to come round. Nothing may be in flight. The compute thread has
 * ended then. */
void stage_stop(struct stage *stage);

#endif
