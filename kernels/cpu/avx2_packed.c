/* Products with packed weights (kernels/README.md) with AVX2: lanes 0 .. 7 and 8 .. 15 of a vector are two registers.
 * SPDX-License-Identifier: MIT
 *
 * Few activation rows, or weights that take few instructions to unpack: blocks are multiplied as they are unpacked, in tiles of
 * up to three rows. Else: a slab of panels is unpacked once into scratch, as in avx2_matmul.c. */
#include "kernels/cpu/avx2.h"
#include "kernels/cpu/avx2_tile.h"
#include "kernels/cpu/pack.h"

enum { SLAB_FROM = 4 * TILE_ROWS /* activation rows from which unpacking again for each tile costs more */ };

/* Numbers of a unit's blocks, eight rows each. */
struct packed_scales {
    __m256 d[PACK_MAX_UNIT][PANEL_VECTORS], d_second[PACK_MAX_UNIT][PANEL_VECTORS], minus_m[PACK_MAX_UNIT][PANEL_VECTORS];
};

/* Half v of the vector at p. */
X86_INLINE __m256i load_half_vector(const uint8_t *p, int v)
{
    return _mm256_loadu_si256((const __m256i *)(p + PACK_VECTOR / PANEL_VECTORS * v));
}

/* Numbers 8v .. of the halves at p. */
X86_INLINE __m256 load_halves8(const uint8_t *p, int v)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 16 * v)));
}

/* Bits of `from` moved left (right when negative), those under the mask kept. */
X86_INLINE __m256i move_bits(__m256i from, int left, int mask)
{
    __m256i moved = left >= 0 ? _mm256_slli_epi32(from, left) : _mm256_srli_epi32(from, -left);
    return _mm256_and_si256(moved, _mm256_set1_epi8((char)mask));
}

/* Quad g of a block, half v: columns 4g .. 4g + 3 of eight rows, as the format wants them. */
X86_INLINE __m256i packed_quad(const struct pack_format *p, const uint8_t *q, int g, int v)
{
    if (p->bits == PACK_8_BITS) {
        return load_half_vector(q + PACK_VECTOR * g, v);
    }
    __m256i low = move_bits(load_half_vector(q + PACK_VECTOR * (g % 4), v), g < 4 ? 0 : -4, 15);
    if (p->bits == PACK_5_BITS) {
        return _mm256_or_si256(low, move_bits(load_half_vector(q + PACK_VECTOR * 4, v), 4 - g, 16));
    }
    if (p->bits == PACK_6_BITS) {
        return _mm256_or_si256(low, move_bits(load_half_vector(q + PACK_VECTOR * (4 + g / 4), v), 4 - 2 * (g % 4), 48));
    }
    return low;
}

/* Three vectors with the twelve bytes of 6-bit scales and minima, then d and dmin. */
X86_INLINE void load_k_scales(const uint8_t *s, int v, struct packed_scales *out)
{
    __m256i a = load_half_vector(s, v), b = load_half_vector(s + PACK_VECTOR, v), c = load_half_vector(s + 2 * PACK_VECTOR, v);
    __m256 d = load_halves8(s + 3 * PACK_VECTOR, v);
    __m256 minus_dmin = _mm256_xor_ps(load_halves8(s + 3 * PACK_VECTOR + 32, v), _mm256_set1_ps(-0.0f));
    __m256i scale[2] = {move_bits(a, 0, 63), _mm256_or_si256(move_bits(c, 0, 15), move_bits(a, -2, 48))};
    __m256i minimum[2] = {move_bits(b, 0, 63), _mm256_or_si256(move_bits(c, -4, 15), move_bits(b, -2, 48))};
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        out->d[j][v] = _mm256_mul_ps(d, byte_to_float(scale[j / 4], j % 4));
        out->minus_m[j][v] = _mm256_mul_ps(minus_dmin, byte_to_float(minimum[j / 4], j % 4));
    }
}

