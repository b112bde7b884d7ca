/* The split of layers and vocabulary against a brute-force search. SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdint.h>

#include "src/cluster/partition.h"
#include "tests/check.h"

enum { MAX_RANKS = 4, MAX_LAYERS = 8, MAX_TILES = 6, TILE = 4, ROOM = 16 };

static uint32_t random_state = 12345;

static int32_t random_below(int32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (int32_t)((random_state >> 8) % (uint32_t)n);
}

/* A problem with its arrays. */
struct problem {
    struct partition_input in;
    double layer_cost[16 * 128], layers_once[16], row_cost[16], head_once[16];
    uint64_t layer_bytes[128], row_bytes[16], memory[16];
};

static void problem_init(struct problem *p, int32_t n_ranks, int32_t n_layers, int32_t n_vocab)
{
    memset(p, 0, sizeof *p);
    p->in = (struct partition_input){.n_ranks = n_ranks,
                                     .n_layers = n_layers,
                                     .n_vocab = n_vocab,
                                     .layer_cost = p->layer_cost,
                                     .layers_once = p->layers_once,
                                     .row_cost = p->row_cost,
                                     .head_once = p->head_once,
                                     .layer_bytes = p->layer_bytes,
                                     .row_bytes = p->row_bytes,
                                     .memory = p->memory};
    for (int32_t rank = 0; rank < n_ranks; rank++) {
        p->memory[rank] = UINT64_MAX;
    }
}

static void random_problem(struct problem *p)
{
    problem_init(p, 1 + random_below(MAX_RANKS), random_below(MAX_LAYERS + 1), 1 + random_below(TILE * MAX_TILES));
    int uneven = random_below(3), limited = random_below(2), fixed = random_below(2);
    p->in.objective = random_below(2) ? PARTITION_LATENCY : PARTITION_THROUGHPUT;
    p->in.tile = random_below(2) ? TILE : 0;
    p->in.prefer_even = random_below(2);
    uint64_t row_bytes = (uint64_t)random_below(3), total = row_bytes * (uint64_t)p->in.n_vocab;
    for (int32_t i = 0; i < p->in.n_layers; i++) {
        p->layer_bytes[i] = 4 + (uint64_t)random_below(12);
        total += p->layer_bytes[i];
    }
    for (int32_t rank = 0; rank < p->in.n_ranks; rank++) {
        double slowness = uneven ? 0.2 + random_below(1000) / 250.0 : 1;
        for (int32_t i = 0; i < p->in.n_layers; i++) {
            p->layer_cost[rank * p->in.n_layers + i] = slowness * (double)p->layer_bytes[i];
        }
        p->row_cost[rank] = slowness * 0.5;
        p->row_bytes[rank] = rank == 0 && limited ? 0 : row_bytes;
        p->layers_once[rank] = fixed ? random_below(20) / 10.0 : 0;
        p->head_once[rank] = fixed ? random_below(20) / 10.0 : 0;
        p->memory[rank] = limited ? (uint64_t)random_below((int32_t)(2 * total / (uint64_t)p->in.n_ranks) + 8) : UINT64_MAX;
    }
}

/* What the objective says of a split; INFINITY when it does not fit. */
static double value_of(const struct partition_input *in, const struct partition_slice *s)
{
    double most = 0, sum = 0, head = 0;
    for (int32_t rank = 0; rank < in->n_ranks; rank++) {
        double layers = partition_layers_load(in, rank, s[rank].layer_first, s[rank].layer_end);
        double rows = partition_head_load(in, rank, s[rank].vocab_end - s[rank].vocab_first);
        uint64_t bytes = in->row_bytes[rank] * (uint64_t)(s[rank].vocab_end - s[rank].vocab_first);
        for (int32_t i = s[rank].layer_first; i < s[rank].layer_end; i++) {
            bytes += in->layer_bytes[i];
        }
        if (bytes > in->memory[rank]) {
            return INFINITY;
        }
        most = fmax(most, layers + rows);
        sum += layers;
        head = fmax(head, rows);
    }
    return in->objective == PARTITION_LATENCY ? sum + head : most;
}

static int32_t smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* The best value over all splits: ranks from `rank` on own the layers from `layer` and the rows from `row` on. */
static double search(const struct partition_input *in, struct partition_slice *s, int32_t rank, int32_t layer, int32_t row)
{
    int last = rank >= in->n_ranks - 1 || rank >= MAX_RANKS - 1;
    double best = INFINITY;
    for (int32_t end = last ? in->n_layers : layer; end <= in->n_layers; end++) {
        int32_t step = in->tile ? in->tile : in->n_vocab;
        for (int32_t row_end = last || (!in->tile && rank == 0) ? in->n_vocab : row;;
             row_end = smaller(row_end + step, in->n_vocab)) {
            s[rank] = (struct partition_slice){layer, end, row, row_end};
            double value = last ? value_of(in, s) : search(in, s, rank + 1, end, row_end);
            best = value < best ? value : best;
            if (row_end == in->n_vocab || (!in->tile && rank > 0)) {
                break;
            }
        }
    }
    return best;
}

