/* The contract's steps of a block with AVX2, for weights from the file and packed ones. SPDX-License-Identifier: MIT */
#ifndef KERNELS_CPU_AVX2_TILE_H
#define KERNELS_CPU_AVX2_TILE_H

#include "kernels/cpu/x86_panel.h"

enum { TILE_ROWS = 3 /* activation rows a tile */ };

/* One block of 16 weight rows. */
struct panel_block {
    __m256i q[X86_QUADS * PANEL_VECTORS];
    __m256 d[PANEL_VECTORS];
    __m256 minus_m[PANEL_VECTORS];
    __m256 d_second[PANEL_VECTORS]; /* scale of the second half */
};
_Static_assert(sizeof(struct panel_block) == PANEL_BLOCK_BYTES, "slab_bytes counts them");

X86_INLINE __m256i broadcast_quad(const int8_t *p)
{
    return _mm256_set1_epi32(load_i32((const uint8_t *)p));
}

/* int16 sums of pairs; exact as |w| <= 128 and |x| <= 127. */
X86_INLINE __m256i multiply_quad(const struct x86_format *f, __m256i w, __m256i x)
{
    return f->is_signed ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)) : _mm256_maddubs_epi16(w, x);
}

/* isum[c * nv + v] = exact sums of quads [first, first + n) of nv vectors of weight rows with n_x activation rows. */
X86_INLINE void sum_quads(const struct x86_format *f, int nv, int n_x, const __m256i *w, int first, int n,
                          const struct x_block *x, __m256i *isum)
{
    const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 8
    for (int g0 = first; g0 < first + n; g0 += f->depth) {
        __m256i pairs[TILE_ROWS * PANEL_VECTORS];
        int end = g0 + (f->depth < n ? f->depth : n);
#pragma GCC unroll 8
        for (int g = g0; g < end; g++) {
#pragma GCC unroll 4
            for (int c = 0; c < n_x; c++) {
                __m256i quad = broadcast_quad(x->q + (size_t)c * x->k + 4 * g);
#pragma GCC unroll 2
                for (int v = 0; v < nv; v++) {
                    __m256i product = multiply_quad(f, w[g * nv + v], quad);
                    pairs[c * nv + v] = g == g0 ? product : _mm256_add_epi16(pairs[c * nv + v], product);
                }
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < n_x * nv; i++) {
            __m256i sum = _mm256_madd_epi16(pairs[i], ones);
            isum[i] = g0 == first ? sum : _mm256_add_epi32(isum[i], sum);
        }
    }
}

/* acc = fma(fl(d * dx), isum of quads [first, first + n), acc); bias_sum[c]: sum of those activations, for the formats with a
 * bias. */
X86_INLINE void add_products(const struct x86_format *f, int nv, int n_x, const __m256i *w, const __m256 *d, int first, int n,
                             const struct x_block *x, const __m256 *bias_sum, __m256 *acc)
{
    __m256i isum[TILE_ROWS * PANEL_VECTORS];
    sum_quads(f, nv, n_x, w, first, n, x, isum);
#pragma GCC unroll 4
    for (int c = 0; c < n_x; c++) {
        __m256 dx = _mm256_broadcast_ss(x->d + (size_t)c * x->n_blocks);
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) {
            __m256 sum = _mm256_cvtepi32_ps(isum[c * nv + v]);
            if (f->bias != 0) { /* integers below 2^24: exact */
                sum = _mm256_fmadd_ps(_mm256_set1_ps(-f->bias), bias_sum[c], sum);
            }
            acc[c * nv + v] = _mm256_fmadd_ps(_mm256_mul_ps(d[v], dx), sum, acc[c * nv + v]);
        }
    }
}

/* The contract's steps of one block. w: [X86_QUADS][nv]; d, d_second, minus_m: [nv]; acc: [n_x][nv]. */
X86_INLINE void add_block(const struct x86_format *f, int nv, int n_x, const __m256i *w, const __m256 *d, const __m256 *d_second,
                          const __m256 *minus_m, const struct x_block *x, __m256 *acc)
{
    __m256 sum[TILE_ROWS], first[TILE_ROWS], second[TILE_ROWS];
#pragma GCC unroll 4
    for (int c = 0; c < n_x; c++) {
        sum[c] = _mm256_broadcast_ss(x->sum + (size_t)c * x->n_blocks);
        first[c] = sum[c];
        if (f->has_halves) {
            first[c] = _mm256_cvtepi32_ps(_mm256_broadcastd_epi32(sum_first_half(x->q + (size_t)c * x->k)));
        }
        second[c] = f->has_halves ? _mm256_sub_ps(sum[c], first[c]) : sum[c];
    }
    if (f->has_halves) {
        add_products(f, nv, n_x, w, d, 0, X86_QUADS / 2, x, first, acc);
        add_products(f, nv, n_x, w, d_second, X86_QUADS / 2, X86_QUADS / 2, x, second, acc);
    } else {
        add_products(f, nv, n_x, w, d, 0, X86_QUADS, x, sum, acc);
    }
    if (f->has_min) {
#pragma GCC unroll 4
        for (int c = 0; c < n_x; c++) {
            __m256 dx = _mm256_broadcast_ss(x->d + (size_t)c * x->n_blocks);
#pragma GCC unroll 2
            for (int v = 0; v < nv; v++) {
                acc[c * nv + v] = _mm256_fmadd_ps(_mm256_mul_ps(minus_m[v], dx), sum[c], acc[c * nv + v]);
            }
        }
    }
}

/* One panel with n_x activation rows; out[v]: first output of vector v. */
X86_INLINE void panel_tile(const struct x86_format *f, int n_x, const struct panel_block *panel, struct x_block x,
                           float *const *out, size_t out_stride)
{
    __m256 acc[TILE_ROWS * PANEL_VECTORS];
    for (int i = 0; i < n_x * PANEL_VECTORS; i++) {
        acc[i] = _mm256_setzero_ps();
    }
    size_t n_blocks = x.n_blocks;
    for (size_t b = 0; b < n_blocks; b++) {
        add_block(f, PANEL_VECTORS, n_x, panel[b].q, panel[b].d, panel[b].d_second, panel[b].minus_m, &x, acc);
        next_block(&x);
    }
    for (int c = 0; c < n_x; c++) {
        for (int v = 0; v < PANEL_VECTORS; v++) {
            _mm256_storeu_ps(out[v] + (size_t)c * out_stride, acc[c * PANEL_VECTORS + v]);
        }
    }
}

#endif
