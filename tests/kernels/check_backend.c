/* SPDX-License-Identifier: MIT */
#include "tests/kernels/check_backend.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels/check_kernels.h"
#include "tests/kernels/machine.h"
#include "tests/kernels/random.h"

/* What a case computes on one backend; the same seed gives the same case. Returns the results, *n floats that the caller frees,
 * and says in text what the case was. */
typedef float *(*case_fn)(struct backend *b, uint64_t seed, size_t *n, char text[160]);

static void must(int status, const struct error *err)
{
    if (status) {
        fprintf(stderr, "check_backend: %s\n", err->text);
        exit(1);
    }
}

static float *floats(struct backend *b, size_t n)
{
    struct error err = {0};
    float *out;
    must(b->ops->alloc(b, n, &out, &err), &err);
    return out;
}

static struct backend_act *activations(struct backend *b, int32_t cols, int forms)
{
    struct error err = {0};
    struct backend_act *act;
    must(b->ops->act_create(b, cols, forms, &act, &err), &err);
    return act;
}

static struct tensor import(struct backend *b, enum dtype type, int64_t rows, int64_t cols, const void *data,
                            enum backend_use use)
{
    struct error err = {0};
    struct tensor t = {.data = data, .dtype = type, .rows = rows, .cols = cols, .row_bytes = dtype_row_bytes(type, cols)};
    must(b->ops->import(b, &t, use, &err), &err);
    return t;
}

static void fill(float *x, size_t n, uint64_t *seed)
{
    static const float odd[6] = {0.0f, -0.0f, 1e-40f, 300.0f, -1e-20f, 1.0f};
    for (size_t i = 0; i < n; i++) {
        x[i] = random_below(seed, 32) ? 2 * random_unit(seed) : odd[random_below(seed, 6)];
    }
}

static float *random_rows(size_t n, uint64_t *seed)
{
    float *x = malloc(n * sizeof *x);
    fill(x, n, seed);
    return x;
}

/* Rows of a step: few more often than many, each number now and then. */
static int32_t random_rows_count(uint64_t *seed)
{
    int32_t most = random_below(seed, 3) == 0 ? CHECK_MAX_ROWS : random_below(seed, 2) ? 9 : 2;
    return 1 + random_below(seed, most);
}

/* -- products -- */

static const enum dtype types[] = {DTYPE_F32,  DTYPE_F16,  DTYPE_BF16, DTYPE_Q4_0, DTYPE_Q4_1, DTYPE_Q5_0,
                                   DTYPE_Q5_1, DTYPE_Q8_0, DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K};
enum { N_TYPES = sizeof types / sizeof *types, MOST_MATS = 3 };

struct product {
    void *data[MOST_MATS];
    float *bias[MOST_MATS];
    struct matmul_spec specs[MOST_MATS];
};

static int add_matrix(struct backend *b, struct product *p, int i, enum dtype type, int32_t k, uint64_t *seed)
{
    static const enum weight_mode modes[4] = {WEIGHTS_ORDINARY, WEIGHTS_ORDINARY, WEIGHTS_EXTREME, WEIGHTS_WILD};
    int32_t cols = 1 + random_below(seed, 100);
    struct matmul_spec *spec = &p->specs[i];
    p->data[i] = malloc((size_t)cols * dtype_row_bytes(type, k));
    fill_weights(type, modes[random_below(seed, 4)], (int64_t)cols * k, p->data[i], seed);
    *spec = (struct matmul_spec){.weight = import(b, type, cols, k, p->data[i], BACKEND_MATRIX), .scale = 1};
    if (random_below(seed, 2)) {
        p->bias[i] = random_rows((size_t)cols, seed);
        spec->bias = import(b, DTYPE_F32, 1, cols, p->bias[i], BACKEND_VECTOR);
    }
    spec->scale = random_below(seed, 3) ? 1.0f : random_unit(seed);
    spec->add = random_below(seed, 3) == 0;
    spec->out = floats(b, (size_t)CHECK_MAX_ROWS * (size_t)cols);
    return cols;
}

