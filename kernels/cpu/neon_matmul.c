/* Matmul of quantised weights with the dot product instructions. SPDX-License-Identifier: MIT
 *
 * Few rows of activations: weights are read once, four weight rows together, from the file's layout (bound by memory). More:
 * eight weight rows are unpacked into a panel whose bytes lie as SDOT by element wants them, and all rows of activations run over
 * it in tiles of 8 x 4 outputs. In both, lanes are weight rows and each output has one accumulator over the blocks in order. */
#include <string.h>

#include "kernels/cpu/neon_tile.h"

enum { FEW_ROWS = 3 /* up to here the panel does not pay */ };

static size_t matmul_scratch_bytes_neon(int32_t k)
{
    return ((size_t)k / Q8_BLOCK + 1) * sizeof(struct panel_block);
}

/* Pointers to `n` weight rows from c on; behind the last row that row again, so that nothing outside is read. */
NEON_INLINE void row_pointers(const void *w, size_t row_bytes, int32_t c, int32_t n_cols, int n, const uint8_t **row)
{
    for (int i = 0; i < n; i++) {
        int32_t at = c + i < n_cols ? c + i : n_cols - 1;
        row[i] = (const uint8_t *)w + (size_t)at * row_bytes;
    }
}

/* nx rows of activations (from row 0) times four weight rows; writes n_valid outputs a row. */
NEON_INLINE void gemv_quad(const struct neon_format *f, const uint8_t *const row[4], const struct act_rows *x, const int nx,
                           float *out, size_t out_stride, int32_t n_valid)
{
    const int32_t k = x->k, n_blocks = k / Q8_BLOCK;
    const int32x4_t magic = vsetq_lane_s32(MAGIC_BITS, vdupq_n_s32(0), 0); /* lanes are added up: once is enough */
    const int8x16_t offset = vdupq_n_s8((int8_t)-f->offset);
    struct super_scales scales;
    float32x4_t acc[FEW_ROWS];
    NEON_UNROLL
    for (int i = 0; i < nx; i++) {
        acc[i] = vdupq_n_f32(0);
    }
    for (int32_t b = 0; b < n_blocks; b++) {
        struct weight_quad w;
        unpack_quad(f, row, b, &scales, &w);
        NEON_UNROLL
        for (int i = 0; i < nx; i++) {
            const int8_t *q = x->q + (size_t)i * (size_t)k + (size_t)b * Q8_BLOCK;
            const float dx = x->d[i * n_blocks + b];
            int32x4_t part[4];
            NEON_UNROLL
            for (int half = 0; half < 2; half++) {
                const int8x16_t xq = vld1q_s8(q + 16 * half);
                const int first = half == 0 || f->half_scales;
                int32x4_t start = magic;
                if (first && f->offset) {
                    start = vdotq_s32(start, xq, offset);
                }
                if (first && f->offset && !f->half_scales) {
                    start = vdotq_s32(start, vld1q_s8(q + 16), offset);
                }
                NEON_UNROLL
                for (int r = 0; r < 4; r++) {
                    part[r] = vdotq_s32(first ? start : part[r], w.q[half][r], xq);
                }
                if (half == 1 || f->half_scales) {
                    int32x4_t sum = vpaddq_s32(vpaddq_s32(part[0], part[1]), vpaddq_s32(part[2], part[3]));
                    acc[i] = vfmaq_f32(acc[i], vmulq_n_f32(w.d[half], dx), magic_to_float(sum));
                }
            }
            if (f->has_min) {
                acc[i] = vfmsq_n_f32(acc[i], vmulq_n_f32(w.m, dx), x->sum[i * n_blocks + b]);
            }
        }
    }
    NEON_UNROLL
    for (int i = 0; i < nx; i++) {
        float lanes[4];
        vst1q_f32(lanes, acc[i]);
        memcpy(out + (size_t)i * out_stride, lanes, (size_t)n_valid * sizeof *lanes);
    }
}

NEON_INLINE void gemv(const struct neon_format *f, const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x,
                      const int nx, float *out, size_t out_stride)
{
    for (int32_t c = 0; c < n_cols; c += 4) {
        const uint8_t *row[4];
        row_pointers(w, row_bytes, c, n_cols, 4, row);
        gemv_quad(f, row, x, nx, out + c, out_stride, n_cols - c < 4 ? n_cols - c : 4);
    }
}

