/* Predictions against closed formulas: a stage's time is a + b n, hops are constant. SPDX-License-Identifier: MIT */
#include <math.h>

#include "src/plan/predict.h"
#include "src/model/head.h"
#include "tests/check.h"

enum { MAX_RANKS = 8, N_LAYERS = 32, DIM = 8, N_VOCAB = 64 * VOCAB_TILE };

/* Seconds: a layer takes FIXED_S + n ROW_S, a head tile TILE_S a row. */
static const double FIXED_S = 1e-3, ROW_S = 1e-4, TILE_S = 1e-4, HOP_S = 2e-3;
static const double HANDOVER_S = 5e-5; /* of predict.c */

struct pipeline {
    struct predict_input in;
    struct predict_rank ranks[MAX_RANKS];
    struct plan_rank plan[MAX_RANKS];
    struct slice_sizes sizes;
    uint64_t layer_bytes[N_LAYERS];
};

static void set_speed(struct speed *s, double slowness)
{
    memset(s, 0, sizeof *s);
    s->n_points = 3;
    s->layer_bytes = 1000;
    for (int i = 0; i < s->n_points; i++) {
        s->rows[i] = i == 0 ? 1 : 16 << (2 * i);
        s->layer_s[i] = slowness * (FIXED_S + s->rows[i] * ROW_S);
        s->tile_s[i] = slowness * TILE_S * s->rows[i];
    }
}

/* n_ranks equal ranks with the same number of layers; the head undivided or in equal parts. */
static void pipeline_init(struct pipeline *p, int32_t n_ranks, int divided, double hop_s)
{
    memset(p, 0, sizeof *p);
    p->in = (struct predict_input){.n_ranks = n_ranks,
                                   .ranks = p->ranks,
                                   .plan = p->plan,
                                   .sizes = &p->sizes,
                                   .dim = DIM,
                                   .chunk = 128,
                                   .depth = n_ranks + 1};
    p->sizes.layer_bytes = p->layer_bytes;
    for (int i = 0; i < N_LAYERS; i++) {
        p->layer_bytes[i] = 1000;
    }
    for (int32_t i = 0; i < n_ranks; i++) {
        int32_t n = N_LAYERS / n_ranks, rows = N_VOCAB / n_ranks;
        set_speed(&p->ranks[i].speed, 1);
        p->ranks[i].hop_s = hop_s;
        p->ranks[i].bytes_per_s = 1e18;
        p->plan[i].range = (struct slice_range){.layer_first = i * n,
                                                .layer_end = (i + 1) * n,
                                                .vocab_first = divided ? i * rows
                                                               : i     ? N_VOCAB
                                                                       : 0,
                                                .vocab_end = divided ? (i + 1) * rows : N_VOCAB};
    }
}

static void check_close(const char *what, double found, double expected)
{
    CHECK_THAT(fabs(found - expected) < 1e-6 * expected, "%s is %.9g, expected %.9g", what, found, expected);
}

/* One stream: the sum of the stages and P hops; T(1) / (T(1) + P h) of one board. */
static void check_one_stream(void)
{
    struct pipeline p;
    double whole = N_LAYERS * (FIXED_S + ROW_S) + 64 * TILE_S;
    for (int32_t n = 1; n <= MAX_RANKS; n *= 2) {
        pipeline_init(&p, n, 0, HOP_S);
        double hops = n == 1 ? 0 : n * (HOP_S + HANDOVER_S);
        check_close("one stream", predict_decode(&p.in, 1, 0).tokens_per_s, 1 / (whole + hops));
    }
}

/* With the head divided one stream gets 1 / (1 - f + f / P) faster, f the head's share; two more messages. */
static void check_divided_head(void)
{
    struct pipeline p;
    double layers = N_LAYERS * (FIXED_S + ROW_S), head = 64 * TILE_S, f = head / (layers + head);
    for (int32_t n = 2; n <= MAX_RANKS; n *= 2) {
        pipeline_init(&p, n, 1, -HANDOVER_S);
        check_close("divided head", predict_decode(&p.in, 1, 0).tokens_per_s * (layers + head), 1 / (1 - f + f / n));
        pipeline_init(&p, n, 1, HOP_S);
        double hops = (n + 1) * (HOP_S + HANDOVER_S);
        check_close("divided head with hops", predict_decode(&p.in, 1, 0).tokens_per_s, 1 / (layers + head / n + hops));
    }
}

