/* Matmul of F32, F16 and BF16 weights with AVX2: 16 lanes along K. SPDX-License-Identifier: MIT
 *
 * Tiles of up to three weight rows and three activation rows. With many activation rows a slab of weight rows is widened to f32
 * once. Limits: few rows, memory; many rows, the two fma pipes (18 fma to 12 loads). */
#include <string.h>

#include "kernels/cpu/avx2.h"
#include "kernels/cpu/x86_float.h"

#define X86_INLINE static inline __attribute__((always_inline))

enum {
    LANES = 16,
    TILE_X = 3, /* activation rows a tile */
    TILE_W = 4, /* weight rows a tile, at most */
    MAX_SLAB_ROWS = 32,
    SLAB_BYTES = 128 << 10 /* what widened weights may take of the second-level cache */
};

struct float_format {
    load8_fn load8;
    size_t bytes; /* of a weight */
};

static const struct float_format format_f32 = {load8_f32, 4};
static const struct float_format format_f16 = {load8_f16, 2};
static const struct float_format format_bf16 = {load8_bf16, 2};

struct lanes16 {
    __m256 low, high;
};

X86_INLINE struct lanes16 load_weights(const struct float_format *f, const char *p)
{
    return (struct lanes16){f->load8(p), f->load8(p + 8 * f->bytes)};
}

/* The first n of 16 values; the other lanes are 0. */
X86_INLINE struct lanes16 load_tail(const struct float_format *f, const char *p, int32_t n)
{
    float padded[LANES] = {0};
    memcpy(padded, p, (size_t)n * f->bytes);
    return load_weights(f, (const char *)padded);
}

/* out[c * out_stride + r] = dot of weight row r < n_w with activation row c < n_x. */
X86_INLINE void dot_tile(const struct float_format *f, int n_w, int n_x, const char *w, size_t row_bytes, const float *x,
                         int32_t k, float *out, size_t out_stride)
{
    struct lanes16 acc[TILE_W * TILE_X];
    size_t x_stride = (size_t)k;
    int32_t i = 0;
    for (int a = 0; a < n_w * n_x; a++) {
        acc[a] = (struct lanes16){_mm256_setzero_ps(), _mm256_setzero_ps()};
    }
    for (; i + LANES <= k; i += LANES) {
        struct lanes16 weights[TILE_W];
#pragma GCC unroll 4
        for (int r = 0; r < n_w; r++) {
            weights[r] = load_weights(f, w + (size_t)r * row_bytes + (size_t)i * f->bytes);
        }
#pragma GCC unroll 4
        for (int c = 0; c < n_x; c++) {
            struct lanes16 values = load_weights(&format_f32, (const char *)(x + (size_t)c * x_stride + i));
#pragma GCC unroll 4
            for (int r = 0; r < n_w; r++) {
                struct lanes16 *a = &acc[c * n_w + r];
                a->low = _mm256_fmadd_ps(weights[r].low, values.low, a->low);
                a->high = _mm256_fmadd_ps(weights[r].high, values.high, a->high);
            }
        }
    }
    if (i < k) { /* lanes behind the end keep their sums, a -0 too */
        __m256 in_low = _mm256_castsi256_ps(first_lanes_avx2(k - i)), in_high = _mm256_castsi256_ps(first_lanes_avx2(k - i - 8));
        for (int c = 0; c < n_x; c++) {
            struct lanes16 values = load_tail(&format_f32, (const char *)(x + (size_t)c * x_stride + i), k - i);
            for (int r = 0; r < n_w; r++) {
                struct lanes16 weights = load_tail(f, w + (size_t)r * row_bytes + (size_t)i * f->bytes, k - i);
                struct lanes16 *a = &acc[c * n_w + r];
                a->low = _mm256_blendv_ps(a->low, _mm256_fmadd_ps(weights.low, values.low, a->low), in_low);
                a->high = _mm256_blendv_ps(a->high, _mm256_fmadd_ps(weights.high, values.high, a->high), in_high);
            }
        }
    }
#pragma GCC unroll 4
    for (int c = 0; c < n_x; c++) {
#pragma GCC unroll 4
        for (int r = 0; r < n_w; r++) {
            out[(size_t)c * out_stride + (size_t)r] = sum_lanes_avx2(acc[c * n_w + r].low, acc[c * n_w + r].high);
        }
    }
}

