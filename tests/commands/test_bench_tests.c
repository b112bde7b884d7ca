/* What llm bench measures, and its statistics. SPDX-License-Identifier: MIT */
#include "src/commands/bench/bench_tests.h"
#include "tests/check.h"

#include <math.h>

static int32_t fives[] = {5, 0, 7}, none[] = {0}, two[] = {1, 8}, depths[] = {0, 100};
static const char *pairs[] = {"512,128", "1,1"};

static void check_names(const struct bench_test *tests, int32_t n, const char *const *names, int32_t n_names)
{
    CHECK_INT(n, n_names);
    for (int32_t i = 0; i < n && i < n_names; i++) {
        char name[48];
        bench_test_name(&tests[i], name, sizeof name);
        CHECK_TEXT(name, names[i]);
    }
}

static void test_lists(void)
{
    static const char *const usual[] = {"pp512", "tg128"};
    static const char *const many[] = {"pp5",        "pp7",        "pp512+tg128",        "pp1+tg1",
                                       "pp5 @ d100", "pp7 @ d100", "pp512+tg128 @ d100", "pp1+tg1 @ d100"};
    struct bench_test *tests;
    int32_t n;
    struct error err = {0};
    struct bench_lists lists = {.prompts = {0}};
    CHECK_THAT(bench_tests_make(&lists, &tests, &n, &err) == 0, "%s", err.text);
    check_names(tests, n, usual, 2);
    CHECK_INT(tests[1].n_streams, 1);
    free(tests);

    lists = (struct bench_lists){.prompts = {fives, 3, 1}, .gens = {none, 1, 1}, .depths = {depths, 2, 1}, .pairs = {pairs, 2}};
    CHECK_THAT(bench_tests_make(&lists, &tests, &n, &err) == 0, "%s", err.text);
    check_names(tests, n, many, 8);
    free(tests);

    lists.streams = (struct option_ints){two, 2, 1};
    CHECK_THAT(bench_tests_make(&lists, &tests, &n, &err) == 0, "%s", err.text);
    CHECK_INT(n, 16);
    CHECK_INT(tests[7].n_streams, 1);
    CHECK_INT(tests[8].n_streams, 8);
    free(tests);
}

static void test_refused(void)
{
    static const char *const bad[] = {"512", "512,", ",128", "512,128,1", "0,5", "5,-1", "a,b", "99999999999,1"};
    struct bench_test *tests;
    int32_t n;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error err = {0};
        const char *pair = bad[i];
        struct bench_lists lists = {.pairs = {&pair, 1}};
        char expected[96];
        snprintf(expected, sizeof expected, "-pg is \"%s\", expected PROMPT,TOKENS such as 512,128", bad[i]);
        CHECK_INT(bench_tests_make(&lists, &tests, &n, &err), -1);
        CHECK_TEXT(err.text, expected);
        free(tests);
    }
    struct error err = {0};
    struct bench_lists lists = {.prompts = {none, 1, 1}, .gens = {none, 1, 1}};
    CHECK_INT(bench_tests_make(&lists, &tests, &n, &err), -1);
    CHECK_TEXT(err.text, "nothing to measure: -p, -n, -pg and --streams leave no test");
    free(tests);
}

/* Positions that are computed are those that are credited, and the token sampled last is not fed again. */
static void test_sizes(void)
{
    static const struct {
        struct bench_test test;
        int32_t prompt, ids;
        double tokens;
    } cases[] = {
        {{512, 0, 0, 1}, 512, 513, 512},   {{0, 128, 0, 32}, 1, 129, 4096},   {{512, 128, 0, 2}, 512, 641, 1280},
        {{512, 0, 100, 1}, 612, 613, 512}, {{0, 128, 100, 1}, 101, 229, 128},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_INT(bench_test_prompt(&cases[i].test), cases[i].prompt);
        CHECK_INT(bench_test_ids(&cases[i].test), cases[i].ids);
        CHECK_THAT(bench_test_tokens(&cases[i].test) == cases[i].tokens, "%g", bench_test_tokens(&cases[i].test));
    }
}

static void test_statistics(void)
{
    static const double values[] = {4, 8, 6, 2}, one[] = {3};
    struct bench_statistics s = bench_statistics_of(values, 4);
    CHECK_THAT(s.mean == 5 && s.median == 5 && s.min == 2 && s.max == 8, "%g %g %g %g", s.mean, s.median, s.min, s.max);
    CHECK_THAT(fabs(s.sd - sqrt(20.0 / 3)) < 1e-12, "%g", s.sd);
    s = bench_statistics_of(values, 3);
    CHECK_THAT(s.median == 6, "%g", s.median);
    s = bench_statistics_of(one, 1);
    CHECK_THAT(s.mean == 3 && s.median == 3 && s.sd == 0, "%g %g %g", s.mean, s.median, s.sd);
}

int main(void)
{
    test_lists();
    test_refused();
    test_sizes();
    test_statistics();
    return check_result();
}
