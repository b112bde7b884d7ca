/* What `llm bench` measures: the list of its tests, and the statistics of their repetitions. Pure. SPDX-License-Identifier: MIT
 */
#ifndef SRC_COMMANDS_BENCH_BENCH_TESTS_H
#define SRC_COMMANDS_BENCH_BENCH_TESTS_H

#include <stddef.h>
#include <stdint.h>

#include "src/commands/options.h"

/* n_streams sequences at a time, each with n_depth positions that do not count, then n_prompt prompt positions, then n_gen
 * tokens one after the other. */
struct bench_test {
    int32_t n_prompt, n_gen, n_depth, n_streams;
};

/* The lists of the command line. A 0 in a list stands for "none of these". */
struct bench_lists {
    struct option_ints prompts, gens, depths, streams;
    struct option_texts pairs; /* "512,128": a prompt and the tokens after it */
};

/* Every combination, in the order streams, depth, then prompts, tokens, pairs; lists that were not given have llama-bench's
 * values (512; 128; 0; 1 stream; no pairs). *tests: [*n] the caller's. -1 with *err for a pair that is none, or when nothing is
 * left to measure. */
int bench_tests_make(const struct bench_lists *lists, struct bench_test **tests, int32_t *n, struct error *err);

/* "pp512", "tg128", "pp512+tg128", with " @ d1024" behind it where there is a depth. */
void bench_test_name(const struct bench_test *t, char *text, size_t size);

/* Positions of a sequence's prompt, and of the whole sequence. tgN begins with one token, as there is no text without one; the
 * token that is sampled last is not fed again, so n_prompt + n_gen positions are computed (behind the depth). */
int32_t bench_test_prompt(const struct bench_test *t);
int32_t bench_test_ids(const struct bench_test *t);
/* Tokens that a repetition is credited with: all streams'. */
double bench_test_tokens(const struct bench_test *t);

struct bench_statistics {
    double mean, sd; /* sd of the sample (n - 1); 0 with one value */
    double median, min, max;
};
/* values: [n], n >= 1. */
struct bench_statistics bench_statistics_of(const double *values, int32_t n);

#endif
