/* SPDX-License-Identifier: MIT
 *
 * Inside the timed window of a repetition: from handing the first sequence over until the last one has ended, that is the forward
 * passes of all stages, the messages between them, sampling (the most likely token) and scheduling. Loading, tokenizing and the
 * warm-up are outside. With a depth it begins when all sequences have theirs. */
#include "src/commands/bench/bench.h"

#include <stdlib.h>
#include <string.h>

#include "src/commands/bench/bench_print.h"
#include "src/commands/cancel.h"
#include "src/commands/common_options.h"
#include "src/commands/report.h"
#include "src/core/clock.h"
#include "src/core/log.h"
#include "src/engine/generator.h"

struct bench_options {
    struct common_options common;
    struct bench_lists lists;
    int32_t n_repetitions;
    int format; /* enum bench_format */
    int no_warmup;
};

struct bench {
    struct bench_options options;
    struct job job;
    struct bench_test *tests; /* [n_tests] owned */
    int32_t n_tests;
    struct scheduler scheduler;
    struct generator generator;
    struct sequence *sequences;   /* [max_streams] owned */
    int32_t *ids;                 /* [max_ids] owned: a prompt under construction */
    struct job_report *ranks;     /* [size] owned */
    int32_t max_streams, max_ids; /* over all tests */

    uint64_t n_runs;               /* begun so far */
    const struct bench_test *test; /* under way */
    int has_depth;                 /* its depth is not through yet */
    int32_t n_to_wait_for;         /* sequences whose depth is not through */
    double begin_s, hops_s;        /* the window: its begin, and the stage's hops_s then */
    double *busy_s;                /* [size] owned: in the window, by rank */
    double rounds_s;               /* from a batch's start to its return with its tokens, summed */
    uint64_t n_batches;
};

#define AT(field) offsetof(struct bench_options, field)

/* clang-format off */
static const struct option table[] = {
    {.kind = OPTION_GROUP, .help = "What to measure (lists: every combination is a test; 0 = none)"},
    COMMON_MODEL_ROWS(struct bench_options),
    {"-p --n-prompt", OPTION_INTS, AT(lists.prompts), 0, 1 << 24, NULL, "512,...", "prompt tokens (default 512)"},
    {"-n --n-gen", OPTION_INTS, AT(lists.gens), 0, 1 << 24, NULL, "128,...", "tokens written one by one (default 128)"},
    {"-pg", OPTION_TEXTS, AT(lists.pairs), 0, 0, NULL, "512,128", "a prompt and the tokens after it; may be given several times"},
    {"-ns --streams", OPTION_INTS, AT(lists.streams), 0, 4096, NULL, "1,8,...", "sequences at a time; tokens/s of all together (default 1)"},
    {"-d --n-depth", OPTION_INTS, AT(lists.depths), 0, 1 << 24, NULL, "0,...", "positions that are there before, not counted (default 0)"},
    {"-r --repetitions", OPTION_INT, AT(n_repetitions), 1, 100000, NULL, "N", "repetitions of each test (default 5)"},
    {"--no-warmup", OPTION_FLAG, AT(no_warmup), 0, 0, NULL, NULL, "no short run before each test"},
    COMMON_COMPUTE_ROWS(struct bench_options),
    {.kind = OPTION_GROUP, .help = "Output"},
    {"-o --output", OPTION_CHOICE, AT(format), 0, 0, "md csv json", "FORMAT", "md (mean and standard deviation), csv or json (default md)"},
    COMMON_LOG_ROWS(struct bench_options),
    {.kind = OPTION_GROUP},
};
/* clang-format on */

/* -- the window -- */

/* Tokens [first, end) of a prompt: others for every run and stream, as pages of equal prompts are shared; the same each time that
 * the program runs (Source: splitmix64, Steele, Lea and Flood, OOPSLA 2014). */
static void fill_ids(const struct bench *b, int32_t stream, int32_t *ids, int32_t first, int32_t end)
{
    for (int32_t i = first; i < end; i++) {
        uint64_t x = ((b->n_runs << 40) ^ ((uint64_t)stream << 26) ^ (uint64_t)i) * 0x9e3779b97f4a7c15u;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
        ids[i] = (int32_t)((x >> 33) % (uint64_t)b->job.config.n_vocab);
    }
}

static void begin_window(struct bench *b)
{
    b->n_batches = 0;
    b->rounds_s = 0;
    memset(b->busy_s, 0, sizeof *b->busy_s * (size_t)b->job.cluster->size);
    b->hops_s = b->job.stage.hops_s;
    b->begin_s = clock_now_s();
}

