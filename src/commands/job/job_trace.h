/* --trace FILE: every rank records what it does, rank 0 writes one timeline of all. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_JOB_JOB_TRACE_H
#define SRC_COMMANDS_JOB_JOB_TRACE_H

#include <stdio.h>

#include "src/cluster/cluster.h"
#include "src/engine/trace.h"

struct job_trace {
    const char *path; /* borrowed; NULL = nothing is recorded */
    FILE *file;       /* rank 0 */
    struct trace trace;
    double start_s, offset_s; /* this rank's clock, and how far it is ahead of rank 0's, when recording began */
};

/* Makes the rings and, on rank 0, the file. path NULL = does nothing. Returns this rank's status. */
int job_trace_open(struct job_trace *t, const struct cluster *cluster, const char *path, struct error *err);
/* Where to record: NULL when nothing is. */
struct trace *job_trace_rings(struct job_trace *t);
/* Compares the hosts' clocks; just before the work begins. Collective. */
void job_trace_start(struct job_trace *t, struct cluster *cluster);
/* After the compute threads have ended: all events to rank 0 and into the file. Compares the clocks again, so that their drift
 * counts. Collective. */
int job_trace_write(struct job_trace *t, struct cluster *cluster, struct error *err);
/* Zeroed too. */
void job_trace_close(struct job_trace *t);

#endif