/* n_cols weight rows with n_x <= TILE_X activation rows. */
X86_INLINE void dot_rows(const struct float_format *f, int n_x, const char *w, size_t row_bytes, int32_t n_cols, const float *x,
                         int32_t k, float *out, size_t out_stride)
{
    const int n_w = n_x == 1 ? 4 : 2;
    int32_t c = 0;
    for (; c + n_w <= n_cols; c += n_w) {
        dot_tile(f, n_w, n_x, w + (size_t)c * row_bytes, row_bytes, x, k, out + c, out_stride);
    }
    for (; c < n_cols; c++) {
        dot_tile(f, 1, n_x, w + (size_t)c * row_bytes, row_bytes, x, k, out + c, out_stride);
    }
}

/* All activation rows with weight rows that stay in the cache. */
X86_INLINE void matmul_slab(const struct float_format *f, const char *w, size_t row_bytes, int32_t n_cols,
                            const struct act_rows *x, int32_t n_rows, float *out, size_t out_stride)
{
    for (int32_t r = 0; r < n_rows; r += TILE_X) {
        const float *rows = x->x + (size_t)r * (size_t)x->k;
        float *to = out + (size_t)r * out_stride;
        if (n_rows - r >= 3) {
            dot_rows(f, 3, w, row_bytes, n_cols, rows, x->k, to, out_stride);
        } else if (n_rows - r == 2) {
            dot_rows(f, 2, w, row_bytes, n_cols, rows, x->k, to, out_stride);
        } else {
            dot_rows(f, 1, w, row_bytes, n_cols, rows, x->k, to, out_stride);
        }
    }
}

X86_INLINE void widen_row(const struct float_format *f, const char *row, int32_t k, float *out)
{
    int32_t i = 0;
    for (; i + LANES <= k; i += LANES) {
        struct lanes16 v = load_weights(f, row + (size_t)i * f->bytes);
        _mm256_storeu_ps(out + i, v.low);
        _mm256_storeu_ps(out + i + 8, v.high);
    }
    if (i < k) {
        struct lanes16 v = load_tail(f, row + (size_t)i * f->bytes, k - i);
        _mm256_maskstore_ps(out + i, first_lanes_avx2(k - i), v.low);
        _mm256_maskstore_ps(out + i + 8, first_lanes_avx2(k - i - 8), v.high);
    }
}

static int32_t slab_rows(int32_t k)
{
    int32_t n = SLAB_BYTES / 4 / (k > 0 ? k : 1);
    return n > MAX_SLAB_ROWS ? MAX_SLAB_ROWS : n < 2 ? 2 : n;
}

size_t matmul_float_scratch_bytes_avx2(int32_t k)
{
    return (size_t)slab_rows(k) * (size_t)k * sizeof(float);
}

static void matmul_f32_avx2(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows, float *out,
                            size_t out_stride, void *scratch)
{
    (void)scratch;
    int32_t slab = n_rows <= TILE_X ? n_cols : slab_rows(x->k);
    for (int32_t c = 0; c < n_cols; c += slab) {
        int32_t n = n_cols - c < slab ? n_cols - c : slab;
        matmul_slab(&format_f32, (const char *)w + (size_t)c * row_bytes, row_bytes, n, x, n_rows, out + c, out_stride);
    }
}

X86_INLINE void matmul_halves(const struct float_format *f, const char *w, size_t row_bytes, int32_t n_cols,
                              const struct act_rows *x, int32_t n_rows, float *out, size_t out_stride, float *scratch)
{
    if (n_rows <= TILE_X) {
        matmul_slab(f, w, row_bytes, n_cols, x, n_rows, out, out_stride);
        return;
    }
    int32_t slab = slab_rows(x->k);
    for (int32_t c = 0; c < n_cols; c += slab) {
        int32_t n = n_cols - c < slab ? n_cols - c : slab;
        for (int32_t i = 0; i < n; i++) {
            widen_row(f, w + (size_t)(c + i) * row_bytes, x->k, scratch + (size_t)i * (size_t)x->k);
        }
        matmul_f32_avx2(scratch, (size_t)x->k * sizeof(float), n, x, n_rows, out + c, out_stride, NULL);
    }
}

static void matmul_f16_avx2(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows, float *out,
                            size_t out_stride, void *scratch)
{
    matmul_halves(&format_f16, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_bf16_avx2(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    matmul_halves(&format_bf16, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

void matmul_float_set_avx2(struct cpu_kernels *table)
{
    table->matmul[DTYPE_F32] = matmul_f32_avx2;
    table->matmul[DTYPE_F16] = matmul_f16_avx2;
    table->matmul[DTYPE_BF16] = matmul_bf16_avx2;
}
