/* The sampler: published literal cases, draws against the expected distribution, purity. SPDX-License-Identifier: MIT */
#include "src/engine/sampler.h"

#include "src/core/math.h"
#include "tests/check.h"

#include <float.h>
#include <math.h>

enum { MAX_VOCAB = 10000 };
static struct sampler *sampler;
static float logits[MAX_VOCAB];

/* Everything off: the softmax of the logits. */
static struct sampler_params plain(void)
{
    struct sampler_params p;
    sampler_params_default(&p);
    p.temperature = 1;
    p.top_k = 0;
    p.top_p = 1;
    p.min_p = 0;
    p.seed = 42;
    return p;
}

struct literal {
    const char *name;
    float given[5];    /* probabilities; the logits are their logarithms */
    float expected[5]; /* by id; the ids not kept have 0 */
    int32_t n;
    float temperature, top_p, min_p, typical_p;
    int32_t top_k;
    float repeat, frequency, presence;
    int32_t history[5];
    int32_t n_history;
};

/* Source: llama.cpp, tests/test-sampling.cpp: parameters and values, tolerance 1e-5. */
#define FOUR {0.1f, 0.2f, 0.3f, 0.4f}, .n = 4
#define FIVE {0.2f, 0.2f, 0.2f, 0.2f, 0.2f}, .n = 5
static const struct literal literals[] = {
    {"temp 1", FOUR, .expected = {0.1f, 0.2f, 0.3f, 0.4f}},
    {"temp 0", FOUR, .expected = {0, 0, 0, 1}, .temperature = -1},
    {"top-k 1", FOUR, .expected = {0, 0, 0, 1}, .top_k = 1},
    {"top-k 3", FOUR, .expected = {0, 0.22222f, 0.33333f, 0.44444f}, .top_k = 3},
    {"top-k 4", FOUR, .expected = {0.1f, 0.2f, 0.3f, 0.4f}, .top_k = 4},
    {"top-p 0", FOUR, .expected = {0, 0, 0, 1}, .top_p = FLT_MIN},
    {"top-p 0.7", FOUR, .expected = {0, 0, 0.428571f, 0.571429f}, .top_p = 0.7f},
    {"top-p 0.8", FOUR, .expected = {0, 0.22222f, 0.33333f, 0.44444f}, .top_p = 0.8f},
    {"min-p 0.24", FOUR, .expected = {0.1f, 0.2f, 0.3f, 0.4f}, .min_p = 0.24f},
    {"min-p 0.26", FOUR, .expected = {0, 0.2f / 0.9f, 0.3f / 0.9f, 0.4f / 0.9f}, .min_p = 0.26f},
    {"min-p 0.49", FOUR, .expected = {0, 0.2f / 0.9f, 0.3f / 0.9f, 0.4f / 0.9f}, .min_p = 0.49f},
    {"min-p 0.51", FOUR, .expected = {0, 0, 0.3f / 0.7f, 0.4f / 0.7f}, .min_p = 0.51f},
    {"min-p 0.74", FOUR, .expected = {0, 0, 0.3f / 0.7f, 0.4f / 0.7f}, .min_p = 0.74f},
    {"min-p 0.76", FOUR, .expected = {0, 0, 0, 1}, .min_p = 0.76f},
    {"min-p 1", FOUR, .expected = {0, 0, 0, 1}, .min_p = 1},
    {"min-p 1.05", FOUR, .expected = {0, 0, 0, 1}, .min_p = 1.05f},
    {"typical 0.5 a", {0.97f, 0.01f, 0.01f, 0.01f}, .n = 4, .expected = {1}, .typical_p = 0.5f},
    {"typical 0.5 b", {0.4f, 0.2f, 0.2f, 0.2f}, .n = 4, .expected = {0, 1 / 3.f, 1 / 3.f, 1 / 3.f}, .typical_p = 0.5f},
    {"repeat 50, 1 token", FIVE, .expected = {0, 0.25f, 0.25f, 0.25f, 0.25f}, .repeat = 50, .history = {0}, .n_history = 1},
    {"repeat 50, 3 tokens", FIVE, .expected = {0, 0, 0, 0.5f, 0.5f}, .repeat = 50, .history = {0, 1, 2}, .n_history = 3},
    {"repeat 50, 5 tokens", FIVE, .expected = {0, 0, 0, 0.5f, 0.5f}, .repeat = 50, .history = {0, 1, 2, 0, 0}, .n_history = 5},
    {"frequency and presence 5, 1 token", FIVE, .expected = {0.000011f, 0.249997f, 0.249997f, 0.249997f, 0.249997f},
     .frequency = 5, .presence = 5, .history = {0}, .n_history = 1},
    {"frequency and presence 5, 3 tokens", FIVE, .expected = {0.000023f, 0.000023f, 0.000023f, 0.499966f, 0.499966f},
     .frequency = 5, .presence = 5, .history = {0, 1, 2}, .n_history = 3},
    {"frequency and presence 5, 5 tokens", FIVE, .expected = {0, 0.000023f, 0.000023f, 0.499977f, 0.499977f}, .frequency = 5,
     .presence = 5, .history = {0, 1, 2, 0, 0}, .n_history = 5},
};

