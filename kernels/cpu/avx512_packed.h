/* Products with packed weights (kernels/README.md) in the AVX-512 tables. SPDX-License-Identifier: MIT
 *
 * A block of sixteen rows is a few loads and masks away, so blocks are multiplied as they are unpacked, in tiles whose
 * accumulators stay in registers for all of K. The rows of a tile are first laid close together: rows far apart are as many
 * streams of bytes, for which the processor stops reading ahead of the weights, and where K is a power of two they share few
 * lines of the first cache. Only where that copy would not fit the second one, a slab is unpacked (avx512_matmul.h). */
#ifndef KERNELS_CPU_AVX512_PACKED_H
#define KERNELS_CPU_AVX512_PACKED_H

#include "kernels/cpu/avx512_matmul.h"
#include "kernels/cpu/pack.h"

/* A table's way with a packed type. Constant after inlining. */
struct packed512 {
    struct matmul512 matmul; /* its tile_rows: with a slab */
    const struct pack_format *format;
    int tile_rows; /* activation rows a tile that unpacks: 12, 8 or 4 */
};

/* Numbers of a unit's blocks. */
struct packed_scales16 {
    __m512 d[PACK_MAX_UNIT], d_second[PACK_MAX_UNIT], minus_m[PACK_MAX_UNIT];
};

X86_INLINE __m512i load_vector(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}

X86_INLINE __m512 load_halves16(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

/* Bits of `from` moved left (right when negative), those under the mask kept. */
X86_INLINE __m512i move_bits(__m512i from, int left, int mask)
{
    __m512i moved = left >= 0 ? _mm512_slli_epi32(from, (unsigned)left) : _mm512_srli_epi32(from, (unsigned)-left);
    return _mm512_and_si512(moved, _mm512_set1_epi8((char)mask));
}

/* Quad g of a block: columns 4g .. 4g + 3 of every row, as the format wants them. */
X86_INLINE __m512i packed_quad(const struct pack_format *p, const struct x86_format *f, const uint8_t *q, int g)
{
    if (p->bits == PACK_8_BITS) {
        __m512i whole = load_vector(q + PACK_VECTOR * g);
        return f->bias == 128 ? _mm512_xor_si512(whole, _mm512_set1_epi8(-128)) : whole;
    }
    __m512i low = move_bits(load_vector(q + PACK_VECTOR * (g % 4)), g < 4 ? 0 : -4, 15);
    if (p->bits == PACK_5_BITS) {
        return _mm512_or_si512(low, move_bits(load_vector(q + PACK_VECTOR * 4), 4 - g, 16));
    }
    if (p->bits == PACK_6_BITS) {
        return _mm512_or_si512(low, move_bits(load_vector(q + PACK_VECTOR * (4 + g / 4)), 4 - 2 * (g % 4), 48));
    }
    return low;
}

/* Byte j of each lane as a number. */
X86_INLINE __m512 byte_to_float16(__m512i v, int j)
{
    return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(v, (unsigned)(8 * j)), _mm512_set1_epi32(255)));
}

/* Three vectors with the twelve bytes of 6-bit scales and minima, then d and dmin. */
X86_INLINE void load_k_scales16(const uint8_t *s, struct packed_scales16 *out)
{
    __m512i a = load_vector(s), b = load_vector(s + PACK_VECTOR), c = load_vector(s + 2 * PACK_VECTOR);
    __m512 d = load_halves16(s + 3 * PACK_VECTOR);
    __m512 minus_dmin = _mm512_xor_ps(load_halves16(s + 3 * PACK_VECTOR + 32), _mm512_set1_ps(-0.0f));
    __m512i scale[2] = {move_bits(a, 0, 63), _mm512_or_si512(move_bits(c, 0, 15), move_bits(a, -2, 48))};
    __m512i minimum[2] = {move_bits(b, 0, 63), _mm512_or_si512(move_bits(c, -4, 15), move_bits(b, -2, 48))};
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        out->d[j] = _mm512_mul_ps(d, byte_to_float16(scale[j / 4], j % 4));
        out->minus_m[j] = _mm512_mul_ps(minus_dmin, byte_to_float16(minimum[j / 4], j % 4));
    }
}

/* Four vectors with sixteen signed scales, then d. */
X86_INLINE void load_q6_k_scales16(const uint8_t *s, struct packed_scales16 *out)
{
    __m512 d = load_halves16(s + 4 * PACK_VECTOR);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        __m512i lanes = _mm512_slli_epi32(load_vector(s + PACK_VECTOR * (i / 4)), (unsigned)(24 - 8 * (i % 4)));
        *(i % 2 ? &out->d_second[i / 2] : &out->d[i / 2]) = _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_srai_epi32(lanes, 24)));
    }
}

