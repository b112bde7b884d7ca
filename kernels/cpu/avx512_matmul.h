/* Quantised matmul with AVX-512: sixteen weight rows in the lanes; the two tables differ in the dot product only.
 * SPDX-License-Identifier: MIT
 *
 * Same plan as avx2_matmul.c: up to three activation rows multiply blocks as they are unpacked, more run over unpacked panels in
 * tiles of up to twelve with their accumulators in registers. */
#ifndef KERNELS_CPU_AVX512_MATMUL_H
#define KERNELS_CPU_AVX512_MATMUL_H

#include "kernels/cpu/x86_panel.h"

enum { FEW_ROWS = 3, MAX_TILE_ROWS = 12 };

/* One block of 16 weight rows; fields as in struct rows8. */
struct rows16 {
    __m512i q[X86_QUADS];
    __m512 d;
    __m512 minus_m;
    __m512 d_second;
};
_Static_assert(sizeof(struct rows16) == PANEL_BLOCK_BYTES, "slab_bytes counts them");

/* isum[c] = exact sums of quads [first, first + n) of w with n_x activation rows. */
typedef void (*sum_quads_fn)(const struct x86_format *f, int n_x, const __m512i *w, int first, int n, const struct x_block *x,
                             __m512i *isum);

/* A table's way with one type. Constant after inlining. */
struct matmul512 {
    const struct x86_format *format;
    sum_quads_fn sum_quads;
    int tile_rows; /* activation rows a tile: MAX_TILE_ROWS or 8 */
};

X86_INLINE __m512i broadcast_quad(const int8_t *p)
{
    return _mm512_set1_epi32(load_i32((const uint8_t *)p));
}

X86_INLINE __m512 join_floats(__m256 low, __m256 high)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

/* Unit u of eight rows at each of w[0], w[1]. */
X86_INLINE void unpack16(const struct x86_format *f, const uint8_t *const *w, size_t row_bytes, int64_t u, struct rows16 *out)
{
    struct rows8 low[X86_MAX_UNIT], high[X86_MAX_UNIT];
    f->unpack(w[0], row_bytes, u, low);
    f->unpack(w[1], row_bytes, u, high);
    for (int j = 0; j < f->unit_blocks; j++) {
        for (int g = 0; g < X86_QUADS; g++) {
            out[j].q[g] = _mm512_inserti64x4(_mm512_castsi256_si512(low[j].q[g]), high[j].q[g], 1);
        }
        out[j].d = join_floats(low[j].d[0], high[j].d[0]);
        if (f->has_min) {
            out[j].minus_m = join_floats(low[j].minus_m, high[j].minus_m);
        }
        if (f->has_halves) {
            out[j].d_second = join_floats(low[j].d[1], high[j].d[1]);
        }
    }
}

/* acc = fma(fl(d * dx), isum of quads [first, first + n), acc); bias_sum[c]: sum of those activations, for the formats with a
 * bias. */
X86_INLINE void add_products(const struct matmul512 *m, int n_x, const __m512i *w, __m512 d, int first, int n,
                             const struct x_block *x, const __m512 *bias_sum, __m512 *acc)
{
    __m512i isum[MAX_TILE_ROWS];
    m->sum_quads(m->format, n_x, w, first, n, x, isum);
#pragma GCC unroll 16
    for (int c = 0; c < n_x; c++) {
        __m512 dx = _mm512_set1_ps(x->d[(size_t)c * x->n_blocks]);
        __m512 sum = _mm512_cvtepi32_ps(isum[c]);
        if (m->format->bias != 0) { /* integers below 2^24: exact */
            sum = _mm512_fmadd_ps(_mm512_set1_ps(-m->format->bias), bias_sum[c], sum);
        }
        acc[c] = _mm512_fmadd_ps(_mm512_mul_ps(d, dx), sum, acc[c]);
    }
}

