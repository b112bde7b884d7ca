/* Products of many rows by cuBLAS (--gpu-math fast) against the exact ones: within what rounding to 16 bits allows, for every
 * type; of few rows, bit for bit. Errors. SPDX-License-Identifier: MIT */
#include <math.h>

#include "kernels/gpu.h"
#include "kernels/quantize.h"
#include "tests/check.h"
#include "tests/kernels/check_kernels.h"
#include "tests/kernels/machine.h"
#include "tests/kernels/random.h"

enum { MOST_ROWS = 261, FLOAT_ROWS = 33, PACKED_ROWS = 256 /* from which on cuBLAS multiplies */, MATS = 3 };

static struct backend *make_cuda(int fast)
{
    struct cuda_options options = {.max_rows = MOST_ROWS, .max_pages = 1, .record = 1, .fast_math = fast};
    struct error err = {0};
    struct backend *backend = NULL;
    CHECK_THAT(backend_cuda_create(&backend, &options, &err) == 0, "%s", err.text);
    return backend ? backend : (exit(1), NULL);
}

/* -- one call -- */

struct matrix {
    enum dtype type;
    int32_t rows;
    int has_bias, add;
    float scale;
    void *weights;
    float *bias, *before, *found[2]; /* before, found: [MOST_ROWS, rows]; found by the exact backend and the fast one */
};

struct call {
    int32_t cols, n_rows;
    int forms;
    float *in;    /* [n_rows, cols] before the gate */
    char *packed; /* [n_rows, backend_act_row_bytes(cols)] the int8 form */
    struct matrix mats[MATS];
};

static void run(struct call *c, struct backend *b, int fast)
{
    struct backend_rows step = {.n_rows = c->n_rows};
    struct matmul_spec specs[MATS] = {0};
    struct backend_act *act;
    struct error err = {0};
    float *x;
    size_t n_in = (size_t)c->n_rows * (size_t)c->cols;
    int status = b->ops->act_create(b, c->cols, c->forms, &act, &err) | b->ops->alloc(b, MOST_ROWS * (size_t)c->cols, &x, &err);
    for (int i = 0; i < MATS; i++) {
        struct matrix *m = &c->mats[i];
        size_t row_bytes = dtype_row_bytes(m->type, c->cols);
        specs[i].weight = (struct tensor){
            .data = m->weights, .dtype = m->type, .rows = m->rows, .cols = c->cols, .row_bytes = row_bytes};
        specs[i].bias = (struct tensor){
            .data = m->bias, .dtype = DTYPE_F32, .rows = 1, .cols = m->rows, .row_bytes = 4 * (size_t)m->rows};
        specs[i].scale = m->scale;
        specs[i].add = m->add;
        status |= b->ops->import(b, &specs[i].weight, BACKEND_MATRIX, &err) |
                  b->ops->import(b, &specs[i].bias, BACKEND_VECTOR, &err) |
                  b->ops->alloc(b, MOST_ROWS * (size_t)m->rows, &specs[i].out, &err);
        specs[i].bias = m->has_bias ? specs[i].bias : (struct tensor){0};
    }
    CHECK_THAT(status == 0, "%s", err.text);
    b->ops->step_begin(b, &step);
    b->ops->upload(b, x, c->in, n_in);
    for (int i = 0; i < MATS; i++) {
        b->ops->upload(b, specs[i].out, c->mats[i].before, (size_t)c->n_rows * (size_t)c->mats[i].rows);
    }
    b->ops->gated(b, GATE_SILU, x, x, c->cols, act);
    b->ops->matmul(b, act, specs, MATS);
    for (int i = 0; i < MATS; i++) {
        b->ops->download(b, c->mats[i].found[fast], specs[i].out, (size_t)c->n_rows * (size_t)c->mats[i].rows);
    }
    if (c->forms & BACKEND_ACT_INT8) {
        b->ops->act_download(b, c->packed, act, c->n_rows);
    }
}

/* -- what rounding allows -- */

/* |activation| of that row and column: what the matrix is multiplied with. */
static double activation(const struct call *c, int quantised, int32_t row, int32_t col)
{
    double x = (double)c->in[(size_t)row * (size_t)c->cols + (size_t)col];
    if (!quantised) {
        return fabs(x * x / (1 + exp(-x)));
    }
    const char *packed = c->packed + (size_t)row * backend_act_row_bytes(c->cols);
    float d;
    memcpy(&d, packed + c->cols + (size_t)col / 32 * sizeof d, sizeof d);
    return fabs((double)((const int8_t *)packed)[col] * (double)d);
}

/* Rounding of activations and weights to 16 bits; both sides' f32 sums; scale, bias and what was there. Halves below the least
 * normal one: the largest activation is brought to 2^13 or more, so there it is 2^-38 of it; weights are not moved, 2^-25.
 * Quantised weights with a minimum are differences of two numbers, either at most four times the row's largest weight. */