static void test_literals(void)
{
    for (size_t i = 0; i < sizeof literals / sizeof literals[0]; i++) {
        const struct literal *c = &literals[i];
        struct sampler_params p = plain();
        p.temperature = c->temperature < 0 ? 0 : p.temperature;
        p.top_k = c->top_k;
        p.top_p = c->top_p > 0 ? c->top_p : 1;
        p.min_p = c->min_p;
        p.typical_p = c->typical_p > 0 ? c->typical_p : 1;
        p.repeat_penalty = c->repeat > 0 ? c->repeat : 1;
        p.frequency_penalty = c->frequency;
        p.presence_penalty = c->presence;
        for (int32_t id = 0; id < c->n; id++) {
            logits[id] = (float)math_log(c->given[id]);
        }
        struct sampler_result result;
        sampler_pick(sampler, &p, logits, c->n, c->history, c->n_history, 0, &result);
        int32_t ids[5];
        double found[5], by_id[5] = {0};
        int32_t n = sampler_distribution(sampler, 5, ids, found);
        for (int32_t j = 0; j < n; j++) {
            by_id[ids[j]] = found[j];
        }
        for (int32_t id = 0; id < c->n; id++) {
            CHECK_THAT(fabs(by_id[id] - c->expected[id]) <= 1e-5, "%s: token %d has probability %.7f, expected %.7f", c->name,
                       (int)id, by_id[id], (double)c->expected[id]);
        }
    }
}

/* Weights 0, 1, 2 ... 9999: how many candidates each filter keeps follows from sums of integers. */
static void test_large_vocabulary(void)
{
    const struct {
        int32_t top_k;
        float top_p, min_p;
    } cases[] = {{10000, 1, 0},   {1, 1, 0},         {100, 1, 0},
                 {2000, 1, 0},    {0, FLT_MIN, 0},   {0, 0.0003f, 0},
                 {0, 0.8f, 0},    {0, 1, 0.1f},      {0, 1, 9997.9f / 9999.0f},
                 {100, 0.8f, 0},  {100, 0.8f, 0.1f}, {3000, 0.5f, 0.9f},
                 {0, 0.8f, 0.1f}, {0, 0.8f, 0.9f}};
    const int32_t n_vocab = MAX_VOCAB;
    for (int32_t id = 0; id < n_vocab; id++) {
        logits[id] = (float)math_log(id);
    }
    static int32_t ids[MAX_VOCAB];
    static double probabilities[MAX_VOCAB];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sampler_params p = plain();
        p.top_k = cases[i].top_k;
        p.top_p = cases[i].top_p;
        p.min_p = cases[i].min_p;
        int64_t kept = p.top_k > 0 ? p.top_k : n_vocab;
        double total = 0, mass = 0;
        for (int64_t id = n_vocab - kept; id < n_vocab; id++) {
            total += (double)id;
        }
        int64_t expected = 0;
        while (expected < kept && (p.top_p >= 1 || mass < p.top_p * total)) {
            mass += (double)(n_vocab - 1 - expected++);
        }
        while (expected > 1 && (double)(n_vocab - expected) < (double)p.min_p * (n_vocab - 1)) {
            expected--;
        }
        struct sampler_result result;
        sampler_pick(sampler, &p, logits, n_vocab, NULL, 0, 0, &result);
        int32_t n = sampler_distribution(sampler, MAX_VOCAB, ids, probabilities);
        CHECK_THAT(n == expected, "top-k %d top-p %g min-p %g keeps %d, expected %d", (int)p.top_k, (double)p.top_p,
                   (double)p.min_p, (int)n, (int)expected);
        int32_t lowest = n_vocab;
        for (int32_t j = 0; j < n; j++) {
            lowest = ids[j] < lowest ? ids[j] : lowest;
        }
        CHECK_INT(lowest, n_vocab - expected);
    }
}

