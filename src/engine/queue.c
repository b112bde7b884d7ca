/* SPDX-License-Identifier: MIT */
#include "src/engine/queue.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

int queue_init(struct queue *q, uint32_t capacity, struct error *err)
{
    q->capacity = 1; /* a power of two: head and tail may wrap */
    while (q->capacity < capacity) {
        q->capacity *= 2;
    }
    q->items = calloc(q->capacity, sizeof *q->items);
    atomic_init(&q->head, 0);
    atomic_init(&q->tail, 0);
    return q->items ? 0 : error_set(err, "out of memory for a queue");
}

void queue_free(struct queue *q)
{
    free(q->items);
    q->items = NULL;
}

void queue_put(struct queue *q, void *item)
{
    unsigned tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
    assert(tail - atomic_load_explicit(&q->head, memory_order_acquire) < q->capacity);
    q->items[tail % q->capacity] = item;
    atomic_store_explicit(&q->tail, tail + 1, memory_order_release);
}

void *queue_take(struct queue *q)
{
    unsigned head = atomic_load_explicit(&q->head, memory_order_relaxed);
    if (head == atomic_load_explicit(&q->tail, memory_order_acquire)) {
        return NULL;
    }
    void *item = q->items[head % q->capacity];
    atomic_store_explicit(&q->head, head + 1, memory_order_release);
    return item;
}

void bell_init(struct bell *b)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&b->mutex, NULL);
    pthread_cond_init(&b->condition, &attributes);
    pthread_condattr_destroy(&attributes);
    b->rung = 0;
}

void bell_free(struct bell *b)
{
    pthread_cond_destroy(&b->condition);
    pthread_mutex_destroy(&b->mutex);
}

void bell_ring(struct bell *b)
{
    pthread_mutex_lock(&b->mutex);
    b->rung = 1;
    pthread_cond_signal(&b->condition);
    pthread_mutex_unlock(&b->mutex);
}

void bell_wait(struct bell *b, double timeout_us)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + (int64_t)(timeout_us * 1e3);
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    pthread_mutex_lock(&b->mutex);
    int timed_out = 0;
    while (!b->rung && !timed_out) {
        timed_out = (timeout_us < 0 ? pthread_cond_wait(&b->condition, &b->mutex)
                                    : pthread_cond_timedwait(&b->condition, &b->mutex, &until)) != 0;
    }
    b->rung = 0;
    pthread_mutex_unlock(&b->mutex);
}