static double allowed(const struct call *c, const struct matrix *m, int32_t row, const float *w, int32_t out)
{
    int quantised = dtype_info(m->type)->quantised;
    double of_x = m->type == DTYPE_F32 ? 0 : m->type == DTYPE_BF16 ? 0x1p-8 : 0x1p-11, of_w = quantised ? 0x1p-11 : 0;
    double sum = 0, sum_w = 0, sum_x = 0, most_w = 0, most_x = 0;
    for (int32_t i = 0; i < c->cols; i++) {
        double x = activation(c, quantised, row, i), magnitude = fabs((double)w[i]);
        sum += x * magnitude;
        sum_w += magnitude;
        sum_x += x;
        most_w = fmax(most_w, magnitude);
    }
    for (int32_t r = 0; r < c->n_rows; r++) { /* all rows have the same power of two */
        for (int32_t i = 0; i < c->cols; i++) {
            most_x = fmax(most_x, activation(c, quantised, r, i));
        }
    }
    double sums = (quantised ? 8 * most_w * sum_x : sum) * (2 * (c->cols + 8)) * 0x1p-24;
    double product = sum * (of_x + of_w + of_x * of_w) + sums + most_x * sum_w * 0x1p-38 + (quantised ? sum_x * 0x1p-25 : 0);
    double around = fabs((double)m->bias[out]) + fabs((double)m->before[(size_t)row * (size_t)m->rows + (size_t)out]);
    return fabs((double)m->scale) * product + (fabs((double)m->scale) * sum + around) * 0x1p-22;
}

static void check_near(const struct call *c, const struct matrix *m)
{
    float *w = malloc((size_t)c->cols * sizeof *w);
    double worst = 0;
    for (int32_t out = 0; out < m->rows; out += m->rows / 8) {
        dequantize_row(m->type, (const char *)m->weights + (size_t)out * dtype_row_bytes(m->type, c->cols), c->cols, w);
        for (int32_t row = 0; row < c->n_rows; row += 1 + row / 2) {
            size_t at = (size_t)row * (size_t)m->rows + (size_t)out;
            double exact = (double)m->found[0][at], fast = (double)m->found[1][at], most = allowed(c, m, row, w, out);
            CHECK_THAT(fabs(fast - exact) <= most, "%s, %d rows, %d columns: output [%d, %d] is %.9g, exact %.9g, allowed %.3g",
                       dtype_info(m->type)->name, c->n_rows, c->cols, row, out, fast, exact, most);
            worst = fmax(worst, fabs(fast - exact) / most);
        }
    }
    CHECK_THAT(worst > 0x1p-14, "%s, %d rows: no rounding that can be seen, was it computed exactly?", dtype_info(m->type)->name,
               c->n_rows);
    free(w);
}

/* Floats of the size of products of such activations. */
static float *random_products(size_t n, float magnitude, uint64_t *seed)
{
    float *out = random_floats(n, random_u32(seed) | 1);
    for (size_t i = 0; i < n; i++) {
        out[i] *= magnitude * magnitude;
    }
    return out;
}

/* packed_rows: from which on quantised weights are multiplied by cuBLAS. */
static void check_call(struct backend *const backends[2], int32_t packed_rows, const enum dtype types[MATS], int32_t cols,
                       int32_t n_rows, float magnitude, uint64_t *seed)
{
    struct call c = {.cols = cols, .n_rows = n_rows};
    c.forms = BACKEND_ACT_FLOAT | (cols % 32 ? 0 : BACKEND_ACT_INT8);
    c.in = malloc((size_t)n_rows * (size_t)cols * sizeof *c.in);
    c.packed = malloc((size_t)n_rows * backend_act_row_bytes(cols));
    for (int32_t i = 0; i < n_rows * cols; i++) {
        c.in[i] = random_unit(seed) * (i / cols % 5 == 4 ? magnitude * 0x1p-8f : magnitude);
    }
    for (int i = 0; i < MATS; i++) {
        struct matrix *m = &c.mats[i];
        *m = (struct matrix){.type = types[i], .rows = 17 + random_below(seed, 90), .has_bias = random_below(seed, 2)};
        m->add = random_below(seed, 2);
        m->scale = random_below(seed, 2) ? 1 : 0.37f;
        size_t n_out = MOST_ROWS * (size_t)m->rows;
        m->weights = malloc((size_t)m->rows * dtype_row_bytes(m->type, cols));
        fill_weights(m->type, WEIGHTS_ORDINARY, (int64_t)m->rows * cols, m->weights, seed);
        m->bias = random_products((size_t)m->rows, magnitude, seed);
        m->before = random_products(n_out, magnitude, seed);
        m->found[0] = calloc(n_out, sizeof *m->found[0]);
        m->found[1] = calloc(n_out, sizeof *m->found[1]);
    }
    run(&c, backends[0], 0);
    run(&c, backends[1], 1);
    for (int i = 0; i < MATS; i++) {
        struct matrix *m = &c.mats[i];
        if (n_rows >= (dtype_info(m->type)->quantised ? packed_rows : FLOAT_ROWS)) {
            check_near(&c, m);
        } else {
            int64_t at = first_difference(m->found[1], m->found[0], (int64_t)n_rows * m->rows);
            CHECK_THAT(at < 0, "%s, %d rows: float %d differs", dtype_info(m->type)->name, n_rows, (int)at);
        }
        free(m->weights);
        free(m->bias);
        free(m->before);
        free(m->found[0]);
        free(m->found[1]);
    }
    free(c.in);
    free(c.packed);
}

