/* What a run tells when it is over: the JSON object on stdout, or the summary on stderr. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_REPORT_H
#define SRC_COMMANDS_REPORT_H

#include <stdio.h>

#include "src/commands/job.h"
#include "src/engine/sampler.h"
#include "src/engine/sequence.h"

struct run_timings {
    double load_s;
    int32_t prefill_tokens, decode_tokens; /* decode: tokens after the first */
    double prefill_s, decode_s;            /* to the first token; from it to the last */
    double hop_s;                          /* mean time of a batch between two stages; 0 with one rank */
    uint64_t bytes_per_token;              /* weights that a token reads, all ranks */
};

struct run_result {
    const struct sequence *sequence;
    const char *text; /* [n_text] what was shown, any bytes */
    size_t n_text;
    const struct sampler_result *logprobs; /* [n_ids - n_prompt], or NULL */
    struct run_timings timings;
    const struct job_report *ranks; /* [n_ranks] */
    int32_t n_ranks;
};

/* One object, as README.md describes it. -1 with *err when it cannot be written. */
int report_json(FILE *out, const struct run_result *r, struct error *err);

/* A few lines for people on stderr: speeds, hop time, how busy each rank was and which one limits. */
void report_summary(const struct run_result *r);

/* One line for each rank at the start: host, device, layers, bytes. */
void report_partition(const struct job *job);

#endif
