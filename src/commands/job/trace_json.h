/* A timeline as the trace-event JSON that Perfetto (ui.perfetto.dev) and chrome://tracing show. SPDX-License-Identifier: MIT
 *
 * Source: Google, "Trace Event Format". One process for each rank, with the threads "compute" and "messages"; between two pieces
 * of work of a compute thread stands a slice "wait": the bubble. Arrows lead from a send to its receive. */
#ifndef SRC_COMMANDS_JOB_TRACE_JSON_H
#define SRC_COMMANDS_JOB_TRACE_JSON_H

#include <stdio.h>

#include "src/engine/trace.h"

struct trace_json {
    FILE *out;      /* borrowed; what goes wrong shows in ferror() */
    double start_s; /* this moment is 0 in the file */
    int32_t n_ranks;
    int n_written;
};

/* The beginning of the file. */
void trace_json_begin(struct trace_json *j);
/* A rank's name and place. */
void trace_json_rank(struct trace_json *j, int32_t rank, const char *name);
/* The n events of one thread in order of time; events of no batch (the end of the job) are left out. */
void trace_json_thread(struct trace_json *j, int32_t rank, enum trace_thread thread, const struct trace_event *events,
                       uint64_t n);
/* The end of the file, with the number of events that were overwritten. */
void trace_json_end(struct trace_json *j, uint64_t n_lost);

#endif