/* A sequence whose depth is through waits for the others: its token is taken back, so that it has no row to compute. */
static void on_token(void *context, struct sequence *q, const struct sampler_result *result)
{
    struct bench *b = context;
    (void)result;
    if (b->n_to_wait_for > 0) {
        q->n_ids--;
        b->n_to_wait_for--;
    }
}

/* All depths are through: every sequence gets the rest of its prompt. */
static void release(struct bench *b)
{
    int32_t n_prompt = bench_test_prompt(b->test);
    for (int32_t i = 0; i < b->test->n_streams; i++) {
        struct sequence *q = &b->sequences[i];
        fill_ids(b, i, q->ids, q->n_ids, n_prompt);
        q->n_ids = q->n_prompt = n_prompt;
    }
    b->has_depth = 0;
    begin_window(b);
}

static void on_batch(void *context, const struct batch *batch)
{
    struct bench *b = context;
    for (int32_t i = 0; i < batch->header->n_stages; i++) {
        b->busy_s[i] += (double)batch->times[i].busy_s;
    }
    b->rounds_s += clock_now_s() - batch->header->started_s;
    b->n_batches++;
    speed_watch_add(&b->job, batch);
    if (b->has_depth && b->n_to_wait_for == 0) {
        release(b);
    }
}

/* The sequences of a test through the ring. The window's seconds in *s; -1 when cancelled. */
static int run_test(struct bench *b, const struct bench_test *t, double *s, struct error *err)
{
    int status = 0;
    int32_t n_first = t->n_depth ? t->n_depth : bench_test_prompt(t);
    b->n_runs++;
    b->test = t;
    b->has_depth = t->n_depth > 0;
    b->n_to_wait_for = b->has_depth ? t->n_streams : 0;
    for (int32_t i = 0; i < t->n_streams && status == 0; i++) {
        fill_ids(b, i, b->ids, 0, n_first);
        status = sequence_init(&b->sequences[i], b->ids, n_first, bench_test_ids(t), err);
        b->sequences[i].sampling.temperature = 0;
    }
    begin_window(b);
    for (int32_t i = 0; i < t->n_streams && status == 0; i++) {
        generator_add(&b->generator, &b->sequences[i]);
    }
    generator_run(&b->generator);
    *s = clock_now_s() - b->begin_s;
    for (int32_t i = 0; i < t->n_streams; i++) {
        sequence_free(&b->sequences[i]);
    }
    return status == 0 && *cancel_flag() ? error_set(err, "cancelled") : status;
}

static int repeat(struct bench *b, struct bench_result *r, double *s, struct error *err)
{
    if (run_test(b, &r->test, s, err)) {
        return -1;
    }
    for (int32_t i = 0; i < b->job.cluster->size; i++) {
        r->busy_s[i] += b->busy_s[i];
    }
    r->wall_s += *s;
    r->hops_s += b->job.stage.hops_s - b->hops_s;
    r->rounds_s += b->rounds_s;
    r->n_batches += b->n_batches;
    return 0;
}

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* Weights into the caches, threads awake: one chunk of the prompt and a few tokens. */
static int warm_up(struct bench *b, const struct bench_test *t, struct error *err)
{
    enum { WARM_UP_TOKENS = 4 };
    double s;
    struct bench_test little = {.n_prompt = least(t->n_prompt, b->job.options.chunk),
                                .n_gen = least(t->n_gen, WARM_UP_TOKENS),
                                .n_streams = t->n_streams};
    return run_test(b, &little, &s, err);
}

static int measure(struct bench *b, struct bench_result *r, struct error *err)
{
    r->seconds = calloc((size_t)b->options.n_repetitions, sizeof *r->seconds);
    r->rates = calloc((size_t)b->options.n_repetitions, sizeof *r->rates);
    r->busy_s = calloc((size_t)b->job.cluster->size, sizeof *r->busy_s);
    if (!r->seconds || !r->rates || !r->busy_s) {
        return error_set(err, "out of memory for %d repetitions", b->options.n_repetitions);
    }
    if (!b->options.no_warmup && warm_up(b, &r->test, err)) {
        return -1;
    }
    for (; r->n < b->options.n_repetitions; r->n++) {
        if (repeat(b, r, &r->seconds[r->n], err)) {
            return -1;
        }
        r->rates[r->n] = bench_test_tokens(&r->test) / r->seconds[r->n];
    }
    return 0;
}