static void test_greedy(void)
{
    struct sampler_params p;
    sampler_params_default(&p);
    p.temperature = 0;
    struct sampler_result result;
    for (int32_t id = 0; id < 100; id++) {
        logits[id] = id % 7 == 3 ? 2.5f : -1.0f; /* 3, 10, 17 ... tie */
    }
    sampler_pick(sampler, &p, logits, 100, NULL, 0, 0, &result);
    CHECK_INT(result.id, 3);
    const struct sampler_bias bias[] = {{3, -INFINITY}, {99, 3.6f}, {1000, 5}};
    p.bias = bias;
    p.n_bias = 1;
    sampler_pick(sampler, &p, logits, 100, NULL, 0, 0, &result);
    CHECK_INT(result.id, 10);
    p.n_bias = 3;
    sampler_pick(sampler, &p, logits, 100, NULL, 0, 0, &result);
    CHECK_INT(result.id, 99);
    CHECK_THAT(logits[3] == 2.5f && logits[99] == -1.0f, "logits were changed: %g, %g", (double)logits[3], (double)logits[99]);
    logits[0] = -0.0f;
    logits[1] = 0.0f;
    sampler_pick(sampler, &p, logits, 2, NULL, 0, 0, &result);
    CHECK_INT(result.id, 0);
}

static void test_odd_logits(void)
{
    struct sampler_params sets[4] = {plain(), plain(), plain(), plain()};
    sampler_params_default(&sets[1]);
    sets[2].temperature = 0;
    sets[3].top_p = 0.5f;
    sets[3].typical_p = 0.5f;
    for (int i = 0; i < 4; i++) {
        struct sampler_result result;
        sets[i].n_logprobs = 3;
        for (int32_t id = 0; id < 64; id++) {
            logits[id] = NAN;
        }
        sampler_pick(sampler, &sets[i], logits, 64, NULL, 0, 7, &result);
        CHECK_INT(result.id, 0);
        CHECK_THAT(result.logprob == -INFINITY, "logprob %g", (double)result.logprob);
        logits[41] = -3;
        sampler_pick(sampler, &sets[i], logits, 64, NULL, 0, 7, &result);
        CHECK_INT(result.id, 41);
        CHECK_THAT(result.logprob == 0, "logprob %g", (double)result.logprob);
        logits[50] = INFINITY;
        sampler_pick(sampler, &sets[i], logits, 64, NULL, 0, 7, &result);
        CHECK_INT(result.id, 50);
        sampler_pick(sampler, &sets[i], logits, 1, NULL, 0, 7, &result);
        CHECK_INT(result.id, 0);
    }
}