static void check_contiguous(const struct partition_input *in, const struct partition_slice *s)
{
    int32_t layer = 0, row = 0;
    for (int32_t rank = 0; rank < in->n_ranks; rank++) {
        CHECK_INT(s[rank].layer_first, layer);
        CHECK_INT(s[rank].vocab_first, row);
        CHECK_THAT(s[rank].layer_end >= layer && s[rank].vocab_end >= row, "rank %d owns less than nothing", rank);
        layer = s[rank].layer_end;
        row = s[rank].vocab_end;
        CHECK_THAT(row == in->n_vocab || (in->tile && row % in->tile == 0), "rank %d ends at row %d, inside a tile", rank, row);
    }
    CHECK_INT(layer, in->n_layers);
    CHECK_INT(row, in->n_vocab);
}

static void check_random(void)
{
    static struct problem p;
    int n_fit = 0, n_not = 0;
    for (int trial = 0; trial < 6000; trial++) {
        random_problem(&p);
        struct partition_slice slices[ROOM], trial_slices[ROOM];
        struct error err = {""};
        int rc = partition_balance(&p.in, slices, &err);
        double best = search(&p.in, trial_slices, 0, 0, 0);
        CHECK_THAT((rc == 0) == (best < INFINITY), "trial %d: returned %d, the best is %g: %s", trial, rc, best, err.text);
        if (rc || best == INFINITY) {
            n_not++;
            continue;
        }
        n_fit++;
        check_contiguous(&p.in, slices);
        double value = value_of(&p.in, slices), slack = p.in.objective == PARTITION_LATENCY || p.in.prefer_even ? 1.01 : 1 + 1e-9;
        CHECK_THAT(value <= best * slack, "trial %d (objective %d, tile %d, %d ranks, %d layers): %g, the best is %g", trial,
                   p.in.objective, p.in.tile, p.in.n_ranks, p.in.n_layers, value, best);
    }
    CHECK_THAT(n_fit > 1000 && n_not > 300, "%d problems had an answer, %d had none", n_fit, n_not);
}

static void set_equal(struct problem *p, int32_t n_ranks, int32_t n_layers, double layer, double head, double *speeds)
{
    problem_init(p, n_ranks, n_layers, 128 * 1024);
    for (int32_t rank = 0; rank < n_ranks; rank++) {
        double speed = speeds ? speeds[rank] : 1;
        for (int32_t i = 0; i < n_layers; i++) {
            p->layer_cost[rank * n_layers + i] = layer / speed;
            p->layer_bytes[i] = 10;
        }
        p->row_cost[rank] = head / speed / (128 * 1024);
    }
}

