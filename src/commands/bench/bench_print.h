/* The results of `llm bench`: llama-bench's table, CSV or JSON. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_BENCH_BENCH_PRINT_H
#define SRC_COMMANDS_BENCH_BENCH_PRINT_H

#include "src/commands/bench/bench_tests.h"
#include "src/commands/job/job.h"

/* In the order of -o's words. */
enum bench_format { BENCH_MD, BENCH_CSV, BENCH_JSON };

struct bench_result {
    struct bench_test test;
    int32_t n;          /* repetitions */
    double *seconds;    /* [n] owned */
    double *rates;      /* [n] owned: tokens/s, all streams together */
    double *busy_s;     /* [n_ranks] owned: the rank computed, all repetitions */
    double wall_s;      /* all repetitions; depths and warm-up are in none of these */
    double hops_s;      /* batches on the way between stages, summed */
    double rounds_s;    /* batches from their start to their return with tokens, summed */
    uint64_t n_batches; /* that went round */
};

/* What is the same for all results. */
struct bench_subject {
    const struct job *job;          /* borrowed */
    const struct job_report *ranks; /* [n_ranks] borrowed */
    enum bench_format format;
    int32_t n_printed;
};

/* One result as soon as it is there; the first brings the heading. -1 when stdout cannot be written. */
int bench_print(struct bench_subject *s, const struct bench_result *result, struct error *err);
/* What stands behind the last one. */
int bench_print_end(struct bench_subject *s, struct error *err);

/* A line for people on stderr: how busy each rank was, and the time between ranks. */
void bench_print_ranks(const struct bench_subject *s, const struct bench_result *result);

#endif
