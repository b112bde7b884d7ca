/* The definition of every inner loop of the CPU backend, in plain C. SPDX-License-Identifier: MIT */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/math_ref.h"
#include "kernels/cpu/ref.h"
#include "kernels/quantize.h"
#include "kernels/weight_block.h"
#include "src/core/math.h"

/* One weight row as integers: q [k], d [k / 16], m [k / 32], all in the caller's scratch. */
struct weight_row {
    int8_t *q;
    float *d;
    float *m;
};

static size_t matmul_scratch_bytes_ref(int32_t k)
{
    return (size_t)k * sizeof(float); /* a row of floats, or k * (1 + 1/4 + 1/8) bytes of unpacked blocks */
}

static void unpack_row(weight_block_fn unpack, const void *row, int32_t k, struct weight_row *out)
{
    struct weight_block block;
    for (int32_t b = 0; b < k / Q8_BLOCK; b++) {
        unpack(row, b, &block);
        memcpy(out->q + b * Q8_BLOCK, block.q, Q8_BLOCK);
        out->d[2 * b] = block.d[0];
        out->d[2 * b + 1] = block.d[1];
        out->m[b] = block.m;
    }
}

static int32_t dot_int8(const int8_t *a, const int8_t *b, int n)
{
    int32_t sum = 0;
    for (int i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* One output of a type with a scale for 32 weights. */
static float dot_blocks(const struct weight_row *w, const struct act_rows *x, int32_t r, int has_min)
{
    int32_t n_blocks = x->k / Q8_BLOCK;
    const int8_t *q = x->q + (size_t)r * (size_t)x->k;
    const float *d = x->d + (size_t)r * (size_t)n_blocks;
    const float *sum = x->sum + (size_t)r * (size_t)n_blocks;
    float acc = 0;
    for (int32_t b = 0; b < n_blocks; b++) {
        int32_t isum = dot_int8(w->q + b * Q8_BLOCK, q + b * Q8_BLOCK, Q8_BLOCK);
        acc = fmaf(w->d[2 * b] * d[b], (float)isum, acc);
        if (has_min) {
            acc = fmaf(-(w->m[b] * d[b]), sum[b], acc);
        }
    }
    return acc;
}

/* One output of a type with a scale for 16 weights: two steps a block, first half first. */
static float dot_half_blocks(const struct weight_row *w, const struct act_rows *x, int32_t r)
{
    int32_t n_blocks = x->k / Q8_BLOCK;
    const int8_t *q = x->q + (size_t)r * (size_t)x->k;
    const float *d = x->d + (size_t)r * (size_t)n_blocks;
    float acc = 0;
    for (int32_t h = 0; h < 2 * n_blocks; h++) {
        int32_t isum = dot_int8(w->q + h * 16, q + h * 16, 16);
        acc = fmaf(w->d[h] * d[h / 2], (float)isum, acc);
    }
    return acc;
}

static void matmul_quantised(enum dtype type, const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x,
                             int32_t n_rows, float *out, size_t out_stride, void *scratch)
{
    const struct dtype_info *info = dtype_info(type);
    weight_block_fn unpack = weight_block_unpacker(type);
    struct weight_row row;
    row.d = scratch;
    row.m = row.d + x->k / 16;
    row.q = (int8_t *)(row.m + x->k / Q8_BLOCK);
    for (int32_t c = 0; c < n_cols; c++) {
        unpack_row(unpack, (const char *)w + (size_t)c * row_bytes, x->k, &row);
        for (int32_t r = 0; r < n_rows; r++) {
            float *y = out + (size_t)r * out_stride + c;
            *y = info->scale_group == 16 ? dot_half_blocks(&row, x, r) : dot_blocks(&row, x, r, info->has_min);
        }
    }
}

static float dot_lanes(const float *a, const float *b, int32_t n)
{
    float lane[16] = {0};
    for (int32_t i = 0; i < n; i++) {
        lane[i % 16] = fmaf(a[i], b[i], lane[i % 16]);
    }
    return sum_lanes_ref(lane);
}

static void matmul_float(enum dtype type, const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x,
                         int32_t n_rows, float *out, size_t out_stride, void *scratch)
{
    float *row = scratch;
    for (int32_t c = 0; c < n_cols; c++) {
        dequantize_row(type, (const char *)w + (size_t)c * row_bytes, x->k, row);
        for (int32_t r = 0; r < n_rows; r++) {
            out[(size_t)r * out_stride + c] = dot_lanes(row, x->x + (size_t)r * (size_t)x->k, x->k);
        }
    }
}

static void matmul_f32_ref(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows, float *out,
                           size_t out_stride, void *scratch)
{
    matmul_float(DTYPE_F32, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_f16_ref(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows, float *out,
                           size_t out_stride, void *scratch)
{
    matmul_float(DTYPE_F16, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_bf16_ref(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows, float *out,
                            size_t out_stride, void *scratch)
{
    matmul_float(DTYPE_BF16, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q4_0_ref(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows, float *out,
                            size_t out_stride, void *scratch)
{
    matmul_quantised(DTYPE_Q4_0, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q4_1_ref(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows, float *out,
                            size_t out_stride, void *scratch)
{
    matmul_quantised(DTYPE_Q4_1, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q5_0_ref(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows, float *out,
                            size_t out_stride, void *scratch)
{
    matmul_quantised(DTYPE_Q5_0, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q5_1_ref(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows, float *out,
                            size_t out_stride, void *scratch)
{
    matmul_quantised(DTYPE_Q5_1, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q8_0_ref(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows, float *out,
                            size_t out_stride, void *scratch)
{
    matmul_quantised(DTYPE_Q8_0, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q4_k_ref(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows, float *out,
                            size_t out_stride, void *scratch)
{
    matmul_quantised(DTYPE_Q4_K, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q5_k_ref(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows, float *out,
                            size_t out_stride, void *scratch)
{
    matmul_quantised(DTYPE_Q5_K, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q6_k_ref(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows, float *out,
                            size_t out_stride, void *scratch)
{
    matmul_quantised(DTYPE_Q6_K, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void quantize_ref(const float *x, int32_t n, int8_t *q, float *d, float *sum)
{
    for (int32_t b = 0; b < n / Q8_BLOCK; b++) {
        const float *xb = x + b * Q8_BLOCK;
        float amax = 0;
        for (int i = 0; i < Q8_BLOCK; i++) {
            amax = fabsf(xb[i]) > amax ? fabsf(xb[i]) : amax;
        }
        d[b] = amax / 127.0f;
        float id = d[b] >= FLT_MIN ? 1.0f / d[b] : 0.0f;
        int32_t total = 0;
        for (int i = 0; i < Q8_BLOCK; i++) {
            float value = rintf(xb[i] * id);
            value = value > -127 ? value : -127;
            value = value < 127 ? value : 127;
            int8_t rounded = (int8_t)value;
            q[b * Q8_BLOCK + i] = rounded;
            total += rounded;
        }
        sum[b] = (float)total;
    }
}

static void rms_norm_ref(const float *x, const float *w, int32_t n, float eps, float *y)
{
    float ss = dot_lanes(x, x, n);
    float s = 1.0f / sqrtf(ss / (float)n + eps);
    for (int32_t i = 0; i < n; i++) {
        y[i] = (x[i] * s) * w[i];
    }
}

static void silu_gate_ref(const float *g, const float *u, int32_t n, float *y)
{
    for (int32_t i = 0; i < n; i++) {
        y[i] = (g[i] / (1.0f + math_exp(-g[i]))) * u[i];
    }
}

void cpu_kernels_init_ref(struct cpu_kernels *table)
{
    *table = (struct cpu_kernels){
        .isa = "scalar",
        .matmul = {[DTYPE_F32] = matmul_f32_ref,
                   [DTYPE_F16] = matmul_f16_ref,
                   [DTYPE_BF16] = matmul_bf16_ref,
                   [DTYPE_Q4_0] = matmul_q4_0_ref,
                   [DTYPE_Q4_1] = matmul_q4_1_ref,
                   [DTYPE_Q5_0] = matmul_q5_0_ref,
                   [DTYPE_Q5_1] = matmul_q5_1_ref,
                   [DTYPE_Q8_0] = matmul_q8_0_ref,
                   [DTYPE_Q4_K] = matmul_q4_k_ref,
                   [DTYPE_Q5_K] = matmul_q5_k_ref,
                   [DTYPE_Q6_K] = matmul_q6_k_ref},
        .quantize = quantize_ref,
        .rms_norm = rms_norm_ref,
        .silu_gate = silu_gate_ref,
        .attend = attend_ref,
        .weight_rows = 1,
        .matmul_scratch_bytes = matmul_scratch_bytes_ref,
        .attend_scratch_bytes = attend_scratch_bytes_ref,
        .attend_queries = 16,
    };
}