/* The contract's steps of one block. */
X86_INLINE void add_block(const struct matmul512 *m, int n_x, const struct rows16 *w, const struct x_block *x, __m512 *acc)
{
    const struct x86_format *f = m->format;
    __m512 sum[MAX_TILE_ROWS], first[MAX_TILE_ROWS], second[MAX_TILE_ROWS];
#pragma GCC unroll 16
    for (int c = 0; c < n_x; c++) {
        sum[c] = first[c] = _mm512_set1_ps(x->sum[(size_t)c * x->n_blocks]);
        if (f->has_halves) {
            first[c] = x->half_sum ? _mm512_set1_ps(x->half_sum[(size_t)c * x->n_blocks])
                                   : _mm512_cvtepi32_ps(_mm512_broadcastd_epi32(sum_first_half(x->q + (size_t)c * x->k)));
            second[c] = _mm512_sub_ps(sum[c], first[c]);
        }
    }
    if (f->has_halves) {
        add_products(m, n_x, w->q, w->d, 0, X86_QUADS / 2, x, first, acc);
        add_products(m, n_x, w->q, w->d_second, X86_QUADS / 2, X86_QUADS / 2, x, second, acc);
    } else {
        add_products(m, n_x, w->q, w->d, 0, X86_QUADS, x, sum, acc);
    }
    if (f->has_min) {
#pragma GCC unroll 16
        for (int c = 0; c < n_x; c++) {
            __m512 dx = _mm512_set1_ps(x->d[(size_t)c * x->n_blocks]);
            acc[c] = _mm512_fmadd_ps(_mm512_mul_ps(w->minus_m, dx), sum[c], acc[c]);
        }
    }
}

/* Sixteen outputs of each of n_x rows, eight from out[0] and eight from out[1]; n_lanes == 1: one, all lanes are the same. */
X86_INLINE void store_tile(int n_x, const __m512 *acc, float *const *out, size_t out_stride, int n_lanes)
{
#pragma GCC unroll 16
    for (int c = 0; c < n_x; c++) {
        size_t at = (size_t)c * out_stride;
        if (n_lanes == 1) {
            out[0][at] = _mm512_cvtss_f32(acc[c]);
        } else {
            _mm256_storeu_ps(out[0] + at, _mm512_castps512_ps256(acc[c]));
            _mm256_storeu_ps(out[1] + at, _mm512_extractf32x8_ps(acc[c], 1));
        }
    }
}

X86_INLINE void few_rows(const struct matmul512 *m, int n_x, const uint8_t *const *w, size_t row_bytes, struct x_block x,
                         float *const *out, size_t out_stride, int n_lanes)
{
    __m512 acc[FEW_ROWS] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    int64_t n_units = (int64_t)x.n_blocks / m->format->unit_blocks;
    for (int64_t u = 0; u < n_units; u++) {
        struct rows16 block[X86_MAX_UNIT];
        prefetch_unit(m->format, w[0], row_bytes, PANEL_ROWS, u);
        unpack16(m->format, w, row_bytes, u, block);
        for (int j = 0; j < m->format->unit_blocks; j++) {
            add_block(m, n_x, &block[j], &x, acc);
            next_block(&x);
        }
    }
    store_tile(n_x, acc, out, out_stride, n_lanes);
}

/* Matmul without panels; fewer than eight weight rows go one by one, the same row in all lanes. */
X86_INLINE void matmul_few(const struct matmul512 *m, const uint8_t *w, size_t row_bytes, int32_t n_cols,
                           const struct act_rows *x, int32_t n_rows, float *out, size_t out_stride)
{
    int one_by_one = n_cols < X86_LANES;
    size_t lane_bytes = one_by_one ? 0 : row_bytes;
    int n_lanes = one_by_one ? 1 : X86_LANES;
    for (int32_t r = 0; r < n_rows; r += FEW_ROWS) {
        struct x_block tile = x_block_of(x, r);
        for (int32_t c = 0; c < n_cols; c += one_by_one ? 1 : PANEL_ROWS) {
            const uint8_t *rows[PANEL_VECTORS];
            float *to[PANEL_VECTORS];
            for (int v = 0; v < PANEL_VECTORS; v++) {
                int32_t first = one_by_one ? c : vector_first(c, v, n_cols);
                rows[v] = w + (size_t)first * row_bytes;
                to[v] = out + (size_t)r * out_stride + first;
            }
            if (n_rows - r >= 3) {
                few_rows(m, 3, rows, lane_bytes, tile, to, out_stride, n_lanes);
            } else if (n_rows - r == 2) {
                few_rows(m, 2, rows, lane_bytes, tile, to, out_stride, n_lanes);
            } else {
                few_rows(m, 1, rows, lane_bytes, tile, to, out_stride, n_lanes);
            }
        }
    }
}