/* Four vectors with sixteen signed scales, then d. */
X86_INLINE void load_q6_k_scales(const uint8_t *s, int v, struct packed_scales *out)
{
    __m256 d = load_halves8(s + 4 * PACK_VECTOR, v);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        __m256i lanes = _mm256_slli_epi32(load_half_vector(s + PACK_VECTOR * (i / 4), v), 24 - 8 * (i % 4));
        __m256 *to = i % 2 ? &out->d_second[i / 2][v] : &out->d[i / 2][v];
        *to = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_srai_epi32(lanes, 24)));
    }
}

X86_INLINE void load_scales(const struct pack_format *p, const struct x86_format *f, const uint8_t *s, struct packed_scales *out)
{
#pragma GCC unroll 2
    for (int v = 0; v < PANEL_VECTORS; v++) {
        if (p->unit_blocks == 1) {
            out->d[0][v] = load_halves8(s, v);
            if (f->has_min) {
                out->minus_m[0][v] = load_halves8(s + 32, v);
            }
        } else if (f->has_halves) {
            load_q6_k_scales(s, v, out);
        } else {
            load_k_scales(s, v, out);
        }
    }
}

/* A block at q with the numbers of block j of its unit. */
X86_INLINE void unpack_block(const struct x86_format *f, const struct pack_format *p, const uint8_t *q,
                             const struct packed_scales *scales, int j, struct panel_block *out)
{
#pragma GCC unroll 16
    for (int i = 0; i < X86_QUADS * PANEL_VECTORS; i++) {
        out->q[i] = packed_quad(p, q, i / PANEL_VECTORS, i % PANEL_VECTORS);
    }
#pragma GCC unroll 2
    for (int v = 0; v < PANEL_VECTORS; v++) {
        out->d[v] = scales->d[j][v];
        if (f->has_min) {
            out->minus_m[v] = scales->minus_m[j][v];
        }
        if (f->has_halves) {
            out->d_second[v] = scales->d_second[j][v];
        }
    }
}

