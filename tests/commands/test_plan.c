/* Divisions of well-known models: sizes, noise, memory. SPDX-License-Identifier: MIT */
#include <math.h>

#include "src/plan/outlook.h"
#include "src/plan/shapes.h"
#include "src/plan/speed_board.h"
#include "src/model/head.h"
#include "tests/check.h"

enum { MAX_RANKS = 8 };

static int32_t find(const char *(*name)(int32_t), const char *wanted)
{
    int32_t i = 0;
    while (name(i) && strcmp(name(i), wanted) != 0) {
        i++;
    }
    CHECK_THAT(name(i) != NULL, "%s is not known", wanted);
    return i;
}

/* Sizes of the files that people publish, GB. */
static void check_sizes(void)
{
    static const struct {
        const char *model, *type;
        double gb;
    } files[] = {
        {"llama-3.2-1b", "q4_k_m", 0.81}, {"llama-3.2-3b", "q4_k_m", 2.02},   {"llama-3.2-3b", "q8_0", 3.42},
        {"llama-3.1-8b", "q4_0", 4.66},   {"llama-3.1-8b", "q4_k_m", 4.92},   {"llama-3.1-8b", "q8_0", 8.54},
        {"qwen2.5-7b", "q4_k_m", 4.68},   {"qwen2.5-14b", "q4_k_m", 8.99},    {"qwen2.5-32b", "q4_k_m", 19.85},
        {"qwen2.5-32b", "q8_0", 34.82},   {"llama-3.3-70b", "q4_k_m", 42.52}, {"llama-3.3-70b", "q8_0", 74.98},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct model_config config;
        struct slice_sizes sizes;
        CHECK_INT(shapes_init(&config, &sizes, find(shapes_model, files[i].model), find(shapes_type, files[i].type), NULL), 0);
        struct slice_range all = {.layer_end = sizes.n_layers, .vocab_end = sizes.n_vocab, .embeds = 1};
        double gb = (double)slice_bytes(&sizes, &all) / 1e9;
        CHECK_THAT(fabs(gb - files[i].gb) < 0.005 * files[i].gb + 0.01, "%s %s: %.3f GB, expected %.2f", files[i].model,
                   files[i].type, gb, files[i].gb);
        shapes_free(&config, &sizes);
    }
}

struct setting {
    struct model_config config;
    struct slice_sizes sizes;
    struct speed speeds[MAX_RANKS];
    uint64_t memory[MAX_RANKS];
    struct plan_options options;
    struct plan_rank plan[MAX_RANKS];
};

static void setting_init(struct setting *s, const char *model, int32_t n_ranks)
{
    const struct board board = {"a board", 80e9, 15e12, 80e-6, 1.5e-6, 5500000000};
    memset(s, 0, sizeof *s);
    CHECK_INT(shapes_init(&s->config, &s->sizes, find(shapes_model, model), find(shapes_type, "q4_k_m"), NULL), 0);
    for (int32_t i = 0; i < n_ranks; i++) {
        speed_from_board(&s->speeds[i], &board, &s->sizes, &s->config, KV_F16, KV_F16);
        s->memory[i] = board.memory_bytes;
    }
    s->options = (struct plan_options){.n_ranks = n_ranks,
                                       .n_ctx = 4096,
                                       .n_slots = 1,
                                       .max_rows = 128,
                                       .depth = n_ranks + 1,
                                       .chunk = 128,
                                       .k_type = KV_F16,
                                       .v_type = KV_F16,
                                       .speeds = s->speeds,
                                       .memory = s->memory};
}

static void setting_free(struct setting *s)
{
    shapes_free(&s->config, &s->sizes);
}

static void slow_down(struct speed *s, double factor)
{
    for (int32_t i = 0; i < s->n_points; i++) {
        s->layer_s[i] *= factor;
        s->tile_s[i] *= factor;
    }
}

static void make(struct setting *s)
{
    struct error err = {""};
    CHECK_THAT(plan_make(&s->sizes, &s->config, &s->options, s->plan, &err) == 0, "no plan: %s", err.text);
}

static int same(const struct plan_rank *a, const struct plan_rank *b, int32_t n)
{
    int equal = 1;
    for (int32_t i = 0; i < n; i++) {
        equal = equal && memcmp(&a[i].range, &b[i].range, sizeof a[i].range) == 0;
    }
    return equal;
}