X86_INLINE void panel_tile(const struct matmul512 *m, int n_x, const struct rows16 *panel, struct x_block x, float *const *out,
                           size_t out_stride)
{
    __m512 acc[MAX_TILE_ROWS];
#pragma GCC unroll 16
    for (int c = 0; c < n_x; c++) {
        acc[c] = _mm512_setzero_ps();
    }
    size_t n_blocks = x.n_blocks;
    for (size_t b = 0; b < n_blocks; b++) {
        add_block(m, n_x, &panel[b], &x, acc);
        next_block(&x);
    }
    store_tile(n_x, acc, out, out_stride, X86_LANES);
}

/* The largest tile that n rows fill; but two tiles of 8 are better than one of 12 and one of 4. */
X86_INLINE int tile_for(const struct matmul512 *m, int32_t n)
{
    return m->tile_rows == 12 && n >= 12 && (n < 16 || n >= 20) ? 12 : n >= 8 ? 8 : n >= 4 ? 4 : n >= 2 ? 2 : 1;
}

X86_INLINE void any_panel_tile(const struct matmul512 *m, int n_x, const struct rows16 *panel, struct x_block x,
                               float *const *out, size_t out_stride)
{
    if (m->tile_rows == 12 && n_x == 12) {
        panel_tile(m, 12, panel, x, out, out_stride);
    } else if (n_x == 8) {
        panel_tile(m, 8, panel, x, out, out_stride);
    } else if (n_x == 4) {
        panel_tile(m, 4, panel, x, out, out_stride);
    } else if (n_x == 2) {
        panel_tile(m, 2, panel, x, out, out_stride);
    } else {
        panel_tile(m, 1, panel, x, out, out_stride);
    }
}

X86_INLINE void matmul_panels(const struct matmul512 *m, const uint8_t *w, size_t row_bytes, int32_t n_cols,
                              const struct act_rows *x, int32_t n_rows, float *out, size_t out_stride, struct rows16 *slab)
{
    int32_t n_blocks = x->k / Q8_BLOCK;
    int32_t slab_rows = slab_panels(x->k) * PANEL_ROWS;
    for (int32_t c0 = 0; c0 < n_cols; c0 += slab_rows) {
        int32_t c_end = c0 + slab_rows < n_cols ? c0 + slab_rows : n_cols;
        struct rows16 *panel = slab;
        for (int32_t c = c0; c < c_end; c += PANEL_ROWS, panel += n_blocks) {
            const uint8_t *rows[PANEL_VECTORS];
            for (int v = 0; v < PANEL_VECTORS; v++) {
                rows[v] = w + (size_t)vector_first(c, v, n_cols) * row_bytes;
            }
            for (int64_t u = 0; u < n_blocks / m->format->unit_blocks; u++) {
                unpack16(m->format, rows, row_bytes, u, panel + u * m->format->unit_blocks);
            }
        }
        for (int32_t r = 0; r < n_rows;) {
            int n_x = tile_for(m, n_rows - r);
            struct x_block tile = x_block_of(x, r);
            panel = slab;
            for (int32_t c = c0; c < c_end; c += PANEL_ROWS, panel += n_blocks) {
                float *to[PANEL_VECTORS];
                for (int v = 0; v < PANEL_VECTORS; v++) {
                    to[v] = out + (size_t)r * out_stride + vector_first(c, v, n_cols);
                }
                any_panel_tile(m, n_x, panel, tile, to, out_stride);
            }
            r += n_x;
        }
    }
}

X86_INLINE void matmul512(const struct matmul512 *m, const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x,
                          int32_t n_rows, float *out, size_t out_stride, void *scratch)
{
    if (n_rows <= FEW_ROWS || n_cols < X86_LANES) {
        matmul_few(m, w, row_bytes, n_cols, x, n_rows, out, out_stride);
    } else {
        matmul_panels(m, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
    }
}

#endif