/* Many streams fill a balanced pipeline: P b / T(b) with b streams a group. One slow rank limits. */
static void check_many_streams(void)
{
    struct pipeline p;
    for (int32_t n = 2; n <= MAX_RANKS; n *= 2) {
        int32_t share = 4;
        double whole = N_LAYERS * (FIXED_S + share * ROW_S) + 64 * TILE_S * share;
        pipeline_init(&p, n, 1, -HANDOVER_S);
        check_close("many streams", predict_decode(&p.in, n * share, 0).tokens_per_s, n * share / whole);
        set_speed(&p.ranks[1].speed, 3);
        struct prediction slow = predict_decode(&p.in, n * share, 0);
        check_close("a slow rank", slow.tokens_per_s, n * share / (3 * whole));
        CHECK_INT(slow.limits, 1);
    }
}

/* M chunks of c rows through P ranks: (M + P - 1) tau(c) and the head; the least over all M. */
static double best_prompt_s(int32_t n, int32_t n_ranks, int32_t most)
{
    double best = 1e30;
    for (int32_t n_chunks = (n + most - 1) / most; n_chunks <= n; n_chunks++) {
        double rows = (double)n / n_chunks;
        double seconds = (n_chunks + n_ranks - 1) * (N_LAYERS / n_ranks * (FIXED_S + rows * ROW_S)) + 64 * TILE_S;
        best = seconds < best ? seconds : best;
    }
    return best;
}

static void check_prompt(void)
{
    struct pipeline p;
    for (int32_t n = 2; n <= MAX_RANKS; n *= 2) {
        pipeline_init(&p, n, 0, -HANDOVER_S);
        p.in.depth = 100;
        double best = 2048 / best_prompt_s(2048, n, p.in.chunk), found = predict_prefill(&p.in, 2048).tokens_per_s;
        CHECK_THAT(found <= best * 1.000001 && found > 0.97 * best, "a prompt over %d ranks: %g tokens/s, the best is %g", n,
                   found, best);
    }
    /* One batch in flight: no overlap at all. */
    pipeline_init(&p, 4, 0, -HANDOVER_S);
    p.in.depth = 1;
    check_close("a prompt, depth 1", predict_prefill(&p.in, 1024).tokens_per_s,
                1024 / (8 * N_LAYERS * (FIXED_S + 128 * ROW_S) + 64 * TILE_S));
}

/* Between the measured numbers of rows, beyond them, and with positions to read. */
static void check_speed(void)
{
    struct speed s;
    set_speed(&s, 1);
    check_close("layers", speed_layers_s(&s, 4000, 4, &(struct speed_step){.n_rows = 5}), 4 * (FIXED_S + 5 * ROW_S));
    check_close("beyond", speed_layers_s(&s, 1000, 1, &(struct speed_step){.n_rows = 512}), FIXED_S + 512 * ROW_S);
    s.step_s = 7;
    s.pair_s = 2;
    s.chunk_pair_s = 3;
    double layer = FIXED_S + 4 * ROW_S;
    check_close("rows", speed_layers_s(&s, 1000, 1, &(struct speed_step){4, 10, 0}), layer + 7 + 4 * 10 * 2);
    check_close("a chunk", speed_layers_s(&s, 1000, 1, &(struct speed_step){4, 10, 1}), layer + 7 + (10 + 11 + 12 + 13) * 3);
    CHECK_THAT(speed_layers_s(&s, 0, 0, &(struct speed_step){4, 10, 0}) == 0, "no layers take time");
    s.head_step_s = 1;
    check_close("head", speed_head_s(&s, 2 * VOCAB_TILE, 40), 2 + 2 * 40 * TILE_S);
}

static void check_groups(void)
{
    struct speed s[4];
    set_speed(&s[0], 1);
    set_speed(&s[1], 1.04);
    set_speed(&s[2], 0.97);
    CHECK_INT(speed_group(s, 3), 1);
    check_close("of its kind", s[1].layer_s[0], s[0].layer_s[0]);
    set_speed(&s[1], 1.5);
    set_speed(&s[3], 1.53);
    CHECK_INT(speed_group(s, 4), 0);
    check_close("the second kind", s[3].layer_s[0], s[1].layer_s[0]);
    check_close("the first kind", s[2].layer_s[0], s[0].layer_s[0]);
}

int main(void)
{
    check_one_stream();
    check_divided_head();
    check_many_streams();
    check_prompt();
    check_speed();
    check_groups();
    return check_result();
}
