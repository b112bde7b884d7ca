/* What a rank's two threads did and when, for a timeline. SPDX-License-Identifier: MIT
 *
 * Each thread writes into a ring of its own that was made beforehand: no lock, no allocation, some 10 ns an event. The oldest
 * events give way to the newest. */
#ifndef SRC_ENGINE_TRACE_H
#define SRC_ENGINE_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include "src/core/error.h"

enum trace_kind {
    TRACE_FORWARD,   /* compute: layers (and the embedding) over a batch; value = rows */
    TRACE_HEAD,      /* compute: head and sampling; value = rows */
    TRACE_SEND,      /* messages: handed to MPI for the next rank; value = bytes */
    TRACE_RECEIVE,   /* messages: arrived from the previous rank; value = bytes */
    TRACE_SEND_HEAD, /* messages of the divided head: hidden to an owner, or an owner's answer; value = bytes */
    TRACE_RECEIVE_HEAD,
    TRACE_IN_FLIGHT, /* messages, rank 0: value = batches in flight from now on */
};

struct trace_event {
    double begin_s;   /* clock_now_s() */
    uint64_t batch;   /* its number; UINT64_MAX = of no batch */
    float duration_s; /* 0 for messages */
    uint32_t value;
    uint32_t kind; /* enum trace_kind */
    int32_t peer;  /* rank at the other end of a message */
};

enum trace_thread { TRACE_COMPUTE, TRACE_MESSAGES, TRACE_N_THREADS };

struct trace_ring {
    struct trace_event *events; /* [capacity] owned */
    uint64_t capacity;          /* a power of two */
    uint64_t n;                 /* events so far, also those that were overwritten */
};

struct trace {
    struct trace_ring rings[TRACE_N_THREADS];
};

/* capacity: events that each thread keeps, a power of two. The memory is touched, so that recording never waits for it. */
int trace_init(struct trace *t, uint64_t capacity, struct error *err);
void trace_free(struct trace *t);

/* Event i of those kept, the oldest first; i < trace_count. */
const struct trace_event *trace_get(const struct trace *t, enum trace_thread thread, uint64_t i);
uint64_t trace_count(const struct trace *t, enum trace_thread thread);

static inline void trace_put(struct trace_ring *ring, struct trace_event event)
{
    ring->events[ring->n & (ring->capacity - 1)] = event;
    ring->n++;
}

/* The compute thread worked on a batch. t NULL = nothing is recorded. */
static inline void trace_work(struct trace *t, enum trace_kind kind, double begin_s, double end_s, uint64_t batch, size_t value)
{
    if (t) {
        trace_put(&t->rings[TRACE_COMPUTE], (struct trace_event){.begin_s = begin_s,
                                                                 .batch = batch,
                                                                 .duration_s = (float)(end_s - begin_s),
                                                                 .value = (uint32_t)value,
                                                                 .kind = kind});
    }
}

/* Something happened on the main thread. t NULL = nothing is recorded. */
static inline void trace_mark(struct trace *t, enum trace_kind kind, double at_s, uint64_t batch, size_t value, int32_t peer)
{
    if (t) {
        trace_put(&t->rings[TRACE_MESSAGES],
                  (struct trace_event){.begin_s = at_s, .batch = batch, .value = (uint32_t)value, .kind = kind, .peer = peer});
    }
}

#endif
