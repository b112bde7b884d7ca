/* SPDX-License-Identifier: MIT */
#include "src/commands/bench/bench_tests.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TOKENS = 1 << 24 };

static int parse_pair(const char *text, struct bench_test *t, struct error *err)
{
    char *end, *rest = NULL;
    long prompt = strtol(text, &end, 10), gen = *end == ',' ? strtol(end + 1, &rest, 10) : 0;
    if (end == text || !rest || rest == end + 1 || *rest || prompt < 1 || gen < 1 || prompt > MAX_TOKENS || gen > MAX_TOKENS) {
        return error_set(err, "-pg is \"%s\", expected PROMPT,TOKENS such as 512,128", text);
    }
    t->n_prompt = (int32_t)prompt;
    t->n_gen = (int32_t)gen;
    return 0;
}

/* The list, or the one value that stands for a list that was not given. */
static struct option_ints list_or(const struct option_ints *list, int32_t *fallback)
{
    return list->given ? *list : (struct option_ints){.values = fallback, .n = 1};
}

int bench_tests_make(const struct bench_lists *lists, struct bench_test **tests, int32_t *n, struct error *err)
{
    int32_t some[] = {512, 128, 0, 1};
    struct option_ints prompts = list_or(&lists->prompts, &some[0]), gens = list_or(&lists->gens, &some[1]);
    struct option_ints depths = list_or(&lists->depths, &some[2]), streams = list_or(&lists->streams, &some[3]);
    size_t each = (size_t)prompts.n + (size_t)gens.n + (size_t)lists->pairs.n;
    struct bench_test *list = calloc(each * (size_t)depths.n * (size_t)streams.n + 1, sizeof *list);
    *tests = list;
    *n = 0;
    if (!list) {
        return error_set(err, "out of memory for the list of tests");
    }
    for (int32_t s = 0; s < streams.n; s++) {
        for (int32_t d = 0; d < depths.n; d++) {
            for (int32_t i = 0; i < prompts.n + gens.n + lists->pairs.n; i++) {
                struct bench_test t = {.n_depth = depths.values[d], .n_streams = streams.values[s]};
                if (i < prompts.n) {
                    t.n_prompt = prompts.values[i];
                } else if (i < prompts.n + gens.n) {
                    t.n_gen = gens.values[i - prompts.n];
                } else if (parse_pair(lists->pairs.texts[i - prompts.n - gens.n], &t, err)) {
                    return -1;
                }
                if (t.n_prompt + t.n_gen > 0 && t.n_streams > 0) {
                    list[(*n)++] = t;
                }
            }
        }
    }
    return *n ? 0 : error_set(err, "nothing to measure: -p, -n, -pg and --streams leave no test");
}

void bench_test_name(const struct bench_test *t, char *text, size_t size)
{
    char prompt[16] = "", gen[16] = "", depth[24] = "";
    if (t->n_prompt) {
        snprintf(prompt, sizeof prompt, "pp%d", t->n_prompt);
    }
    if (t->n_gen) {
        snprintf(gen, sizeof gen, "tg%d", t->n_gen);
    }
    if (t->n_depth) {
        snprintf(depth, sizeof depth, " @ d%d", t->n_depth);
    }
    snprintf(text, size, "%s%s%s%s", prompt, t->n_prompt && t->n_gen ? "+" : "", gen, depth);
}

int32_t bench_test_prompt(const struct bench_test *t)
{
    return t->n_depth + (t->n_prompt ? t->n_prompt : 1);
}

int32_t bench_test_ids(const struct bench_test *t)
{
    return t->n_depth + t->n_prompt + t->n_gen + 1;
}

double bench_test_tokens(const struct bench_test *t)
{
    return ((double)t->n_prompt + (double)t->n_gen) * t->n_streams;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct bench_statistics bench_statistics_of(const double *values, int32_t n)
{
    double *sorted = malloc((size_t)n * sizeof *sorted);
    if (!sorted) {
        fatal("out of memory for %d repetitions", n);
    }
    memcpy(sorted, values, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, compare);
    struct bench_statistics s = {.min = sorted[0], .max = sorted[n - 1], .median = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2};
    free(sorted);
    for (int32_t i = 0; i < n; i++) {
        s.mean += values[i] / n;
    }
    for (int32_t i = 0; i < n && n > 1; i++) {
        s.sd += (values[i] - s.mean) * (values[i] - s.mean) / (n - 1);
    }
    s.sd = sqrt(s.sd);
    return s;
}
