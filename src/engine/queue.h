/* How the two threads of a rank hand work to each other: a lock-free queue, and a bell to sleep on. SPDX-License-Identifier: MIT
 */
#ifndef SRC_ENGINE_QUEUE_H
#define SRC_ENGINE_QUEUE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "src/core/error.h"

/* One thread puts, one thread takes. */
struct queue {
    void **items; /* [capacity] owned */
    uint32_t capacity;
    _Alignas(64) atomic_uint head; /* next to take */
    _Alignas(64) atomic_uint tail; /* next to put */
};
/* capacity: at least so many items. */
int queue_init(struct queue *q, uint32_t capacity, struct error *err);
void queue_free(struct queue *q);
/* The queue must have room. */
void queue_put(struct queue *q, void *item);
/* NULL when it is empty. */
void *queue_take(struct queue *q);

/* A thread sleeps until somebody rings; a ring before the sleep is not lost. */
struct bell {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    int rung;
};
void bell_init(struct bell *b);
void bell_free(struct bell *b);
void bell_ring(struct bell *b);
/* Sleeps until the bell was rung since the last wait, or timeout_us has passed (negative: for ever). */
void bell_wait(struct bell *b, double timeout_us);

#endif
