/* Matmul of F32, F16 and BF16 weights with NEON: the contract's 16 lanes are four vectors an output. SPDX-License-Identifier: MIT
 *
 * One row of activations: four weight rows together, read once. More: tiles of two weight rows by three rows of activations; with
 * many rows of activations the two weight rows are first widened into the scratch memory. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/math_ref.h"
#include "kernels/cpu/neon_common.h"

enum {
    LANES = 16,
    TILE_COLS = 2, /* weight rows a tile with several rows of activations */
    TILE_ROWS = 3,
    SINGLE_COLS = 4 /* weight rows a tile with one row of activations */
};

NEON_INLINE size_t element_bytes(enum dtype type)
{
    return type == DTYPE_F32 ? 4 : 2;
}

/* Four elements from i on. */
NEON_INLINE float32x4_t load_weights(enum dtype type, const uint8_t *row, int32_t i)
{
    const uint8_t *p = row + (size_t)i * element_bytes(type);
    if (type == DTYPE_F32) {
        return vreinterpretq_f32_u8(vld1q_u8(p));
    }
    uint16x4_t v = vreinterpret_u16_u8(vld1_u8(p));
    return type == DTYPE_F16 ? half4_to_float(v) : vreinterpretq_f32_u32(vshll_n_u16(v, 16));
}

NEON_INLINE float load_weight(enum dtype type, const uint8_t *row, int32_t i)
{
    const uint8_t *p = row + (size_t)i * element_bytes(type);
    if (type == DTYPE_F32) {
        float value;
        memcpy(&value, p, sizeof value);
        return value;
    }
    uint16_t half;
    memcpy(&half, p, sizeof half);
    return type == DTYPE_F16 ? half_to_float(half) : bf16_to_float(half);
}

/* Adds the elements [first, k) to the lanes they belong to; returns the tree's sum. */
static float finish_lanes(enum dtype type, float lane[LANES], const uint8_t *row, const float *x, int32_t first, int32_t k)
{
    for (int32_t i = first; i < k; i++) {
        lane[i - first] = fmaf(load_weight(type, row, i), x[i], lane[i - first]);
    }
    return sum_lanes_ref(lane);
}

/* nc weight rows times nx rows of activations; writes the first n_valid weight rows' outputs. */
NEON_INLINE void dot_tile(enum dtype type, const uint8_t *const *row, const int nc, const float *x, const int nx, int32_t k,
                          float *out, size_t out_stride, int32_t n_valid)
{
    float32x4_t acc[TILE_ROWS][SINGLE_COLS][4];
    NEON_UNROLL
    for (int i = 0; i < nx; i++) {
        NEON_UNROLL
        for (int c = 0; c < nc; c++) {
            acc[i][c][0] = acc[i][c][1] = acc[i][c][2] = acc[i][c][3] = vdupq_n_f32(0);
        }
    }
    const int32_t whole = k / LANES * LANES;
    for (int32_t at = 0; at < whole; at += LANES) {
        NEON_UNROLL
        for (int v = 0; v < LANES / 4; v++) {
            float32x4_t w[SINGLE_COLS];
            NEON_UNROLL
            for (int c = 0; c < nc; c++) {
                w[c] = load_weights(type, row[c], at + 4 * v);
            }
            NEON_UNROLL
            for (int i = 0; i < nx; i++) {
                const float32x4_t xv = vld1q_f32(x + (size_t)i * (size_t)k + at + 4 * v);
                NEON_UNROLL
                for (int c = 0; c < nc; c++) {
                    acc[i][c][v] = vfmaq_f32(acc[i][c][v], w[c], xv);
                }
            }
        }
    }
    NEON_UNROLL
    for (int i = 0; i < nx; i++) {
        NEON_UNROLL
        for (int c = 0; c < nc; c++) {
            if (c < n_valid) {
                float lane[LANES]; /* the accumulators' addresses must not escape: they would live in memory */
                NEON_UNROLL
                for (int v = 0; v < 4; v++) {
                    vst1q_f32(lane + 4 * v, acc[i][c][v]);
                }
                out[(size_t)i * out_stride + (size_t)c] = finish_lanes(type, lane, row[c], x + (size_t)i * (size_t)k, whole, k);
            }
        }
    }
}