NEON_INLINE void unpack_panel(const struct neon_format *f, const uint8_t *const row[PANEL_ROWS], int32_t n_blocks,
                              struct panel_block *panel)
{
    const int8x16_t offset = vdupq_n_s8(f->offset);
    for (int quad = 0; quad < PANEL_ROWS / 4; quad++) {
        struct super_scales scales;
        for (int32_t b = 0; b < n_blocks; b++) {
            struct weight_quad w;
            unpack_quad(f, row + 4 * quad, b, &scales, &w);
            NEON_UNROLL
            for (int half = 0; half < 2; half++) {
                uint32x4_t v[4];
                NEON_UNROLL
                for (int r = 0; r < 4; r++) {
                    v[r] = vreinterpretq_u32_s8(vsubq_s8(w.q[half][r], offset));
                }
                transpose4_neon(v);
                NEON_UNROLL
                for (int j = 0; j < 4; j++) {
                    vst1q_s8(panel[b].q[4 * half + j][4 * quad], vreinterpretq_s8_u32(v[j]));
                }
            }
            vst1q_f32(panel[b].d[0] + 4 * quad, w.d[0]);
            if (f->half_scales) {
                vst1q_f32(panel[b].d[1] + 4 * quad, w.d[1]);
            }
            if (f->has_min) {
                vst1q_f32(panel[b].m + 4 * quad, w.m);
            }
        }
    }
}

NEON_INLINE void gemm(const struct neon_format *f, const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x,
                      int32_t n_rows, float *out, size_t out_stride, struct panel_block *panel)
{
    for (int32_t c = 0; c < n_cols; c += PANEL_ROWS) {
        const uint8_t *row[PANEL_ROWS];
        int32_t n_valid = n_cols - c < PANEL_ROWS ? n_cols - c : PANEL_ROWS;
        row_pointers(w, row_bytes, c, n_cols, PANEL_ROWS, row);
        unpack_panel(f, row, x->k / Q8_BLOCK, panel);
        gemm_rows(f, panel, x, n_rows, out + c, out_stride, n_valid);
    }
}

NEON_INLINE void matmul_quantised(const struct neon_format *f, const void *w, size_t row_bytes, int32_t n_cols,
                                  const struct act_rows *x, int32_t n_rows, float *out, size_t out_stride, void *scratch)
{
    if (n_rows == 1) {
        gemv(f, w, row_bytes, n_cols, x, 1, out, out_stride);
    } else if (n_rows == 2) {
        gemv(f, w, row_bytes, n_cols, x, 2, out, out_stride);
    } else if (n_rows == FEW_ROWS) {
        gemv(f, w, row_bytes, n_cols, x, FEW_ROWS, out, out_stride);
    } else {
        gemm(f, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
    }
}

static void matmul_q4_0_neon(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    matmul_quantised(&neon_q4_0, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q4_1_neon(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    matmul_quantised(&neon_q4_1, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q5_0_neon(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    matmul_quantised(&neon_q5_0, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q5_1_neon(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    matmul_quantised(&neon_q5_1, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q8_0_neon(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    matmul_quantised(&neon_q8_0, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q4_k_neon(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    matmul_quantised(&neon_q4_k, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q5_k_neon(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    matmul_quantised(&neon_q5_k, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q6_k_neon(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    matmul_quantised(&neon_q6_k, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

void neon_matmul_init(struct cpu_kernels *table)
{
    table->matmul[DTYPE_Q4_0] = matmul_q4_0_neon;
    table->matmul[DTYPE_Q4_1] = matmul_q4_1_neon;
    table->matmul[DTYPE_Q5_0] = matmul_q5_0_neon;
    table->matmul[DTYPE_Q5_1] = matmul_q5_1_neon;
    table->matmul[DTYPE_Q8_0] = matmul_q8_0_neon;
    table->matmul[DTYPE_Q4_K] = matmul_q4_k_neon;
    table->matmul[DTYPE_Q5_K] = matmul_q5_k_neon;
    table->matmul[DTYPE_Q6_K] = matmul_q6_k_neon;
    table->weight_rows = PACK_ROWS;
    table->matmul_scratch_bytes = matmul_scratch_bytes_neon;
}