X86_INLINE void load_scales16(const struct pack_format *p, const struct x86_format *f, const uint8_t *s,
                              struct packed_scales16 *out)
{
    if (p->unit_blocks == 1) {
        out->d[0] = load_halves16(s);
        if (f->has_min) {
            out->minus_m[0] = load_halves16(s + 32);
        }
    } else if (f->has_halves) {
        load_q6_k_scales16(s, out);
    } else {
        load_k_scales16(s, out);
    }
}

/* A block at q with the numbers of block j of its unit. */
X86_INLINE void unpack_block16(const struct pack_format *p, const struct x86_format *f, const uint8_t *q,
                               const struct packed_scales16 *scales, int j, struct rows16 *out)
{
    out->d = scales->d[j];
    if (f->has_min) {
        out->minus_m = scales->minus_m[j];
    }
    if (f->has_halves) {
        out->d_second = scales->d_second[j];
    }
#pragma GCC unroll 8
    for (int g = 0; g < X86_QUADS; g++) {
        out->q[g] = packed_quad(p, f, q, g);
    }
}

/* n_x activation rows from r on, block by block: the quants of all rows, then d, sum and (has_halves) the sums of the first
 * halves of all rows. */
X86_INLINE void lay_dense(const struct act_rows *x, int32_t r, int n_x, int has_halves, uint8_t *dense)
{
    struct x_block from = x_block_of(x, r);
    for (size_t b = 0; b < from.n_blocks; b++, dense += n_x * DENSE_ROW_BYTES) {
        float *d = (float *)(void *)(dense + n_x * Q8_BLOCK);
        for (int c = 0; c < n_x; c++) {
            const int8_t *q = from.q + (size_t)c * from.k + b * Q8_BLOCK;
            memcpy(dense + c * Q8_BLOCK, q, Q8_BLOCK);
            d[c] = from.d[(size_t)c * from.n_blocks + b];
            d[n_x + c] = from.sum[(size_t)c * from.n_blocks + b];
            if (has_halves) {
                d[2 * n_x + c] = (float)_mm_cvtsi128_si32(sum_first_half(q));
            }
        }
    }
}

/* Sixteen outputs of each of n_x rows, which lie dense. */
X86_INLINE void packed_tile(const struct packed512 *m, int n_x, const uint8_t *q, const uint8_t *dense, size_t n_blocks,
                            float *out, size_t out_stride)
{
    const struct pack_format *p = m->format;
    const struct x86_format *f = m->matmul.format;
    __m512 acc[MAX_TILE_ROWS];
#pragma GCC unroll 16
    for (int c = 0; c < n_x; c++) {
        acc[c] = _mm512_setzero_ps();
    }
    for (size_t b = 0; b < n_blocks; b += (size_t)p->unit_blocks, q += p->scale_bytes) {
        struct packed_scales16 scales;
        load_scales16(p, f, q + p->unit_blocks * p->q_bytes, &scales);
#pragma GCC unroll 1
        for (int j = 0; j < p->unit_blocks; j++, q += p->q_bytes, dense += n_x * DENSE_ROW_BYTES) {
            const float *d = (const float *)(const void *)(dense + n_x * Q8_BLOCK);
            struct x_block x = {(const int8_t *)dense, d, d + n_x, Q8_BLOCK, 1, d + 2 * n_x};
            struct rows16 block;
            if (n_x > 1) {
                prefetch_packed(q, p->q_bytes + (p->unit_blocks == 1 ? p->scale_bytes : 0));
            }
            unpack_block16(p, f, q, &scales, j, &block);
            add_block(&m->matmul, n_x, &block, &x, acc);
        }
    }
#pragma GCC unroll 16
    for (int c = 0; c < n_x; c++) {
        _mm512_storeu_ps(out + (size_t)c * out_stride, acc[c]);
    }
}

X86_INLINE void unpack_panel16(const struct packed512 *m, const uint8_t *q, int32_t n_blocks, struct rows16 *out)
{
    const struct pack_format *p = m->format;
    for (int32_t b = 0; b < n_blocks; b += p->unit_blocks, q += p->scale_bytes) {
        struct packed_scales16 scales;
        load_scales16(p, m->matmul.format, q + p->unit_blocks * p->q_bytes, &scales);
#pragma GCC unroll 1
        for (int j = 0; j < p->unit_blocks; j++, q += p->q_bytes, out++) {
            prefetch_packed(q, p->q_bytes + (p->unit_blocks == 1 ? p->scale_bytes : 0));
            unpack_block16(p, m->matmul.format, q, &scales, j, out);
        }
    }
}

/* How many of n rows the next tile takes: as few tiles as there can be, and none of one or two rows where it can be avoided. */
X86_INLINE int packed_rows(const struct packed512 *m, int32_t n)
{
    static const int8_t up_to_4[] = {0, 1, 2, 3, 4, 3, 3, 4}, up_to_8[] = {0, 1, 2, 3, 4, 5, 6, 4, 8, 5, 6, 6, 8, 8, 8, 8},
                        up_to_12[] = {0, 1, 2, 3, 4, 5, 6, 4, 8, 5, 6, 6, 12, 8, 8, 12, 8, 12, 12, 8, 12, 12, 12, 12};
    const int8_t *table = m->tile_rows == 12 ? up_to_12 : m->tile_rows == 8 ? up_to_8 : up_to_4;
    return n < 2 * m->tile_rows ? table[n] : m->tile_rows;
}