/* All tests, one after the other. */
static int measure_all(struct bench *b, struct error *err)
{
    struct bench_subject subject = {.job = &b->job, .ranks = b->ranks, .format = (enum bench_format)b->options.format};
    int status = 0;
    for (int32_t i = 0; i < b->n_tests && status == 0; i++) {
        struct bench_result result = {.test = b->tests[i]};
        status = measure(b, &result, err);
        status = status ? status : bench_print(&subject, &result, err);
        if (status == 0) {
            bench_print_ranks(&subject, &result);
        }
        free(result.seconds);
        free(result.rates);
        free(result.busy_s);
    }
    speed_watch_report(&b->job);
    return status ? status : bench_print_end(&subject, err);
}

/* -- set-up -- */

static int options_init(struct bench *b, int argc, char **argv, int first, struct error *err)
{
    struct bench_options *o = &b->options;
    common_options_default(&o->common);
    o->n_repetitions = 5;
    if (options_parse(table, o, argc, argv, first, err) || bench_tests_make(&o->lists, &b->tests, &b->n_tests, err) ||
        common_options_check(&o->common, err)) {
        return -1;
    }
    for (int32_t i = 0; i < b->n_tests; i++) {
        int32_t n_ids = bench_test_ids(&b->tests[i]), n_streams = b->tests[i].n_streams;
        b->max_ids = n_ids > b->max_ids ? n_ids : b->max_ids;
        b->max_streams = n_streams > b->max_streams ? n_streams : b->max_streams;
    }
    o->common.job.n_ctx = b->max_ids;
    o->common.job.n_slots = b->max_streams;
    o->common.job.no_sharing = 1;
    return 0;
}

static int prepare(struct bench *b, struct error *err)
{
    b->sequences = calloc((size_t)b->max_streams, sizeof *b->sequences);
    b->ids = calloc((size_t)b->max_ids, sizeof *b->ids);
    b->busy_s = calloc((size_t)b->job.cluster->size, sizeof *b->busy_s);
    if (!b->sequences || !b->ids || !b->busy_s) {
        return error_set(err, "out of memory for %d streams", b->max_streams);
    }
    if (job_make_generator(&b->job, &b->scheduler, &b->generator, err)) {
        return -1;
    }
    b->generator.on_token = on_token;
    b->generator.on_batch = on_batch;
    b->generator.context = b;
    b->generator.cancel = cancel_flag();
    return 0;
}

static int run_all(struct bench *b, struct cluster *cluster, struct error *err)
{
    int first = cluster->rank == 0;
    if (job_open(&b->job, cluster, &b->options.common.job, err) || job_start(&b->job, &b->generator, err)) {
        return -1;
    }
    b->ranks = calloc((size_t)cluster->size, sizeof *b->ranks);
    if (!b->ranks) {
        fatal("out of memory");
    }
    job_gather_reports(&b->job, b->ranks);
    int status = cluster_agree(cluster, first ? prepare(b, err) : 0, err);
    cancel_catch_signals();
    if (!first) {
        stage_work(&b->job.stage);
    } else {
        if (status == 0) {
            common_options_warn(&b->options.common, &b->job);
            report_partition(&b->job);
            status = measure_all(b, err);
        }
        stage_stop(&b->job.stage);
    }
    return cluster_agree(cluster, status, err) || job_trace_write(&b->job.trace, cluster, err) ? -1 : 0;
}

static void bench_free(struct bench *b)
{
    generator_free(&b->generator);
    scheduler_free(&b->scheduler);
    free(b->sequences);
    free(b->ids);
    free(b->busy_s);
    free(b->ranks);
    free(b->tests);
    job_close(&b->job);
    options_free(table, &b->options);
}

int command_bench(struct cluster *cluster, int argc, char **argv, int first, struct error *err)
{
    struct bench *b = calloc(1, sizeof *b);
    if (!b) {
        fatal("out of memory");
    }
    int status = cluster_agree(cluster, options_init(b, argc, argv, first, err), err);
    if (status == 0 && b->options.common.help) {
        if (cluster->rank == 0) {
            options_print_help(stdout,
                               "Usage: llm bench -m FILE [options]\n"
                               "       mpirun -np N --hostfile FILE llm bench -m FILE [options]\n"
                               "Measures tokens/s: prompts (pp), tokens written one by one (tg), or both, with random tokens.\n",
                               table);
        }
    } else if (status == 0) {
        status = run_all(b, cluster, err);
    }
    bench_free(b);
    free(b);
    return status;
}
