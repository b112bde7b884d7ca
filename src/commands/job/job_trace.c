/* SPDX-License-Identifier: MIT */
#include "src/commands/job/job_trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/commands/job/trace_json.h"
#include "src/core/clock.h"
#include "src/core/log.h"

enum { EVENTS = 1 << 17 }; /* that each thread keeps: 4 MB */

/* What a rank has, for the others. */
struct part {
    double start_s; /* in rank 0's time */
    uint64_t n[TRACE_N_THREADS], n_lost;
};

int job_trace_open(struct job_trace *t, const struct cluster *cluster, const char *path, struct error *err)
{
    t->path = path;
    if (!path) {
        return 0;
    }
    if (cluster->rank == 0 && !(t->file = fopen(path, "w"))) {
        return error_set(err, "%s: cannot be written: %s", path, strerror(errno));
    }
    return trace_init(&t->trace, EVENTS, err);
}

struct trace *job_trace_rings(struct job_trace *t)
{
    return t->path ? &t->trace : NULL;
}

void job_trace_start(struct job_trace *t, struct cluster *cluster)
{
    if (t->path) {
        t->offset_s = cluster_clock_offset(cluster);
        t->start_s = clock_now_s();
    }
}

/* This rank's events in order, with rank 0's times: offsets between the two measurements lie on a line. */
static struct trace_event *in_common_time(const struct job_trace *t, enum trace_thread thread, double end_offset_s)
{
    uint64_t n = trace_count(&t->trace, thread);
    double length_s = clock_now_s() - t->start_s;
    struct trace_event *events = malloc((size_t)(n + 1) * sizeof *events);
    if (!events) {
        fatal("out of memory for %llu events of the timeline", (unsigned long long)n);
    }
    for (uint64_t i = 0; i < n; i++) {
        events[i] = *trace_get(&t->trace, thread, i);
        double along = length_s > 0 ? (events[i].begin_s - t->start_s) / length_s : 0;
        events[i].begin_s -= t->offset_s + (end_offset_s - t->offset_s) * along;
    }
    return events;
}

/* Everybody's events of one thread, one rank at a time. */
static void write_thread(const struct job_trace *t, struct cluster *c, struct trace_json *j, const struct part *parts,
                         enum trace_thread thread, double end_offset_s)
{
    struct trace_event *mine = in_common_time(t, thread, end_offset_s);
    for (int32_t rank = 0; rank < c->size; rank++) {
        size_t bytes = (size_t)parts[rank].n[thread] * sizeof *mine;
        struct trace_event *events = c->rank == 0 && rank > 0 ? malloc(bytes + 1) : mine;
        if (!events) {
            fatal("out of memory for the timeline of rank %d", rank);
        }
        cluster_fetch(c, rank, events, bytes);
        if (c->rank == 0) {
            trace_json_thread(j, rank, thread, events, parts[rank].n[thread]);
        }
        if (events != mine) {
            free(events);
        }
    }
    free(mine);
}

static int finish_file(struct job_trace *t, uint64_t n_lost, struct error *err)
{
    int failed = ferror(t->file);
    failed |= fclose(t->file);
    t->file = NULL;
    if (n_lost) {
        log_warn("%s: the oldest %llu events are not in it: each rank keeps %d of each thread", t->path,
                 (unsigned long long)n_lost, EVENTS);
    }
    return failed ? error_set(err, "%s: cannot be written", t->path) : 0;
}

int job_trace_write(struct job_trace *t, struct cluster *c, struct error *err)
{
    if (!t->path) {
        return 0;
    }
    double end_offset_s = cluster_clock_offset(c);
    struct part mine = {.start_s = t->start_s - t->offset_s}, *parts = calloc((size_t)c->size, sizeof *parts);
    if (!parts) {
        fatal("out of memory for the timeline");
    }
    for (int i = 0; i < TRACE_N_THREADS; i++) {
        mine.n[i] = trace_count(&t->trace, (enum trace_thread)i);
        mine.n_lost += t->trace.rings[i].n - mine.n[i];
    }
    cluster_allgather(c, &mine, sizeof mine, parts);
    struct trace_json j = {.out = t->file, .start_s = parts[0].start_s, .n_ranks = c->size};
    uint64_t n_lost = 0;
    for (int32_t rank = 0; c->rank == 0 && rank < c->size; rank++) {
        char name[CLUSTER_HOST_MAX + 32];
        snprintf(name, sizeof name, "rank %d (%s)", rank, c->peers[rank].host);
        if (rank == 0) {
            trace_json_begin(&j);
        }
        trace_json_rank(&j, rank, name);
        n_lost += parts[rank].n_lost;
    }
    for (int i = 0; i < TRACE_N_THREADS; i++) {
        write_thread(t, c, &j, parts, (enum trace_thread)i, end_offset_s);
    }
    free(parts);
    int status = 0;
    if (c->rank == 0) {
        trace_json_end(&j, n_lost);
        status = finish_file(t, n_lost, err);
    }
    return cluster_agree(c, status, err);
}

void job_trace_close(struct job_trace *t)
{
    if (t->file) {
        fclose(t->file);
    }
    trace_free(&t->trace);
    memset(t, 0, sizeof *t);
}