/* Up to three products of a gated row; one of the types by the seed, the others often the same. */
static float *run_products(struct backend *b, uint64_t seed, size_t *n, char text[160])
{
    enum dtype type = types[seed % N_TYPES];
    struct product p = {0};
    seed = seed * 7919 + 1;
    int32_t n_rows = random_rows_count(&seed), n_mats = 1 + random_below(&seed, MOST_MATS), total = 0;
    int32_t k = dtype_info(type)->quantised ? 256 * (1 + random_below(&seed, 4)) : 32 * (1 + random_below(&seed, 20));
    if (dtype_info(type)->quantised && dtype_info(type)->block == 32) {
        k = 32 * (1 + random_below(&seed, 40));
    }
    struct backend_act *act = activations(b, k, BACKEND_ACT_FLOAT | BACKEND_ACT_INT8);
    for (int32_t i = 0; i < n_mats; i++) {
        enum dtype other = types[random_below(&seed, N_TYPES)];
        int fits = k % dtype_info(other)->block == 0;
        total += add_matrix(b, &p, i, i > 0 && fits && random_below(&seed, 2) ? other : type, k, &seed);
    }
    size_t n_in = (size_t)n_rows * (size_t)k, at = 0;
    float *in = floats(b, n_in), *up = floats(b, n_in), *gate_host = random_rows(n_in, &seed),
          *up_host = random_rows(n_in, &seed);
    struct backend_rows rows = {.n_rows = n_rows};
    b->ops->step_begin(b, &rows);
    b->ops->upload(b, in, gate_host, n_in);
    b->ops->upload(b, up, up_host, n_in);
    b->ops->gated(b, GATE_SILU, in, up, k, act);
    b->ops->matmul(b, act, p.specs, n_mats);
    *n = (size_t)n_rows * (size_t)total;
    float *out = malloc(*n * sizeof *out);
    for (int32_t i = 0; i < n_mats; i++) {
        size_t n_out = (size_t)n_rows * (size_t)p.specs[i].weight.rows;
        b->ops->download(b, out + at, p.specs[i].out, n_out);
        at += n_out;
        free(p.data[i]);
        free(p.bias[i]);
    }
    free(gate_host);
    free(up_host);
    snprintf(text, 160, "%s, %d matrices, %d rows of %d", dtype_info(type)->name, n_mats, n_rows, k);
    return out;
}

/* -- what activations hold -- */

/* Reads both forms of an activation: products with a unit matrix. [2, n_rows, cols], the caller frees it. */
static float *read_act(struct backend *b, const struct backend_act *act, int32_t n_rows, int32_t cols)
{
    size_t n = (size_t)n_rows * (size_t)cols, block_bytes = (size_t)dtype_info(DTYPE_Q8_0)->block_bytes;
    float *unit = calloc((size_t)cols * (size_t)cols, sizeof *unit), *out = malloc(2 * n * sizeof *out);
    uint8_t *quantised = calloc((size_t)cols * (size_t)cols / 32, block_bytes);
    uint16_t one = half_from_float(1.0f);
    for (size_t i = 0; i < (size_t)cols; i++) {
        uint8_t *block = quantised + (i * (size_t)cols + i) / 32 * block_bytes;
        unit[i * (size_t)cols + i] = 1;
        memcpy(block, &one, sizeof one);
        block[2 + i % 32] = 1;
    }
    struct matmul_spec specs[2] = {
        {.weight = import(b, DTYPE_F32, cols, cols, unit, BACKEND_MATRIX), .scale = 1, .out = floats(b, n)},
        {.weight = import(b, DTYPE_Q8_0, cols, cols, quantised, BACKEND_MATRIX), .scale = 1, .out = floats(b, n)}};
    b->ops->matmul(b, act, specs, 2);
    b->ops->download(b, out, specs[0].out, n);
    b->ops->download(b, out + n, specs[1].out, n);
    free(unit);
    free(quantised);
    return out;
}

static float *run_norm(struct backend *b, uint64_t seed, size_t *n, char text[160])
{
    int32_t n_rows = random_rows_count(&seed), cols = 32 * (1 + random_below(&seed, 6));
    size_t n_in = (size_t)n_rows * (size_t)cols;
    float *host = random_rows(n_in, &seed), *weight = random_rows((size_t)cols, &seed), *in = floats(b, n_in);
    struct norm_spec spec = {.weight = import(b, DTYPE_F32, 1, cols, weight, BACKEND_VECTOR), .eps = 1e-5f};
    struct backend_act *act = activations(b, cols, BACKEND_ACT_FLOAT | BACKEND_ACT_INT8);
    struct backend_rows rows = {.n_rows = n_rows};
    b->ops->step_begin(b, &rows);
    b->ops->upload(b, in, host, n_in);
    b->ops->norm(b, &spec, in, act);
    float *out = read_act(b, act, n_rows, cols);
    *n = 2 * n_in;
    free(host);
    free(weight);
    snprintf(text, 160, "%d rows of %d", n_rows, cols);
    return out;
}

