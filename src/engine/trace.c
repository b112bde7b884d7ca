/* SPDX-License-Identifier: MIT */
#include "src/engine/trace.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int trace_init(struct trace *t, uint64_t capacity, struct error *err)
{
    assert(capacity > 0 && (capacity & (capacity - 1)) == 0);
    memset(t, 0, sizeof *t);
    for (int i = 0; i < TRACE_N_THREADS; i++) {
        struct trace_ring *ring = &t->rings[i];
        size_t bytes = (size_t)capacity * sizeof *ring->events;
        ring->capacity = capacity;
        ring->events = malloc(bytes);
        if (!ring->events) {
            trace_free(t);
            return error_set(err, "out of memory for a timeline of %llu events", (unsigned long long)capacity);
        }
        memset(ring->events, 0, bytes);
    }
    return 0;
}

void trace_free(struct trace *t)
{
    for (int i = 0; i < TRACE_N_THREADS; i++) {
        free(t->rings[i].events);
    }
    memset(t, 0, sizeof *t);
}

uint64_t trace_count(const struct trace *t, enum trace_thread thread)
{
    const struct trace_ring *ring = &t->rings[thread];
    return ring->n < ring->capacity ? ring->n : ring->capacity;
}

const struct trace_event *trace_get(const struct trace *t, enum trace_thread thread, uint64_t i)
{
    const struct trace_ring *ring = &t->rings[thread];
    uint64_t first = ring->n < ring->capacity ? 0 : ring->n;
    return &ring->events[(first + i) & (ring->capacity - 1)];
}