/* Splits that a reader can check by eye. */
static void check_known(void)
{
    static struct problem p;
    static const struct {
        int32_t n_layers, n_ranks;
        double head;
        int32_t counts[4];
    } cases[] = {
        {30, 4, 0, {6, 8, 8, 8}}, {32, 4, 0, {8, 8, 8, 8}}, {6, 4, 0, {1, 1, 2, 2}},
        {30, 1, 9, {30}},         {16, 4, 4, {1, 5, 5, 5}}, {6, 4, 50, {0, 2, 2, 2}},
        {3, 4, 0, {1, 1, 1, 0}},  {28, 2, 4, {12, 16}},     {3, 4, 2, {0, 1, 1, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        set_equal(&p, cases[i].n_ranks, cases[i].n_layers, 1, cases[i].head, NULL);
        struct partition_slice slices[4];
        CHECK_INT(partition_balance(&p.in, slices, NULL), 0);
        check_contiguous(&p.in, slices);
        CHECK_INT(slices[0].vocab_end, p.in.n_vocab);
        for (int32_t rank = 0; rank < p.in.n_ranks; rank++) {
            CHECK_THAT(slices[rank].layer_end - slices[rank].layer_first == cases[i].counts[rank],
                       "case %zu: rank %d owns %d layers, expected %d", i, rank,
                       slices[rank].layer_end - slices[rank].layer_first, cases[i].counts[rank]);
        }
    }
}

static double efficiency(const struct problem *p, const struct partition_slice *s)
{
    double work = 0, most = 0;
    for (int32_t rank = 0; rank < p->in.n_ranks; rank++) {
        double load = partition_layers_load(&p->in, rank, s[rank].layer_first, s[rank].layer_end) +
                      partition_head_load(&p->in, rank, s[rank].vocab_end - s[rank].vocab_first);
        work += load;
        most = fmax(most, load);
    }
    return work / (most * p->in.n_ranks);
}

/* The table of well-known models: how far an undivided head limits a pipeline, and that a divided one does not.
 * head: in layers. */
static void check_heads(void)
{
    static struct problem p;
    static const struct {
        int32_t n_layers;
        double head;
        int undivided[3]; /* % on 2, 4, 8 ranks */
    } cases[] = {{28, 9.9, {100, 95, 48}}, {16, 4.3, {98, 96, 59}}, {32, 2.4, {99, 96, 86}}, {80, 1.2, {99, 97, 92}}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int k = 0; k < 3; k++) {
            int32_t n_ranks = 2 << k;
            struct partition_slice slices[8];
            set_equal(&p, n_ranks, cases[i].n_layers, 1, cases[i].head, NULL);
            CHECK_INT(partition_balance(&p.in, slices, NULL), 0);
            double reached = 100 * efficiency(&p, slices);
            CHECK_THAT(fabs(reached - cases[i].undivided[k]) < 1, "%d layers, head %g, %d ranks: %.1f %%, expected %d",
                       cases[i].n_layers, cases[i].head, n_ranks, reached, cases[i].undivided[k]);
            p.in.tile = 1024;
            CHECK_INT(partition_balance(&p.in, slices, NULL), 0);
            check_contiguous(&p.in, slices);
            double divided = 100 * efficiency(&p, slices);
            CHECK_THAT(divided > 99 || (divided > 92 && cases[i].n_layers % n_ranks),
                       "%d layers, head %g, %d ranks: %.1f %% with tiles", cases[i].n_layers, cases[i].head, n_ranks, divided);
        }
    }
}

static void check_uneven(void)
{
    static struct problem p;
    struct partition_slice s[4];
    /* A rank three times as fast gets three times the layers. */
    set_equal(&p, 2, 32, 1, 0, (double[]){3, 1});
    CHECK_INT(partition_balance(&p.in, s, NULL), 0);
    CHECK_INT(s[0].layer_end, 24);
    /* One stream: all on the fastest that has room; the slowest ranks stay empty. */
    set_equal(&p, 3, 32, 1, 0, (double[]){1, 4, 2});
    p.in.objective = PARTITION_LATENCY;
    CHECK_INT(partition_balance(&p.in, s, NULL), 0);
    CHECK_INT(s[1].layer_end - s[1].layer_first, 32);
    p.memory[1] = 205;
    CHECK_INT(partition_balance(&p.in, s, NULL), 0);
    CHECK_INT(s[0].layer_end, 0);
    CHECK_INT(s[1].layer_end, 20);
    CHECK_INT(s[2].layer_end, 32);
    /* Equal ranks, one stream: low ranks first. */
    set_equal(&p, 3, 32, 1, 0, NULL);
    p.in.objective = PARTITION_LATENCY;
    p.memory[0] = p.memory[1] = p.memory[2] = 200;
    CHECK_INT(partition_balance(&p.in, s, NULL), 0);
    CHECK_INT(s[0].layer_end, 20);
    CHECK_INT(s[1].layer_end, 32);
    /* A rank that would slow the pipeline with a single layer gets none. */
    set_equal(&p, 3, 8, 1, 0, (double[]){1, 1, 0.1});
    CHECK_INT(partition_balance(&p.in, s, NULL), 0);
    CHECK_INT(s[2].layer_first, 8);
    /* A divided head, one stream: every rank takes tiles by its speed, also those without layers. */
    set_equal(&p, 2, 32, 1, 8, (double[]){3, 1});
    p.in.objective = PARTITION_LATENCY;
    p.in.tile = 1024;
    CHECK_INT(partition_balance(&p.in, s, NULL), 0);
    CHECK_INT(s[0].layer_end, 32);
    CHECK_INT(s[0].vocab_end, 96 * 1024);
}

/* Alike ranks with a divided head: even layers where they are as good, those with one more last; memory and clearly better splits
 * come first. */
static void check_even(void)
{
    static struct problem p;
    static const struct {
        int32_t n_layers, n_ranks;
        double head;
        int32_t counts[4];
    } cases[] = {
        {32, 4, 4, {5, 9, 9, 9}}, {32, 4, 4.4, {8, 8, 8, 8}}, {30, 4, 4, {7, 7, 8, 8}}, {28, 3, 9.9, {9, 9, 10}},
        {6, 4, 50, {1, 1, 2, 2}}, {30, 4, 0.1, {6, 8, 8, 8}}, /* 7,7,8,8 would leave the tiles to a rank with 8 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct partition_slice s[4];
        set_equal(&p, cases[i].n_ranks, cases[i].n_layers, 1, cases[i].head, NULL);
        p.in.tile = 1024;
        p.in.prefer_even = 1;
        CHECK_INT(partition_balance(&p.in, s, NULL), 0);
        check_contiguous(&p.in, s);
        for (int32_t rank = 0; rank < p.in.n_ranks; rank++) {
            CHECK_THAT(s[rank].layer_end - s[rank].layer_first == cases[i].counts[rank],
                       "case %zu: rank %d owns %d layers, expected %d", i, rank, s[rank].layer_end - s[rank].layer_first,
                       cases[i].counts[rank]);
        }
    }
    struct partition_slice s[4];
    set_equal(&p, 4, 32, 1, 4.4, NULL);
    p.in.tile = 1024;
    p.in.prefer_even = 1;
    p.memory[1] = 70; /* 7 layers */
    CHECK_INT(partition_balance(&p.in, s, NULL), 0);
    CHECK_INT(s[1].layer_end - s[1].layer_first, 7);
}

/* 16 unequal ranks, 128 layers, a large vocabulary: both objectives, with and without memory limits. */
static void check_large(void)
{
    static struct problem p;
    static struct partition_slice s[16];
    double speeds[16];
    for (int i = 0; i < 16; i++) {
        speeds[i] = 1 + i % 5;
    }
    for (int objective = 0; objective < 2; objective++) {
        for (int limited = 0; limited < 2; limited++) {
            set_equal(&p, 16, 128, 1, 3, speeds);
            p.in.objective = objective ? PARTITION_LATENCY : PARTITION_THROUGHPUT;
            p.in.tile = 1024;
            for (int i = 0; i < 16; i++) {
                p.memory[i] = limited ? 140 : UINT64_MAX;
            }
            CHECK_INT(partition_balance(&p.in, s, NULL), 0);
            check_contiguous(&p.in, s);
            double reached = efficiency(&p, s);
            CHECK_THAT(objective || limited || reached > 0.85, "16 ranks, 128 layers: %.1f %%", 100 * reached);
        }
    }
}

static void check_messages(void)
{
    static struct problem p;
    struct partition_slice slices[5];
    struct error err = {""};
    set_equal(&p, 4, 30, 1, 1, NULL);
    const struct partition_input *in = &p.in;
    CHECK_INT(partition_from_counts(in, (const int32_t[]){10, 10, 10}, 3, slices, &err), -1);
    CHECK_TEXT(err.text, "--split names 3 ranks, the job has 4");
    CHECK_INT(partition_from_counts(in, (const int32_t[]){7, 7, 7, 7}, 4, slices, &err), -1);
    CHECK_TEXT(err.text, "--split adds up to 28 layers, the model has 30");
    CHECK_INT(partition_from_counts(in, (const int32_t[]){INT32_MAX, INT32_MAX, 32, 0}, 4, slices, &err), -1);
    CHECK_TEXT(err.text, "--split adds up to 4294967326 layers, the model has 30");
    CHECK_INT(partition_from_counts(in, (const int32_t[]){33, 7, -3, 7}, 4, slices, &err), -1);
    CHECK_TEXT(err.text, "--split gives rank 2 -3 layers, at least 0 are needed");

    CHECK_INT(partition_from_counts(in, (const int32_t[]){0, 9, 21, 0}, 4, slices, &err), 0);
    check_contiguous(in, slices);
    CHECK_INT(slices[2].layer_first, 9);
    CHECK_INT(slices[3].layer_first, 30);

    for (int i = 0; i < 30; i++) {
        p.layer_bytes[i] = 10000000;
    }
    for (int i = 0; i < 4; i++) {
        p.memory[i] = 50000000;
    }
    CHECK_INT(partition_balance(in, slices, &err), -1);
    CHECK_TEXT(
        err.text,
        "layers, their KV cache and the head take 300 MB of memory, the ranks have 200 MB for them: 100 MB are missing (more ranks, or a smaller -c, -b or cache type, help)");
    for (int i = 0; i < 4; i++) {
        p.memory[i] = 79000000;
    }
    CHECK_INT(partition_balance(in, slices, &err), -1);
    CHECK_TEXT(err.text,
               "no split fits the ranks' memory: whole layers of up to 10 MB leave gaps, though 300 MB are needed in all and "
               "316 MB are there");
    for (int i = 0; i < 4; i++) {
        p.row_bytes[i] = 1000;
    }
    p.memory[3] = UINT64_MAX;
    CHECK_INT(partition_balance(in, slices, &err), -1);
    CHECK_TEXT(
        err.text,
        "the head takes 131 MB of memory, rank 0 has 79 MB for it: 52 MB are missing (more ranks, or a smaller -c, -b or cache type, help)");
}

int main(void)
{
    check_random();
    check_known();
    check_heads();
    check_uneven();
    check_even();
    check_large();
    check_messages();
    return check_result();
}