/* Sixteen outputs of each of n_x rows. */
X86_INLINE void packed_tile(const struct x86_format *f, const struct pack_format *p, int n_x, const uint8_t *q, struct x_block x,
                            float *out, size_t out_stride)
{
    __m256 acc[TILE_ROWS * PANEL_VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < n_x * PANEL_VECTORS; i++) {
        acc[i] = _mm256_setzero_ps();
    }
    for (size_t b = 0; b < x.n_blocks; b += (size_t)p->unit_blocks, q += p->scale_bytes) {
        struct packed_scales scales;
        load_scales(p, f, q + p->unit_blocks * p->q_bytes, &scales);
#pragma GCC unroll 1
        for (int j = 0; j < p->unit_blocks; j++, q += p->q_bytes) {
            struct panel_block block;
            if (n_x > 1) {
                prefetch_packed(q, p->q_bytes + (p->unit_blocks == 1 ? p->scale_bytes : 0));
            }
            unpack_block(f, p, q, &scales, j, &block);
            add_block(f, PANEL_VECTORS, n_x, block.q, block.d, block.d_second, block.minus_m, &x, acc);
            next_block(&x);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < n_x * PANEL_VECTORS; i++) {
        _mm256_storeu_ps(out + (size_t)(i / PANEL_VECTORS) * out_stride + i % PANEL_VECTORS * X86_LANES, acc[i]);
    }
}

X86_INLINE void unpack_panel(const struct x86_format *f, const struct pack_format *p, const uint8_t *q, int32_t n_blocks,
                             struct panel_block *out)
{
    for (int32_t b = 0; b < n_blocks; b += p->unit_blocks, q += p->scale_bytes) {
        struct packed_scales scales;
        load_scales(p, f, q + p->unit_blocks * p->q_bytes, &scales);
#pragma GCC unroll 1
        for (int j = 0; j < p->unit_blocks; j++, q += p->q_bytes, out++) {
            prefetch_packed(q, p->q_bytes + (p->unit_blocks == 1 ? p->scale_bytes : 0));
            unpack_block(f, p, q, &scales, j, out);
        }
    }
}

/* A tile of n_x rows with a panel, from the slab when there is one. */
X86_INLINE void tile(const struct x86_format *f, const struct pack_format *p, int n_x, const uint8_t *q,
                     const struct panel_block *unpacked, struct x_block x, float *out, size_t out_stride)
{
    float *const to[PANEL_VECTORS] = {out, out + X86_LANES};
    if (unpacked) {
        panel_tile(f, n_x, unpacked, x, to, out_stride);
    } else {
        packed_tile(f, p, n_x, q, x, out, out_stride);
    }
}

/* n_cols: a multiple of PACK_ROWS. Panels that the cache holds meet all rows before the next ones. */
X86_INLINE void packed(const struct x86_format *f, const struct pack_format *p, const void *w, size_t row_bytes, int32_t n_cols,
                       const struct act_rows *x, int32_t n_rows, float *out, size_t out_stride, struct panel_block *scratch)
{
    int32_t n_blocks = x->k / Q8_BLOCK;
    int use_slab = n_rows > SLAB_FROM && (p->bits == PACK_5_BITS || p->bits == PACK_6_BITS || p->unit_blocks > 1);
    int32_t group = use_slab ? slab_panels(x->k) * PACK_ROWS : packed_group(row_bytes);
    for (int32_t c0 = 0; c0 < n_cols; c0 += group) {
        int32_t c_end = n_cols - c0 < group ? n_cols : c0 + group;
        struct panel_block *slab = scratch;
        for (int32_t c = c0; use_slab && c < c_end; c += PACK_ROWS, slab += n_blocks) {
            unpack_panel(f, p, (const uint8_t *)w + (size_t)c * row_bytes, n_blocks, slab);
        }
        for (int32_t r = 0, n_x; r < n_rows; r += n_x) {
            int32_t left = n_rows - r;
            n_x = left == 4 ? 2 : left < TILE_ROWS ? left : TILE_ROWS;
            struct x_block rows = x_block_of(x, r);
            slab = use_slab ? scratch : NULL;
            for (int32_t c = c0; c < c_end; c += PACK_ROWS, slab = slab ? slab + n_blocks : NULL) {
                const uint8_t *panel = (const uint8_t *)w + (size_t)c * row_bytes;
                float *to = out + (size_t)r * out_stride + c;
                if (n_x == 3) {
                    tile(f, p, 3, panel, slab, rows, to, out_stride);
                } else if (n_x == 2) {
                    tile(f, p, 2, panel, slab, rows, to, out_stride);
                } else {
                    tile(f, p, 1, panel, slab, rows, to, out_stride);
                }
            }
        }
    }
}

static void packed_q4_0_avx2(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    packed(&x86_q4_0, &pack_q4_0, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q4_1_avx2(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    packed(&x86_q4_1, &pack_q4_1, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q5_0_avx2(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    packed(&x86_q5_0, &pack_q5_0, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q5_1_avx2(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    packed(&x86_q5_1, &pack_q5_1, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q8_0_avx2(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    packed(&x86_q8_0, &pack_q8_0, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q4_k_avx2(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    packed(&x86_q4_k, &pack_q4_k, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q5_k_avx2(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    packed(&x86_q5_k, &pack_q5_k, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q6_k_avx2(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    packed(&x86_q6_k, &pack_q6_k, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

void packed_set_avx2(struct cpu_kernels *table)
{
    table->packed[DTYPE_Q4_0] = packed_q4_0_avx2;
    table->packed[DTYPE_Q4_1] = packed_q4_1_avx2;
    table->packed[DTYPE_Q5_0] = packed_q5_0_avx2;
    table->packed[DTYPE_Q5_1] = packed_q5_1_avx2;
    table->packed[DTYPE_Q8_0] = packed_q8_0_avx2;
    table->packed[DTYPE_Q4_K] = packed_q4_k_avx2;
    table->packed[DTYPE_Q5_K] = packed_q5_k_avx2;
    table->packed[DTYPE_Q6_K] = packed_q6_k_avx2;
}
