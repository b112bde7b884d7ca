/* The CPU backend's matmul, norm, gate and embedding; sine and cosine; sizes and errors. SPDX-License-Identifier: MIT */
#include <math.h>

#include "kernels/cpu/math_ref.h"
#include "kernels/quantize.h"
#include "tests/check.h"
#include "tests/kernels/machine.h"
#include "tests/kernels/random.h"

static void test_sin_cos(void)
{
    uint64_t seed = 5;
    for (int i = 0; i < 20000; i++) {
        double x = i < 4 ? i * 0.25 : (double)random_unit(&seed) * pow(10.0, i % 7), sine, cosine;
        sin_cos_ref(x, &sine, &cosine);
        CHECK_THAT(fabs(sine - sin(x)) < 4e-16, "sin(%.17g) is %.17g, expected %.17g", x, sine, sin(x));
        CHECK_THAT(fabs(cosine - cos(x)) < 4e-16, "cos(%.17g) is %.17g, expected %.17g", x, cosine, cos(x));
    }
}

static void test_matmul(int32_t n_threads)
{
    enum { ROWS = 5, K = 64, COLS_A = 100, COLS_B = 3 };
    struct machine m = machine_create("auto", n_threads);
    const struct backend_ops *ops = m.backend->ops;
    struct error err = {0};
    float *a = random_floats(COLS_A * K, 1), *b = random_floats(COLS_B * K, 2), *x = random_floats(ROWS * K, 3);
    float *ones = malloc(K * sizeof *ones), *bias = random_floats(COLS_A, 4), *in, *out_a, *out_b;
    struct backend_act *act;
    for (int i = 0; i < K; i++) {
        ones[i] = 1;
    }
    struct tensor weight_a = {.data = a, .dtype = DTYPE_F32, .rows = COLS_A, .cols = K, .row_bytes = K * 4};
    struct tensor weight_b = {.data = b, .dtype = DTYPE_F32, .rows = COLS_B, .cols = K, .row_bytes = K * 4};
    int status = ops->import(m.backend, &weight_a, BACKEND_MATRIX, &err) |
                 ops->import(m.backend, &weight_b, BACKEND_MATRIX, &err);
    status |= ops->act_create(m.backend, K, BACKEND_ACT_FLOAT, &act, &err) | ops->alloc(m.backend, ROWS * K, &in, &err);
    status |= ops->alloc(m.backend, ROWS * COLS_A, &out_a, &err) | ops->alloc(m.backend, ROWS * COLS_B, &out_b, &err);
    CHECK_INT(status, 0);
    struct backend_rows rows = {.n_rows = ROWS};
    ops->step_begin(m.backend, &rows);
    ops->upload(m.backend, in, x, ROWS * K);
    struct norm_spec norm = {NORM_RMS, {.data = ones, .dtype = DTYPE_F32, .rows = 1, .cols = K, .row_bytes = K * 4}, 1e-5f};
    ops->norm(m.backend, &norm, in, act);
    for (int i = 0; i < ROWS * COLS_A; i++) {
        out_a[i] = 1;
    }
    struct matmul_spec mats[2] = {
        {weight_a, {.data = bias, .dtype = DTYPE_F32, .rows = 1, .cols = COLS_A, .row_bytes = COLS_A * 4}, 0.5f, 1, out_a},
        {.weight = weight_b, .scale = 1, .out = out_b}};
    ops->matmul(m.backend, act, mats, 2);
    for (int r = 0; r < ROWS; r++) {
        double ss = 0;
        for (int i = 0; i < K; i++) {
            ss += (double)x[r * K + i] * x[r * K + i];
        }
        for (int c = 0; c < COLS_A + COLS_B; c++) {
            const float *w = c < COLS_A ? a + c * K : b + (c - COLS_A) * K;
            double dot = 0;
            for (int i = 0; i < K; i++) {
                dot += x[r * K + i] / sqrt(ss / K + 1e-5) * w[i];
            }
            double expected = c < COLS_A ? 1 + (dot * 0.5 + bias[c]) : dot;
            double found = c < COLS_A ? out_a[r * COLS_A + c] : out_b[r * COLS_B + c - COLS_A];
            CHECK_THAT(fabs(found - expected) < 1e-5, "row %d column %d is %.9g, expected %.9g", r, c, found, expected);
        }
    }
    free(a);
    free(b);
    free(x);
    free(ones);
    free(bias);
    machine_free(&m);
}

