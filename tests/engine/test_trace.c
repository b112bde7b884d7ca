/* The rings of the timeline: order, wrapping, nothing when there are none. SPDX-License-Identifier: MIT */
#include "src/engine/trace.h"
#include "tests/check.h"

static void check_kept(const struct trace *t, uint64_t first, uint64_t n)
{
    CHECK_INT(trace_count(t, TRACE_COMPUTE), n);
    for (uint64_t i = 0; i < n; i++) {
        const struct trace_event *e = trace_get(t, TRACE_COMPUTE, i);
        CHECK_INT(e->batch, first + i);
        CHECK_INT(e->value, 2 * (first + i));
        CHECK_THAT(e->begin_s == (double)(first + i) && e->duration_s == 0.5f, "%g for %g s", e->begin_s, (double)e->duration_s);
    }
}

int main(void)
{
    enum { CAPACITY = 8 };
    struct trace t;
    struct error err = {0};
    CHECK_INT(trace_init(&t, CAPACITY, &err), 0);
    for (uint64_t i = 0; i < 3 * CAPACITY; i++) {
        uint64_t kept = i < CAPACITY ? i : CAPACITY;
        check_kept(&t, i - kept, kept);
        trace_work(&t, TRACE_HEAD, (double)i, (double)i + 0.5, i, (size_t)(2 * i));
    }
    CHECK_INT(t.rings[TRACE_COMPUTE].n, 3 * CAPACITY);
    CHECK_INT(trace_count(&t, TRACE_MESSAGES), 0);
    trace_mark(&t, TRACE_SEND, 7.25, 41, 4096, 3);
    CHECK_INT(trace_count(&t, TRACE_MESSAGES), 1);
    const struct trace_event *e = trace_get(&t, TRACE_MESSAGES, 0);
    CHECK_INT(e->kind, TRACE_SEND);
    CHECK_INT(e->batch, 41);
    CHECK_INT(e->value, 4096);
    CHECK_INT(e->peer, 3);
    CHECK_THAT(e->begin_s == 7.25 && e->duration_s == 0, "%g", e->begin_s);
    trace_free(&t);
    trace_free(&t); /* freed is zeroed, and zeroed may be freed */

    trace_work(NULL, TRACE_FORWARD, 0, 1, 0, 0);
    trace_mark(NULL, TRACE_SEND, 0, 0, 0, 0);
    return check_result();
}
