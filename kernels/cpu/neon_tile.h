/* A panel of eight unpacked weight rows, and its product with rows of activations. SPDX-License-Identifier: MIT */
#ifndef KERNELS_CPU_NEON_TILE_H
#define KERNELS_CPU_NEON_TILE_H

#include <string.h>

#include "kernels/cpu/neon_unpack.h"
#include "kernels/cpu/pack.h"

enum {
    PANEL_ROWS = 8,         /* weight rows a panel */
    TILE_ROWS = 4,          /* rows of activations that share a loaded panel vector */
    MAGIC_BITS = 0x4b400000 /* 1.5 * 2^23 as f32: n + MAGIC_BITS read as f32, minus it, is (float)n exactly for |n| < 2^22 */
};

/* A block of 32 columns of eight weight rows. */
struct panel_block {
    int8_t q[8][PANEL_ROWS][4]; /* [column / 4][row][column % 4] */
    float d[2][PANEL_ROWS];     /* [half]; only [0] when a scale covers the block */
    float m[PANEL_ROWS];        /* only where the type has a minimum */
};

/* (float) of sums that started at MAGIC_BITS: the convert instruction has a quarter of the subtraction's rate on Cortex-A78. */
NEON_INLINE float32x4_t magic_to_float(int32x4_t sum)
{
    return vsubq_f32(vreinterpretq_f32_s32(sum), vreinterpretq_f32_s32(vdupq_n_s32(MAGIC_BITS)));
}

/* vdotq_laneq_s32 with a lane that is constant only once the caller's loop is unrolled. */
NEON_INLINE int32x4_t dot_lane(int32x4_t sum, int8x16_t w, int8x16_t x, int lane)
{
    switch (lane) {
    case 0: return vdotq_laneq_s32(sum, w, x, 0);
    case 1: return vdotq_laneq_s32(sum, w, x, 1);
    case 2: return vdotq_laneq_s32(sum, w, x, 2);
    default: return vdotq_laneq_s32(sum, w, x, 3);
    }
}

/* nx rows of activations, from row `first` on, times the panel; writes n_valid outputs a row. */
NEON_INLINE void gemm_tile(const struct neon_format *f, const struct panel_block *panel, const struct act_rows *x, int32_t first,
                           const int nx, float *out, size_t out_stride, int32_t n_valid)
{
    const int32_t k = x->k, n_blocks = k / Q8_BLOCK;
    const int8_t *q = x->q + (size_t)first * (size_t)k;
    const float *d = x->d + (size_t)first * (size_t)n_blocks;
    const float *sum = x->sum + (size_t)first * (size_t)n_blocks;
    float32x4_t acc[TILE_ROWS][2];
    int32x4_t isum[TILE_ROWS][2];
    NEON_UNROLL
    for (int i = 0; i < nx; i++) {
        acc[i][0] = acc[i][1] = vdupq_n_f32(0);
    }
    for (int32_t b = 0; b < n_blocks; b++, panel++) {
        NEON_UNROLL
        for (int half = 0; half < 2; half++) {
            int8x16_t xq[TILE_ROWS];
            NEON_UNROLL
            for (int i = 0; i < nx; i++) {
                xq[i] = vld1q_s8(q + (size_t)i * (size_t)k + (size_t)b * Q8_BLOCK + 16 * half);
                if (half == 0 || f->half_scales) {
                    isum[i][0] = isum[i][1] = vdupq_n_s32(MAGIC_BITS);
                }
            }
            NEON_UNROLL
            for (int j = 0; j < 4; j++) {
                const int8x16_t w0 = vld1q_s8(panel->q[4 * half + j][0]), w1 = vld1q_s8(panel->q[4 * half + j][4]);
                NEON_UNROLL
                for (int i = 0; i < nx; i++) {
                    isum[i][0] = dot_lane(isum[i][0], w0, xq[i], j);
                    isum[i][1] = dot_lane(isum[i][1], w1, xq[i], j);
                }
            }
            if (half == 0 && !f->half_scales) {
                continue;
            }
            const float *dw = panel->d[f->half_scales ? half : 0];
            const float32x4_t d0 = vld1q_f32(dw), d1 = vld1q_f32(dw + 4);
            NEON_UNROLL
            for (int i = 0; i < nx; i++) {
                const float dx = d[i * n_blocks + b];
                acc[i][0] = vfmaq_f32(acc[i][0], vmulq_n_f32(d0, dx), magic_to_float(isum[i][0]));
                acc[i][1] = vfmaq_f32(acc[i][1], vmulq_n_f32(d1, dx), magic_to_float(isum[i][1]));
            }
        }
        if (f->has_min) {
            const float32x4_t m0 = vld1q_f32(panel->m), m1 = vld1q_f32(panel->m + 4);
            NEON_UNROLL
            for (int i = 0; i < nx; i++) {
                const float dx = d[i * n_blocks + b], sx = sum[i * n_blocks + b];
                acc[i][0] = vfmsq_n_f32(acc[i][0], vmulq_n_f32(m0, dx), sx);
                acc[i][1] = vfmsq_n_f32(acc[i][1], vmulq_n_f32(m1, dx), sx);
            }
        }
    }
    NEON_UNROLL
    for (int i = 0; i < nx; i++) {
        float lanes[PANEL_ROWS];
        vst1q_f32(lanes, acc[i][0]);
        vst1q_f32(lanes + 4, acc[i][1]);
        memcpy(out + (size_t)(first + i) * out_stride, lanes, (size_t)n_valid * sizeof *lanes);
    }
}

/* All rows of activations times the panel. */
NEON_INLINE void gemm_rows(const struct neon_format *f, const struct panel_block *panel, const struct act_rows *x, int32_t n_rows,
                           float *out, size_t out_stride, int32_t n_valid)
{
    int32_t r = 0;
    for (; r + TILE_ROWS <= n_rows; r += TILE_ROWS) {
        gemm_tile(f, panel, x, r, TILE_ROWS, out, out_stride, n_valid);
    }
    if (n_rows - r == 3) {
        gemm_tile(f, panel, x, r, 3, out, out_stride, n_valid);
    } else if (n_rows - r == 2) {
        gemm_tile(f, panel, x, r, 2, out, out_stride, n_valid);
    } else if (n_rows - r == 1) {
        gemm_tile(f, panel, x, r, 1, out, out_stride, n_valid);
    }
}

#endif