/* -- memory and errors -- */

static void check_refused(const struct cuda_options *options, const char *expected)
{
    struct backend *b;
    struct error err = {0};
    CHECK_INT(backend_cuda_create(&b, options, &err), -1);
    CHECK_THAT(strstr(err.text, expected) && !strchr(err.text, '\n'), "the error is \"%s\", expected \"%s\"", err.text, expected);
}

static void test_errors(void)
{
    struct cuda_options options = {.max_rows = 40, .max_pages = 2, .fast_math = 1}, exact = options;
    exact.fast_math = 0;
    setenv("CUDA_HOST_CUBLAS", "0", 1);
    check_refused(&options, "--gpu-math fast needs cuBLAS: no libcublas.so.13, .12 or .11 was found");
    setenv("CUDA_HOST_CUBLAS", "2", 1);
    check_refused(&options, "--gpu-math fast needs cuBLAS: libcublas.so.12 was found, but does not start (status 1)");
    setenv("CUDA_HOST_CUBLAS", "3", 1);
    check_refused(&options, "libcublas.so.12 was found, but does not start (status 15)");
    unsetenv("CUDA_HOST_CUBLAS");
    struct cuda_options large = {
        .max_rows = 4096, .max_pages = 3000, .fast_math = 1, .memory_limit = 70 << 20}; /* 47 MiB of tables */
    check_refused(&large, "no room for --gpu-math fast: 32.0 MiB needed");
    options.memory_limit = backend_cuda_own_bytes(&options, NULL, 0);
    CHECK_THAT(options.memory_limit > backend_cuda_own_bytes(&exact, NULL, 0) + (32 << 20), "its memory is not counted");
    struct backend *b;
    struct error err = {0};
    CHECK_THAT(backend_cuda_create(&b, &options, &err) == 0, "%s", err.text);
    if (b) {
        b->ops->destroy(b);
    }
}

int main(void)
{
    static const enum dtype odd[MATS] = {DTYPE_F16, DTYPE_BF16, DTYPE_F32};
    static const enum dtype small[3][MATS] = {
        {DTYPE_Q4_0, DTYPE_F16, DTYPE_Q4_1}, {DTYPE_BF16, DTYPE_Q5_0, DTYPE_Q5_1}, {DTYPE_Q8_0, DTYPE_F16, DTYPE_F32}};
    static const enum dtype large[2][MATS] = {{DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K}, {DTYPE_F16, DTYPE_Q6_K, DTYPE_F16}};
    static const int32_t rows[] = {1, FLOAT_ROWS - 1, FLOAT_ROWS, PACKED_ROWS - 1, PACKED_ROWS, MOST_ROWS};
    static const float magnitudes[] = {1, 3000 /* squares are beyond what halves hold */, 1e-4f /* and below it */};
    struct backend *backends[2] = {make_cuda(0)}, *orin;
    uint64_t seed = 11;
    orin = make_cuda(1);
    setenv("CUDA_HOST_SM", "90", 1);
    backends[1] = make_cuda(1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        float magnitude = magnitudes[i % 3];
        check_call(backends, PACKED_ROWS, odd, 1 + random_below(&seed, 99), rows[i], magnitude, &seed);
        for (int j = 0; j < 3; j++) {
            check_call(backends, PACKED_ROWS, small[j], 32 * (1 + random_below(&seed, 7)), rows[i], magnitude, &seed);
        }
        for (int j = 0; j < 2; j++) {
            check_call(backends, PACKED_ROWS, large[j], 256 * (1 + random_below(&seed, 2)), rows[i], magnitude, &seed);
        }
    }
    for (int i = 0; i < 3; i++) {
        check_call(backends, PACKED_ROWS, small[i], 160, MOST_ROWS, magnitudes[i], &seed);
        check_call(backends, PACKED_ROWS, large[i % 2], 256, PACKED_ROWS, magnitudes[i], &seed);
    }
    check_call((struct backend *[2]){backends[0], orin}, INT32_MAX, small[0], 64, MOST_ROWS, 1, &seed);
    orin->ops->destroy(orin);
    backends[0]->ops->destroy(backends[0]);
    backends[1]->ops->destroy(backends[1]);
    test_errors();
    return check_result();
}