static void test_penalty_window(void)
{
    struct sampler_params p = plain();
    p.temperature = 0;
    p.repeat_penalty = 2;
    const int32_t history[] = {0, 0, 1, -5, 900}; /* ids outside the vocabulary are nobody's */
    for (int32_t id = 0; id < 4; id++) {
        logits[id] = (float)(4 - id);
    }
    const struct {
        int32_t last_n, expected;
    } cases[] = {{0, 0}, {2, 0}, {3, 0}, {4, 2}, {5, 2}, {64, 2}, {-1, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        p.repeat_last_n = cases[i].last_n;
        logits[2] = cases[i].last_n == 3 ? 2.0f : 2.5f;
        struct sampler_result result;
        sampler_pick(sampler, &p, logits, 4, history, 5, 0, &result);
        CHECK_INT(result.id, cases[i].expected);
    }
}

/* 50,000 draws. The 99.9 % point of chi-square with 7 degrees of freedom is 24.3; the seed is fixed, so this never flickers. */
static void test_draws(void)
{
    enum { N = 8, DRAWS = 50000 };
    for (int32_t id = 0; id < N; id++) {
        logits[id] = (float)id * 0.4f;
    }
    for (int set = 0; set < 2; set++) {
        struct sampler_params p = plain();
        p.temperature = set ? 0.7f : 1.0f;
        p.top_k = set ? N : 0;
        int32_t counts[N] = {0};
        double expected[N], total = 0, chi = 0;
        for (int32_t i = 0; i < DRAWS; i++) {
            struct sampler_result result;
            sampler_pick(sampler, &p, logits, N, NULL, 0, i, &result);
            counts[result.id]++;
        }
        for (int32_t id = 0; id < N; id++) {
            expected[id] = exp((double)logits[id] / (double)p.temperature);
            total += expected[id];
        }
        for (int32_t id = 0; id < N; id++) {
            double e = expected[id] / total * DRAWS;
            chi += (counts[id] - e) * (counts[id] - e) / e;
        }
        CHECK_THAT(chi < 24.3 && chi > 0.3, "chi-square %.2f, expected 0.3 to 24.3", chi);
    }
}

static void test_purity(void)
{
    struct sampler_params p;
    sampler_params_default(&p);
    p.repeat_penalty = 1.1f;
    p.seed = 12345;
    const int32_t history[] = {5, 6, 7, 5};
    for (int32_t id = 0; id < 1000; id++) {
        logits[id] = (float)(sampler_random(1, (uint32_t)id, 0) >> 40) * 0x1p-22f;
    }
    int32_t first[64], differing_seed = 0;
    for (int32_t position = 0; position < 64; position++) {
        struct sampler_result result;
        sampler_pick(sampler, &p, logits, 1000, history, 4, position, &result);
        first[position] = result.id;
    }
    struct sampler *other;
    CHECK_INT(sampler_init(&other, 5000, NULL), 0);
    for (int32_t position = 63; position >= 0; position--) {
        struct sampler_result result;
        sampler_pick(other, &p, logits, 1000, history, 4, position, &result);
        CHECK_INT(result.id, first[position]);
        p.seed++;
        sampler_pick(other, &p, logits, 1000, history, 4, position, &result);
        differing_seed += result.id != first[position];
        p.seed--;
    }
    sampler_free(other);
    CHECK_THAT(differing_seed > 32, "another seed changed %d of 64 tokens", (int)differing_seed);
    /* Source: the known-answer tests of Random123 for philox4x32-10, counter and key 0. */
    CHECK_THAT(sampler_random(0, 0, 0) == 0xe169c58d6627e8d5u, "random(0, 0, 0) is %llx",
               (unsigned long long)sampler_random(0, 0, 0));
}

static void test_logprobs(void)
{
    struct sampler_params p;
    sampler_params_default(&p);
    p.n_logprobs = 5;
    const struct sampler_bias bias = {.id = 123, .bias = 100};
    p.bias = &bias;
    p.n_bias = 1;
    const int32_t n_vocab = 3000;
    double sum = 0;
    for (int32_t id = 0; id < n_vocab; id++) {
        logits[id] = (float)(sampler_random(9, (uint32_t)id, 0) >> 40) * 0x1p-20f - 8.0f;
        sum += exp((double)logits[id]);
    }
    logits[77] = logits[76];
    sum += exp((double)logits[76]) - exp((double)((float)(sampler_random(9, 77, 0) >> 40) * 0x1p-20f - 8.0f));
    struct sampler_result result;
    sampler_pick(sampler, &p, logits, n_vocab, NULL, 0, 0, &result);
    CHECK_INT(result.id, 123);
    CHECK_INT(result.n_top, 5);
    double expected = logits[123] - log(sum);
    CHECK_THAT(fabs(result.logprob - expected) < 2e-6, "logprob %.8f, expected %.8f", (double)result.logprob, expected);
    for (int32_t i = 0; i < result.n_top; i++) {
        int32_t better = 0;
        for (int32_t id = 0; id < n_vocab; id++) {
            better += logits[id] > logits[result.top_ids[i]] ||
                      (logits[id] == logits[result.top_ids[i]] && id < result.top_ids[i]);
        }
        CHECK_INT(better, i);
        expected = logits[result.top_ids[i]] - log(sum);
        CHECK_THAT(fabs(result.top_logprobs[i] - expected) < 2e-6, "logprob %.8f, expected %.8f", (double)result.top_logprobs[i],
                   expected);
    }
    p.n_logprobs = 64;
    sampler_pick(sampler, &p, logits, 10, NULL, 0, 0, &result);
    CHECK_INT(result.n_top, 10);
}

static void test_parameters(void)
{
    struct sampler_params p;
    struct error err = {{0}};
    sampler_params_default(&p);
    CHECK_INT(sampler_params_check(&p, &err), 0);
    const struct sampler_bias bias = {.id = 3, .bias = NAN};
    for (int i = 0; i < 11; i++) {
        static const char *const options[] = {"--temp",
                                              "--top-p",
                                              "--min-p",
                                              "--typical",
                                              "--repeat-penalty",
                                              "--presence-penalty",
                                              "--frequency-penalty",
                                              "--repeat-last-n",
                                              "--logprobs",
                                              "--logit-bias",
                                              "--top-p"};
        sampler_params_default(&p);
        float *numbers[] = {&p.temperature,      &p.top_p, &p.min_p, &p.typical_p, &p.repeat_penalty, &p.presence_penalty,
                            &p.frequency_penalty};
        const float bad[] = {INFINITY, 1.5f, -0.1f, 2, 0, NAN, INFINITY};
        if (i < 7) {
            *numbers[i] = bad[i];
        } else if (i == 7) {
            p.repeat_last_n = -2;
        } else if (i == 8) {
            p.n_logprobs = 65;
        } else if (i == 9) {
            p.bias = &bias;
            p.n_bias = 1;
        } else {
            p.top_p = NAN;
        }
        err.text[0] = '\0';
        CHECK_INT(sampler_params_check(&p, &err), -1);
        CHECK_THAT(strncmp(err.text, options[i], strlen(options[i])) == 0, "message \"%s\", expected %s first", err.text,
                   options[i]);
    }
}

/* Errors in units of the last place of the result. */
static void test_math(void)
{
    double worst = 0;
    for (int i = -87 * 1024; i <= 88 * 1024; i++) {
        float x = (float)i * 0x1p-10f;
        double exact = exp((double)x);
        double unit = ldexp(1, ilogb(exact) - 23);
        worst = fmax(worst, fabs(math_exp(x) - exact) / unit);
    }
    CHECK_THAT(worst < 2, "math_exp is off by %.3f units", worst);
    CHECK_THAT(math_exp(-88) == 0 && math_exp(-INFINITY) == 0 && math_exp(0) == 1 && isnan(math_exp(NAN)),
               "edge cases of math_exp");
    CHECK_THAT(math_exp(INFINITY) == math_exp(88), "exp(inf) is %g", (double)math_exp(INFINITY));
    worst = 0;
    for (int i = -70000; i <= 70000; i++) {
        worst = fmax(worst, fabs(math_exp64(i * 0.01) / exp(i * 0.01) - 1));
    }
    CHECK_THAT(worst < 1e-13, "math_exp64 is off by %g", worst);
    CHECK_THAT(math_exp64(-701) == 0 && math_exp64(-INFINITY) == 0 && math_exp64(0) == 1 && isnan(math_exp64(NAN)),
               "edges of math_exp64");
    worst = 0;
    for (int i = 1; i < 100000; i++) {
        const double values[] = {i * 1e-5, i * 1.25, ldexp(i, -1070), ldexp(i, 990), 1 + (i - 50000) * 1e-8};
        for (int j = 0; j < 5; j++) {
            double exact = log(values[j]);
            double unit = exact == 0 ? 1 : ldexp(1, ilogb(exact) - 52);
            worst = fmax(worst, fabs(math_log(values[j]) - exact) / unit);
        }
    }
    CHECK_THAT(worst <= 1, "math_log is off by %.3f units", worst);
    CHECK_THAT(math_log(0) == -INFINITY && isnan(math_log(-1)) && math_log(INFINITY) == INFINITY && math_log(1) == 0,
               "edges of math_log");
}

int main(void)
{
    struct error err = {{0}};
    if (sampler_init(&sampler, MAX_VOCAB, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    test_math();
    test_literals();
    test_large_vocabulary();
    test_greedy();
    test_odd_logits();
    test_penalty_window();
    test_draws();
    test_purity();
    test_logprobs();
    test_parameters();
    sampler_free(sampler);
    return check_result();
}