/* Embedding, then upload and download of more floats than one piece of staging memory holds, now and then. */
static float *run_copies(struct backend *b, uint64_t seed, size_t *n, char text[160])
{
    enum { VOCAB = 50, COLS = 256 };
    enum dtype type = types[seed % N_TYPES];
    seed = seed * 7919 + 1;
    int32_t n_rows = random_rows_count(&seed), tokens[CHECK_MAX_ROWS];
    size_t n_embed = (size_t)n_rows * COLS, extra = random_below(&seed, 16) ? (size_t)random_below(&seed, 3000) : 2200001;
    void *data = malloc(VOCAB * dtype_row_bytes(type, COLS));
    float *out = malloc((2 * n_embed + extra) * sizeof *out), *host = malloc(extra * sizeof *host + 1);
    fill_weights(type, WEIGHTS_ORDINARY, VOCAB * COLS, data, &seed);
    for (size_t i = 0; i < extra; i++) {
        host[i] = (float)i;
    }
    for (int32_t i = 0; i < n_rows; i++) {
        tokens[i] = random_below(&seed, VOCAB);
    }
    struct tensor table = import(b, type, VOCAB, COLS, data, BACKEND_ROWS);
    struct backend_rows rows = {.n_rows = n_rows, .tokens = tokens};
    float *hidden = floats(b, 2 * n_embed), *other = floats(b, extra + 1);
    b->ops->step_begin(b, &rows);
    b->ops->embed(b, &table, 1.5f, hidden);
    /* The next step begins before anybody has waited for this one. */
    tokens[0] = random_below(&seed, VOCAB);
    b->ops->step_begin(b, &rows);
    b->ops->embed(b, &table, 0.5f, hidden + n_embed);
    b->ops->upload(b, other + 1, host, extra);
    b->ops->download(b, out, hidden, 2 * n_embed);
    b->ops->download(b, out + 2 * n_embed, other + 1, extra);
    *n = 2 * n_embed + extra;
    free(data);
    free(host);
    snprintf(text, 160, "%s, %d rows, %zu floats", dtype_info(type)->name, n_rows, extra);
    return out;
}

/* -- attention -- */

struct attend_case {
    struct kv_layer_shape shape;
    enum kv_type k_type, v_type;
    struct rope_spec rope;
    double freqs[64];
    int32_t n_slots, pages[4][CHECK_MAX_PAGES];
    int32_t n_done[4]; /* positions of the slot so far */
};

enum { N_PAGES = 4 * CHECK_MAX_PAGES };

static struct attend_case random_case(uint64_t *seed)
{
    static const int32_t dims[5] = {32, 64, 96, 40, 128};
    struct attend_case c = {.n_slots = 1 + random_below(seed, 4)};
    int32_t order[N_PAGES];
    c.shape.n_kv_heads = 1 + random_below(seed, 3);
    c.shape.n_heads = c.shape.n_kv_heads * (1 + random_below(seed, 4));
    c.shape.k_dim = dims[random_below(seed, 5)];
    c.shape.v_dim = random_below(seed, 3) ? c.shape.k_dim : dims[random_below(seed, 5)];
    c.k_type = (enum kv_type)random_below(seed, KV_N_TYPES);
    c.v_type = (enum kv_type)random_below(seed, KV_N_TYPES);
    c.rope.kind = (enum rope_kind)random_below(seed, 3);
    c.rope.n_rot = random_below(seed, 2) ? c.shape.k_dim : c.shape.k_dim / 2;
    c.rope.attn_factor = random_below(seed, 2) ? 1.0f : 1.1f;
    for (int i = 0; i < 64; i++) {
        c.freqs[i] = pow(10000.0, -i / 32.0);
    }
    for (int i = 0; i < N_PAGES; i++) {
        int at = random_below(seed, i + 1);
        order[i] = order[at];
        order[at] = i;
    }
    for (int i = 0; i < N_PAGES; i++) {
        c.pages[i / CHECK_MAX_PAGES][i % CHECK_MAX_PAGES] = order[i];
    }
    return c;
}

/* Rows for the next step: one row of each slot, or a chunk of some of them. */
static int32_t next_rows(struct attend_case *c, int32_t *positions, int32_t *slots, uint64_t *seed)
{
    int32_t n = 0, chunk = random_below(seed, 2);
    for (int32_t s = 0; s < c->n_slots; s++) {
        int32_t some = chunk ? random_below(seed, CHECK_MAX_ROWS / c->n_slots) : 1;
        for (int32_t i = 0; i < some && c->n_done[s] < CHECK_MAX_PAGES * KV_PAGE; i++) {
            positions[n] = c->n_done[s]++;
            slots[n++] = s;
        }
    }
    return n;
}

/* Puts a sequence's first positions there at one go, so that later rows see many pages: they are never stored, both backends
 * have them as zeros. */
static void skip_positions(struct attend_case *c, uint64_t *seed)
{
    for (int32_t s = 0; s < c->n_slots; s++) {
        int32_t left = CHECK_MAX_PAGES * KV_PAGE - c->n_done[s];
        if (left > 0 && random_below(seed, 2)) {
            c->n_done[s] += random_below(seed, left);
        }
    }
}