/* Embeds from Q8_0, gates, multiplies by Q8_0 weights: the int8 forms. */
static void test_quantised_chain(void)
{
    enum { K = 2112, VOCAB = 5, ROWS = 3, COLS = 7, BLOCK = 34 };
    float *reference = NULL;
    for (int32_t n_threads = 1; n_threads <= 4; n_threads += 3) {
        struct machine m = machine_create(n_threads == 1 ? "scalar" : "auto", n_threads);
        const struct backend_ops *ops = m.backend->ops;
        struct error err = {0};
        uint64_t seed = 9;
        uint8_t *data = malloc(VOCAB * K / 32 * BLOCK + COLS * K / 32 * BLOCK);
        for (int b = 0; b < (VOCAB + COLS) * K / 32; b++) {
            uint16_t d = half_from_float(0.01f + 0.005f * random_unit(&seed));
            memcpy(data + b * BLOCK, &d, 2);
            for (int i = 2; i < BLOCK; i++) {
                data[b * BLOCK + i] = (uint8_t)random_u32(&seed);
            }
        }
        size_t row_bytes = K / 32 * BLOCK;
        struct tensor table = {.data = data, .dtype = DTYPE_Q8_0, .rows = VOCAB, .cols = K, .row_bytes = row_bytes};
        struct tensor weight = {
            .data = data + VOCAB * row_bytes, .dtype = DTYPE_Q8_0, .rows = COLS, .cols = K, .row_bytes = row_bytes};
        struct backend_act *act;
        float *hidden, *out, *values = malloc(K * sizeof *values);
        int status = ops->import(m.backend, &table, BACKEND_ROWS, &err) | ops->import(m.backend, &weight, BACKEND_MATRIX, &err);
        status |= ops->act_create(m.backend, K, BACKEND_ACT_INT8, &act, &err);
        status |= ops->alloc(m.backend, ROWS * K, &hidden, &err) | ops->alloc(m.backend, ROWS * COLS, &out, &err);
        CHECK_INT(status, 0);
        int32_t tokens[ROWS] = {4, 0, 2};
        struct backend_rows rows = {.n_rows = ROWS, .tokens = tokens};
        ops->step_begin(m.backend, &rows);
        ops->embed(m.backend, &table, 2.0f, hidden);
        dequantize_row(DTYPE_Q8_0, data + 4 * row_bytes, K, values);
        for (int i = 0; i < K; i++) {
            CHECK_THAT(hidden[i] == 2 * values[i], "embedding %d is %g, expected %g", i, hidden[i], 2 * values[i]);
        }
        ops->gated(m.backend, GATE_SILU, hidden, hidden, K, act);
        struct matmul_spec mat = {.weight = weight, .scale = 1, .out = out};
        ops->matmul(m.backend, act, &mat, 1);
        double expected = 0, size = 0;
        dequantize_row(DTYPE_Q8_0, weight.data, K, values);
        for (int i = 0; i < K; i++) {
            double g = hidden[i], y = g / (1 + exp(-g)) * g * values[i];
            expected += y;
            size += fabs(y);
        }
        /* int8 steps of 1/127 of the block's largest, half of one at most, random in sign. */
        CHECK_THAT(fabs(out[0] - expected) < 0.004 * size, "gated product %g, expected %g", out[0], expected);
        if (!reference) {
            reference = malloc(ROWS * COLS * sizeof *reference);
            memcpy(reference, out, ROWS * COLS * sizeof *reference);
        }
        CHECK_THAT(memcmp(reference, out, ROWS * COLS * sizeof *out) == 0, "%d threads: other bits", n_threads);
        char *packed = malloc(ROWS * backend_act_row_bytes(K));
        ops->act_download(m.backend, packed, act, ROWS);
        memset(hidden, 0, ROWS * K * sizeof *hidden);
        ops->gated(m.backend, GATE_SILU, hidden, hidden, K, act); /* something else */
        ops->act_upload(m.backend, act, packed, ROWS);
        memset(out, 0, ROWS * COLS * sizeof *out);
        ops->matmul(m.backend, act, &mat, 1);
        CHECK_THAT(memcmp(reference, out, ROWS * COLS * sizeof *out) == 0, "other bits from packed rows");
        free(packed);
        free(data);
        free(values);
        machine_free(&m);
    }
    free(reference);
}

static void test_sizes_and_errors(void)
{
    struct machine m = machine_create("scalar", 1);
    struct error err = {0};
    struct backend *backend;
    struct backend_act *act;
    struct kv_layer_shape shapes[2] = {{2, 40, 40, 2}, {1, 64, 32, 1}};
    CHECK_INT(backend_kv_row_bytes(40, KV_F32), 160);
    CHECK_INT(backend_kv_row_bytes(40, KV_F16), 80);
    CHECK_INT(backend_kv_row_bytes(40, KV_Q8_0), 44);
    CHECK_INT(backend_kv_bytes(shapes, 2, 3, KV_F16, KV_Q8_0), 3 * 64 * (2 * (80 + 44) + (128 + 34)));
    CHECK_INT(backend_cpu_create(&backend, "sse9", m.pool, 1, 1, &err), -1);
    CHECK_TEXT(err.text, "--isa sse9: unknown; expected auto, scalar, avx2, avx512, avx512novnni or neon");
    CHECK_INT(m.backend->ops->act_create(m.backend, 40, BACKEND_ACT_INT8, &act, &err), -1);
    CHECK_TEXT(err.text, "40 columns for quantised weights; expected a multiple of 32");
    struct tensor t = {.dtype = (enum dtype)16, .rows = 1, .cols = 256};
    CHECK_INT(m.backend->ops->import(m.backend, &t, BACKEND_MATRIX, &err), -1);
    CHECK_TEXT(err.text, "weights of type IQ2_XXS are not supported");
    struct backend_kv *kv;
    struct kv_layer_shape huge = {INT32_MAX, INT32_MAX, 1, INT32_MAX};
    CHECK_INT(m.backend->ops->kv_create(m.backend, &huge, 1, INT32_MAX, KV_F32, KV_F32, &kv, &err), -1);
    machine_free(&m);
}

int main(void)
{
    test_sin_cos();
    test_matmul(1);
    test_matmul(3);
    test_quantised_chain();
    test_sizes_and_errors();
    return check_result();
}
