/* SPDX-License-Identifier: MIT */
#include "src/commands/job/trace_json.h"

#include <string.h>

#include "src/commands/json_text.h"

static const char *const kind_names[] = {"forward", "head", "send", "receive", "send head", "receive head", "batches in flight"};
static const char *const value_names[] = {"rows", "rows", "bytes", "bytes", "bytes", "bytes", "batches"};
static const char *const thread_names[] = {"compute", "messages"};

static const double SHORTEST_WAIT_US = 1; /* shorter ones are the loop itself */

/* Starts an event: what all have, without the closing brace. */
static void begin(struct trace_json *j, const char *phase, const char *name, int32_t rank, int thread, double us)
{
    fprintf(j->out, "%s\n{\"ph\":\"%s\",\"name\":\"%s\",\"pid\":%d,\"tid\":%d,\"ts\":%.3f", j->n_written++ ? "," : "", phase,
            name, rank, thread, us);
}

void trace_json_begin(struct trace_json *j)
{
    j->n_written = 0;
    fputs("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[", j->out);
}

void trace_json_rank(struct trace_json *j, int32_t rank, const char *name)
{
    json_t *text = json_text(name, strlen(name));
    begin(j, "M", "process_name", rank, 0, 0);
    fputs(",\"args\":{\"name\":", j->out);
    json_dumpf(text, j->out, JSON_ENCODE_ANY);
    fputs("}}", j->out);
    json_decref(text);
    begin(j, "M", "process_sort_index", rank, 0, 0);
    fprintf(j->out, ",\"args\":{\"sort_index\":%d}}", rank);
    for (int i = 0; i < TRACE_N_THREADS; i++) {
        begin(j, "M", "thread_name", rank, i, 0);
        fprintf(j->out, ",\"args\":{\"name\":\"%s\"}}", thread_names[i]);
        begin(j, "M", "thread_sort_index", rank, i, 0);
        fprintf(j->out, ",\"args\":{\"sort_index\":%d}}", i);
    }
}

static void put_slice(struct trace_json *j, int32_t rank, int thread, const struct trace_event *e, double us, double duration_us)
{
    begin(j, "X", kind_names[e->kind], rank, thread, us);
    fprintf(j->out, ",\"dur\":%.3f,\"args\":{\"batch\":%llu,\"%s\":%u}}", duration_us, (unsigned long long)e->batch,
            value_names[e->kind], e->value);
}

/* An arrow's end: it starts in the slice of the send and ends in that of the receive. Its id names kind, batch and both ranks. */
static void put_flow(struct trace_json *j, int32_t rank, const struct trace_event *e, double us)
{
    int sends = e->kind == TRACE_SEND || e->kind == TRACE_SEND_HEAD, ring = e->kind == TRACE_SEND || e->kind == TRACE_RECEIVE;
    const char *name = ring ? "hop" : "head";
    begin(j, sends ? "s" : "f", name, rank, TRACE_MESSAGES, us);
    fprintf(j->out, ",\"cat\":\"%s\",\"bp\":\"e\",\"id\":\"%s %llu %d-%d\"}", name, name, (unsigned long long)e->batch,
            sends ? rank : e->peer, sends ? e->peer : rank);
}

/* A moment gets a width, so that it can be seen and clicked; never one that reaches the next. */
static double mark_width_us(const struct trace_event *e, const struct trace_event *next)
{
    static const double width_us = 2;
    double room_us = next ? (next->begin_s - e->begin_s) * 1e6 : width_us;
    return room_us < width_us ? room_us : width_us;
}

static void put_message(struct trace_json *j, int32_t rank, const struct trace_event *e, const struct trace_event *next)
{
    double us = (e->begin_s - j->start_s) * 1e6;
    if (e->kind == TRACE_IN_FLIGHT) {
        begin(j, "C", kind_names[e->kind], rank, TRACE_MESSAGES, us);
        fprintf(j->out, ",\"args\":{\"%s\":%u}}", value_names[e->kind], e->value);
    } else if (e->batch != UINT64_MAX) {
        put_slice(j, rank, TRACE_MESSAGES, e, us, mark_width_us(e, next));
        if (j->n_ranks > 1) {
            put_flow(j, rank, e, us);
        }
    }
}

/* Returns when the work ended, in us. */
static double put_work(struct trace_json *j, int32_t rank, const struct trace_event *e, double free_us)
{
    double us = (e->begin_s - j->start_s) * 1e6, duration_us = (double)e->duration_s * 1e6;
    if (free_us >= 0 && us - free_us > SHORTEST_WAIT_US) {
        begin(j, "X", "wait", rank, TRACE_COMPUTE, free_us);
        fprintf(j->out, ",\"dur\":%.3f,\"cname\":\"grey\"}", us - free_us);
    }
    put_slice(j, rank, TRACE_COMPUTE, e, us, duration_us);
    return us + duration_us;
}

void trace_json_thread(struct trace_json *j, int32_t rank, enum trace_thread thread, const struct trace_event *events, uint64_t n)
{
    double free_us = -1;
    for (uint64_t i = 0; i < n; i++) {
        if (thread == TRACE_MESSAGES) {
            put_message(j, rank, &events[i], i + 1 < n ? &events[i + 1] : NULL);
        } else if (events[i].batch != UINT64_MAX) {
            free_us = put_work(j, rank, &events[i], free_us);
        }
    }
}

void trace_json_end(struct trace_json *j, uint64_t n_lost)
{
    fprintf(j->out, "\n],\"otherData\":{\"program\":\"llm\",\"ranks\":%d,\"events_lost\":%llu}}\n", j->n_ranks,
            (unsigned long long)n_lost);
}