static void widen_row(enum dtype type, const uint8_t *row, int32_t k, float *out)
{
    int32_t i = 0;
    for (; i + 4 <= k; i += 4) {
        vst1q_f32(out + i, load_weights(type, row, i));
    }
    for (; i < k; i++) {
        out[i] = load_weight(type, row, i);
    }
}

/* Pointers to n weight rows from c on; behind the last row that row again, so that nothing outside is read. */
NEON_INLINE void row_pointers(const void *w, size_t row_bytes, int32_t c, int32_t n_cols, int n, const uint8_t **row)
{
    for (int i = 0; i < n; i++) {
        int32_t at = c + i < n_cols ? c + i : n_cols - 1;
        row[i] = (const uint8_t *)w + (size_t)at * row_bytes;
    }
}

/* All rows of activations over TILE_COLS weight rows. */
NEON_INLINE void dot_rows(enum dtype type, const uint8_t *const row[TILE_COLS], const struct act_rows *x, int32_t n_rows,
                          float *out, size_t out_stride, int32_t n_valid)
{
    int32_t r = 0;
    for (; r + TILE_ROWS <= n_rows; r += TILE_ROWS) {
        dot_tile(type, row, TILE_COLS, x->x + (size_t)r * (size_t)x->k, TILE_ROWS, x->k, out + (size_t)r * out_stride, out_stride,
                 n_valid);
    }
    if (n_rows - r == 2) {
        dot_tile(type, row, TILE_COLS, x->x + (size_t)r * (size_t)x->k, 2, x->k, out + (size_t)r * out_stride, out_stride,
                 n_valid);
    } else if (n_rows - r == 1) {
        dot_tile(type, row, TILE_COLS, x->x + (size_t)r * (size_t)x->k, 1, x->k, out + (size_t)r * out_stride, out_stride,
                 n_valid);
    }
}

NEON_INLINE void matmul_float(enum dtype type, const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x,
                              int32_t n_rows, float *out, size_t out_stride, void *scratch)
{
    const int tile = n_rows == 1 ? SINGLE_COLS : TILE_COLS;
    for (int32_t c = 0; c < n_cols; c += tile) {
        const uint8_t *row[SINGLE_COLS];
        const int32_t n_valid = n_cols - c < tile ? n_cols - c : tile;
        row_pointers(w, row_bytes, c, n_cols, tile, row);
        if (n_rows == 1) {
            dot_tile(type, row, SINGLE_COLS, x->x, 1, x->k, out + c, out_stride, n_valid);
        } else if (type == DTYPE_F32 || n_rows <= TILE_ROWS) {
            dot_rows(type, row, x, n_rows, out + c, out_stride, n_valid);
        } else {
            float *wide = scratch;
            for (int i = 0; i < TILE_COLS; i++) {
                widen_row(type, row[i], x->k, wide + (size_t)i * (size_t)x->k);
                row[i] = (const uint8_t *)(wide + (size_t)i * (size_t)x->k);
            }
            dot_rows(DTYPE_F32, row, x, n_rows, out + c, out_stride, n_valid);
        }
    }
}

static void matmul_f32_neon(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows, float *out,
                            size_t out_stride, void *scratch)
{
    matmul_float(DTYPE_F32, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_f16_neon(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows, float *out,
                            size_t out_stride, void *scratch)
{
    matmul_float(DTYPE_F16, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_bf16_neon(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    matmul_float(DTYPE_BF16, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

void neon_matmul_float_init(struct cpu_kernels *table)
{
    table->matmul[DTYPE_F32] = matmul_f32_neon;
    table->matmul[DTYPE_F16] = matmul_f16_neon;
    table->matmul[DTYPE_BF16] = matmul_bf16_neon;
}