X86_INLINE void any_packed_tile(const struct packed512 *m, int n_x, const uint8_t *panel, const uint8_t *dense, size_t n_blocks,
                                float *out, size_t out_stride)
{
    if (m->tile_rows == 12 && n_x == 12) {
        packed_tile(m, 12, panel, dense, n_blocks, out, out_stride);
    } else if (m->tile_rows >= 8 && n_x == 8) {
        packed_tile(m, 8, panel, dense, n_blocks, out, out_stride);
    } else if (m->tile_rows >= 8 && n_x == 6) {
        packed_tile(m, 6, panel, dense, n_blocks, out, out_stride);
    } else if (m->tile_rows >= 8 && n_x == 5) {
        packed_tile(m, 5, panel, dense, n_blocks, out, out_stride);
    } else if (n_x == 4) {
        packed_tile(m, 4, panel, dense, n_blocks, out, out_stride);
    } else if (n_x == 3) {
        packed_tile(m, 3, panel, dense, n_blocks, out, out_stride);
    } else if (n_x == 2) {
        packed_tile(m, 2, panel, dense, n_blocks, out, out_stride);
    } else {
        packed_tile(m, 1, panel, dense, n_blocks, out, out_stride);
    }
}

/* Columns [0, n_cols) from a slab. */
X86_INLINE void packed_slabs(const struct packed512 *m, const uint8_t *w, size_t row_bytes, int32_t n_cols,
                             const struct act_rows *x, int32_t n_rows, float *out, size_t out_stride, struct rows16 *slab)
{
    int32_t n_blocks = x->k / Q8_BLOCK, group = slab_panels(x->k) * PACK_ROWS;
    for (int32_t c0 = 0; c0 < n_cols; c0 += group) {
        int32_t c_end = n_cols - c0 < group ? n_cols : c0 + group;
        struct rows16 *panel = slab;
        for (int32_t c = c0; c < c_end; c += PACK_ROWS, panel += n_blocks) {
            unpack_panel16(m, w + (size_t)c * row_bytes, n_blocks, panel);
        }
        for (int32_t r = 0, n_x; r < n_rows; r += n_x) {
            n_x = tile_for(&m->matmul, n_rows - r);
            panel = slab;
            for (int32_t c = c0; c < c_end; c += PACK_ROWS, panel += n_blocks) {
                float *low = out + (size_t)r * out_stride + c, *const to[PANEL_VECTORS] = {low, low + X86_LANES};
                any_panel_tile(&m->matmul, n_x, panel, x_block_of(x, r), to, out_stride);
            }
        }
    }
}

/* At most DENSE_ROWS rows from r0 on. Panels that the cache holds meet all of them before the next ones. */
X86_INLINE void packed_rows_of(const struct packed512 *m, const uint8_t *w, size_t row_bytes, int32_t n_cols,
                               const struct act_rows *x, int32_t r0, int32_t r_end, float *out, size_t out_stride,
                               uint8_t *scratch)
{
    size_t n_blocks = (size_t)(x->k / Q8_BLOCK), dense_row = n_blocks * DENSE_ROW_BYTES;
    int32_t group = packed_group(row_bytes);
    for (int32_t r = r0, n_x; r < r_end; r += n_x) {
        n_x = packed_rows(m, r_end - r);
        lay_dense(x, r, n_x, m->matmul.format->has_halves, scratch + (size_t)(r - r0) * dense_row);
    }
    for (int32_t c0 = 0; c0 < n_cols; c0 += group) {
        int32_t c_end = n_cols - c0 < group ? n_cols : c0 + group;
        for (int32_t r = r0, n_x; r < r_end; r += n_x) {
            n_x = packed_rows(m, r_end - r);
            for (int32_t c = c0; c < c_end; c += PACK_ROWS) {
                any_packed_tile(m, n_x, w + (size_t)c * row_bytes, scratch + (size_t)(r - r0) * dense_row, n_blocks,
                                out + (size_t)r * out_stride + c, out_stride);
            }
        }
    }
}

/* n_cols: a multiple of PACK_ROWS. */
X86_INLINE void packed512(const struct packed512 *m, const uint8_t *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x,
                          int32_t n_rows, float *out, size_t out_stride, void *scratch)
{
    if (n_rows > DENSE_ROWS && x->k > DENSE_COLUMNS) {
        packed_slabs(m, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
        return;
    }
    for (int32_t r = 0; r < n_rows; r += DENSE_ROWS) {
        int32_t r_end = n_rows - r < DENSE_ROWS ? n_rows : r + DENSE_ROWS;
        packed_rows_of(m, w, row_bytes, n_cols, x, r, r_end, out, out_stride, scratch);
    }
}

#endif