static float *run_attention(struct backend *b, uint64_t seed, size_t *n, char text[160])
{
    enum { STEPS = 5 };
    struct attend_case c = random_case(&seed);
    const struct kv_layer_shape *s = &c.shape;
    struct error err = {0};
    struct backend_kv *kv;
    int32_t cols = s->n_heads * s->v_dim, positions[CHECK_MAX_ROWS], slots[CHECK_MAX_ROWS];
    size_t q_cols = (size_t)(s->n_heads * s->k_dim), k_cols = (size_t)(s->n_kv_heads * s->k_dim),
           v_cols = (size_t)(s->n_kv_heads * s->v_dim), rows_most = CHECK_MAX_ROWS;
    c.rope.freqs = c.freqs;
    must(b->ops->kv_create(b, s, 1, N_PAGES, c.k_type, c.v_type, &kv, &err), &err);
    float *q = floats(b, rows_most * q_cols), *k = floats(b, rows_most * k_cols), *v = floats(b, rows_most * v_cols);
    float *host = malloc(rows_most * (q_cols + k_cols + v_cols) * sizeof *host), *out = NULL;
    struct backend_act *act = activations(b, cols, BACKEND_ACT_FLOAT | (cols % 32 ? 0 : BACKEND_ACT_INT8));
    float *unit = calloc((size_t)cols * (size_t)cols, sizeof *unit), *product = floats(b, rows_most * (size_t)cols);
    for (size_t i = 0; i < (size_t)cols; i++) {
        unit[i * (size_t)cols + i] = 1;
    }
    struct matmul_spec spec = {.weight = import(b, DTYPE_F32, cols, cols, unit, BACKEND_MATRIX), .scale = 1, .out = product};
    *n = 0;
    for (int step = 0; step < STEPS; step++) {
        int32_t n_rows = next_rows(&c, positions, slots, &seed);
        size_t r = (size_t)n_rows, n_out = r * (size_t)cols;
        fill(host, r * (q_cols + k_cols + v_cols), &seed);
        struct backend_rows rows = {
            .n_rows = n_rows, .positions = positions, .slots = slots, .pages = &c.pages[0][0], .max_pages = CHECK_MAX_PAGES};
        b->ops->step_begin(b, &rows);
        b->ops->upload(b, q, host, r * q_cols);
        b->ops->upload(b, k, host + r * q_cols, r * k_cols);
        b->ops->upload(b, v, host + r * (q_cols + k_cols), r * v_cols);
        struct rope_store_spec store = {.rope = c.rope, .kv = kv, .n_heads = s->n_heads, .q = q, .k = k, .v = v};
        struct attention_spec attention = {.kv = kv, .n_heads = s->n_heads, .scale = 0.125f, .q = q};
        b->ops->rope_store(b, &store);
        b->ops->attention(b, &attention, act);
        b->ops->matmul(b, act, &spec, 1);
        out = realloc(out, (*n + n_out + r * q_cols + 1) * sizeof *out);
        b->ops->download(b, out + *n, product, n_out);
        b->ops->download(b, out + *n + n_out, q, r * q_cols);
        *n += n_out + r * q_cols;
        skip_positions(&c, &seed);
    }
    free(host);
    free(unit);
    snprintf(text, 160, "%d heads on %d, widths %d and %d, cache types %d and %d, rope %d of %d, %d sequences", s->n_heads,
             s->n_kv_heads, s->k_dim, s->v_dim, c.k_type, c.v_type, c.rope.kind, c.rope.n_rot, c.n_slots);
    return out;
}

/* -- all of them -- */

/* 1 if a case of the kind differs. Each case has backends of its own: what they are given stays until they are destroyed. */
static int check_kind(const char *kind, case_fn run, check_make_fn make, int n_cases, uint64_t seed)
{
    for (int i = 0; i < n_cases; i++) {
        struct machine machine = machine_create("scalar", 1);
        struct backend *tested = make();
        char text[160];
        size_t n = 0, n_found = 0;
        uint64_t case_seed = seed * 1000 + (uint64_t)i;
        float *expected = run(machine.backend, case_seed, &n, text), *found = run(tested, case_seed, &n_found, text);
        int64_t at = n == n_found ? first_difference(found, expected, (int64_t)n) : 0;
        if (at >= 0) {
            printf("%s, case %d (%s): float %lld of %zu is %.9g, expected %.9g\n", kind, i, text, (long long)at, n,
                   (double)found[at], (double)expected[at]);
        }
        free(expected);
        free(found);
        tested->ops->destroy(tested);
        machine_free(&machine);
        if (at >= 0) {
            return 1;
        }
    }
    return 0;
}

int check_backend(check_make_fn make, int n_cases, uint64_t seed)
{
    int failed = check_kind("copies", run_copies, make, n_cases, seed);
    failed += check_kind("norm", run_norm, make, n_cases, seed);
    failed += check_kind("products", run_products, make, 4 * n_cases, seed);
    return failed + check_kind("attention", run_attention, make, n_cases, seed);
}
