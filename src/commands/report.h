/* What a job tells when it is over: the JSON object on stdout, or the summary on stderr. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_REPORT_H
#define SRC_COMMANDS_REPORT_H

#include <stdio.h>

#include "src/commands/job/job.h"
#include "src/commands/request.h"

struct run_timings {
    double load_s;
    int32_t prefill_tokens, decode_tokens; /* decode: tokens after the first */
    double prefill_s, decode_s;            /* to the first token; from it to the last */
    double hop_s;                          /* mean time of a batch between two stages; 0 with one rank */
    uint64_t bytes_per_token;              /* weights that a token reads, all ranks */
};

struct run_result {
    const struct request *request;
    struct run_timings timings;
    const struct job_report *ranks; /* [n_ranks] */
    int32_t n_ranks;
};

/* One object, as README.md describes it. -1 with *err when it cannot be written. */
int report_json(FILE *out, const struct run_result *r, struct error *err);

/* A few lines for people on stderr: speeds, hop time, how busy each rank was and which one limits. */
void report_summary(const struct run_result *r);

/* The part of it about the ranks. hop_s: mean time of a batch between two stages. */
void report_ranks(const struct job_report *ranks, int32_t n_ranks, double hop_s);

/* One line for each rank at the start: host, device, layers, bytes. */
void report_partition(const struct job *job);

#endif