/* Ranks that differ by noise are split as without any measurement; a slower one gets fewer layers. */
static void check_noise(void)
{
    struct setting s;
    struct plan_rank by_bytes[MAX_RANKS];
    setting_init(&s, "llama-3.1-8b", 4);
    s.options.split_head = PLAN_SPLIT_HEAD_OFF;
    s.options.speeds = NULL;
    make(&s);
    memcpy(by_bytes, s.plan, sizeof by_bytes);
    s.options.speeds = s.speeds;
    slow_down(&s.speeds[1], 1.04);
    slow_down(&s.speeds[2], 0.97);
    make(&s);
    CHECK_THAT(same(by_bytes, s.plan, 4), "4 %% of noise moved layers");
    slow_down(&s.speeds[3], 2);
    make(&s);
    int32_t slow = s.plan[3].range.layer_end - s.plan[3].range.layer_first;
    int32_t fast = s.plan[1].range.layer_end - s.plan[1].range.layer_first;
    CHECK_THAT(slow * 2 >= fast - 2 && slow * 2 <= fast + 2, "a rank of half the speed has %d layers, the others %d", slow, fast);
    setting_free(&s);
}

/* Whatever fits is within the limits, down to the byte that a rank needs at least. */
static void check_memory(void)
{
    struct setting s;
    struct error err = {""};
    int n_fit = 0, n_not = 0;
    setting_init(&s, "llama-3.1-8b", 4);
    for (uint64_t limit = 600; limit <= 6000; limit += 100) {
        for (int objective = 0; objective < 2; objective++) {
            for (int head = 0; head < 3; head++) {
                s.options.objective = objective;
                s.options.split_head = head;
                for (int32_t i = 0; i < 4; i++) {
                    s.memory[i] = limit * 1000000 / (uint64_t)(i == 2 ? 3 : 1);
                }
                int rc = plan_make(&s.sizes, &s.config, &s.options, s.plan, &err);
                n_fit += rc == 0;
                n_not += rc != 0;
                for (int32_t i = 0; rc == 0 && i < 4; i++) {
                    CHECK_THAT(plan_total(&s.plan[i]) <= s.memory[i], "limit %llu MB: rank %d takes %llu bytes",
                               (unsigned long long)limit, i, (unsigned long long)plan_total(&s.plan[i]));
                }
            }
        }
    }
    CHECK_THAT(n_fit > 50 && n_not > 50, "%d limits were enough, %d were not", n_fit, n_not);
    for (int32_t i = 0; i < 4; i++) {
        s.memory[i] = 1000000000;
    }
    CHECK_INT(plan_make(&s.sizes, &s.config, &s.options, s.plan, &err), -1);
    CHECK_THAT(strstr(err.text, "MB are missing") != NULL, "%s", err.text);
    setting_free(&s);
}

/* A large head of a small model is divided by itself, and one stream gets faster than on one board. */
static void check_head(void)
{
    struct setting s;
    struct ring_link links[4] = {{60e-6, 117e6}, {60e-6, 117e6}, {60e-6, 117e6}, {60e-6, 117e6}};
    struct outlook_ways ways;
    setting_init(&s, "llama-3.2-1b", 4);
    make(&s);
    CHECK_THAT(s.plan[0].range.vocab_end < s.config.n_vocab, "the head of a small model is not divided");
    for (int32_t i = 0; i < 3; i++) {
        CHECK_INT(s.plan[i].range.vocab_end % VOCAB_TILE, 0);
        CHECK_INT(s.plan[i + 1].range.vocab_first, s.plan[i].range.vocab_end);
    }
    struct outlook_input in = {&s.sizes, &s.config, s.options, links};
    CHECK_INT(outlook_compare(&in, s.plan, &ways, NULL), 0);
    CHECK_THAT(ways.one.fits && ways.split.streams[0] > ways.one.streams[0], "one stream: %g, one rank %g", ways.split.streams[0],
               ways.one.streams[0]);
    CHECK_THAT(ways.split.streams[2] > 1.1 * ways.equal.streams[2], "32 streams: %g, equal layers %g", ways.split.streams[2],
               ways.equal.streams[2]);
    outlook_free(&ways);
    setting_free(&s);
}

/* A far slower rank is named. */
static void check_slow(void)
{
    struct setting s;
    struct ring_link links[3] = {{60e-6, 117e6}, {60e-6, 117e6}, {60e-6, 117e6}};
    struct outlook_ways ways;
    char text[OUTLOOK_VERDICT_BYTES];
    setting_init(&s, "llama-3.2-1b", 3);
    slow_down(&s.speeds[1], 10);
    s.options.split_head = PLAN_SPLIT_HEAD_OFF;
    make(&s);
    struct outlook_input in = {&s.sizes, &s.config, s.options, links};
    CHECK_INT(outlook_compare(&in, s.plan, &ways, NULL), 0);
    outlook_verdict(&ways, 3, text, sizeof text);
    CHECK_INT(ways.n_slow, 2);
    CHECK_THAT(strstr(text, "ranks 1 and 2 only slow it") != NULL, "%s", text);
    outlook_free(&ways);
    setting_free(&s);
}

int main(void)
{
    check_sizes();
    check_noise();
    check_memory();
    check_head();
    check_slow();
    return check_result();
}
