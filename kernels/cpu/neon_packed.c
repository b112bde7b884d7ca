/* Products with packed weights (kernels/README.md) with NEON: a vector of 64 bytes is four registers of four rows each.
 * SPDX-License-Identifier: MIT
 *
 * Few rows of activations: blocks are multiplied as they are unpacked, SDOT by element, all sixteen weight rows of a panel with
 * one or two rows, eight of them with three or four. More: half panels are unpacked into scratch (neon_tile.h). */
#include "kernels/cpu/neon_tile.h"

enum {
    VECTOR_PARTS = 4,         /* registers a vector */
    FEW_ROWS = 2 * TILE_ROWS, /* up to here unpacking again for each tile costs less than scratch */
    FULL_ROWS = 2             /* up to here the accumulators of all sixteen weight rows fit the registers */
};

/* What follows takes n_parts parts of each vector; p points at the first of them in the first vector. */

/* Bits of the bytes moved left (right when negative), those under the mask kept. */
NEON_INLINE uint8x16_t move_bits(const uint8_t *p, int left, uint8_t mask)
{
    return vandq_u8(vshlq_u8(vld1q_u8(p), vdupq_n_s8((int8_t)left)), vdupq_n_u8(mask));
}

/* Columns 4g .. 4g + 3 of four rows, offset not yet subtracted. */
NEON_INLINE int8x16_t packed_quad(const struct pack_format *p, const uint8_t *q, int g)
{
    if (p->bits == PACK_8_BITS) {
        return vreinterpretq_s8_u8(vld1q_u8(q + PACK_VECTOR * g));
    }
    uint8x16_t raw = vld1q_u8(q + PACK_VECTOR * (g % 4));
    uint8x16_t value = g < 4 ? vandq_u8(raw, vdupq_n_u8(15)) : vshrq_n_u8(raw, 4);
    if (p->bits == PACK_5_BITS) {
        value = vorrq_u8(value, move_bits(q + PACK_VECTOR * 4, 4 - g, 16));
    } else if (p->bits == PACK_6_BITS) {
        value = vorrq_u8(value, move_bits(q + PACK_VECTOR * (4 + g / 4), 4 - 2 * (g % 4), 48));
    }
    return vreinterpretq_s8_u8(value);
}

/* Four of sixteen halves; part 0 .. 3. */
NEON_INLINE float32x4_t load_halves4(const uint8_t *p, int part)
{
    return half4_to_float(vld1_u16((const uint16_t *)(const void *)(p + 8 * part)));
}

/* The numbers of a unit for the four rows of a part; s: the unit's scales. Their m is what the contract subtracts. */
NEON_INLINE void load_scales(const struct neon_format *f, const uint8_t *s, int part, struct super_scales *out)
{
    uint32x4_t words[4];
    if (!f->super) {
        out->d[0] = load_halves4(s, part);
        if (f->has_min) {
            out->m[0] = vnegq_f32(load_halves4(s + 32, part));
        }
        return;
    }
    const int n_words = f->half_scales ? 4 : 3;
    NEON_UNROLL
    for (int i = 0; i < n_words; i++) {
        words[i] = vreinterpretq_u32_u8(vld1q_u8(s + PACK_VECTOR * i + 16 * part));
    }
    s += PACK_VECTOR * n_words;
    if (f->half_scales) {
        set_q6_k_scales(words, load_halves4(s, part), out);
    } else {
        set_k_scales(words, load_halves4(s, part), load_halves4(s + 32, part), out);
    }
}

/* What a sum of products begins with: MAGIC_BITS, less the offset times the activations that will be multiplied. */
NEON_INLINE int32x4_t first_sum(const struct neon_format *f, const int8_t *q, float sum)
{
    int32_t start = MAGIC_BITS;
    if (f->half_scales) {
        start -= f->offset * vaddvq_s32(vdotq_s32(vdupq_n_s32(0), vld1q_s8(q), vdupq_n_s8(1)));
    } else if (f->offset) {
        start -= f->offset * (int32_t)sum;
    }
    return vdupq_n_s32(start);
}

/* nx rows of activations, from row `first` on, times n_parts parts of a panel; q: the panel, part: the first of them. */
NEON_INLINE void packed_tile(const struct neon_format *f, const struct pack_format *p, const uint8_t *q, const int part,
                             const int n_parts, const struct act_rows *x, int32_t first, const int nx, float *out,
                             size_t out_stride)
{
    const int32_t k = x->k, n_blocks = k / Q8_BLOCK;
    const int8_t *xq = x->q + (size_t)first * (size_t)k;
    const float *d = x->d + (size_t)first * (size_t)n_blocks, *sum = x->sum + (size_t)first * (size_t)n_blocks;
    struct super_scales scales[VECTOR_PARTS];
    float32x4_t acc[TILE_ROWS][VECTOR_PARTS];
    int32x4_t isum[TILE_ROWS][VECTOR_PARTS];
    NEON_UNROLL
    for (int i = 0; i < nx * n_parts; i++) {
        acc[i / n_parts][i % n_parts] = vdupq_n_f32(0);
    }
    for (int32_t b = 0; b < n_blocks; b++, q += p->q_bytes, xq += Q8_BLOCK) {
        const int in_unit = b % p->unit_blocks;
        q += b && in_unit == 0 ? p->scale_bytes : 0;
        NEON_UNROLL
        for (int v = 0; v < n_parts && in_unit == 0; v++) {
            load_scales(f, q + p->unit_blocks * p->q_bytes, part + v, &scales[v]);
        }
        NEON_UNROLL
        for (int half = 0; half < 2; half++) {
            int8x16_t quads[TILE_ROWS];
            NEON_UNROLL
            for (int i = 0; i < nx; i++) {
                const int8_t *at = xq + (size_t)i * (size_t)k + 16 * half;
                quads[i] = vld1q_s8(at);
                NEON_UNROLL
                for (int v = 0; v < n_parts && (half == 0 || f->half_scales); v++) {
                    isum[i][v] = first_sum(f, at, sum[i * n_blocks + b]);
                }
            }
            NEON_UNROLL
            for (int j = 0; j < 4 * n_parts; j++) {
                const int8x16_t w = packed_quad(p, q + 16 * (part + j % n_parts), 4 * half + j / n_parts);
                NEON_UNROLL
                for (int i = 0; i < nx; i++) {
                    isum[i][j % n_parts] = dot_lane(isum[i][j % n_parts], w, quads[i], j / n_parts);
                }
            }
            NEON_UNROLL
            for (int i = 0; i < nx * n_parts && (half == 1 || f->half_scales); i++) {
                const int r = i / n_parts, v = i % n_parts, s = f->half_scales ? 2 * in_unit + half : in_unit;
                float32x4_t scale = vmulq_n_f32(scales[v].d[s], d[r * n_blocks + b]);
                acc[r][v] = vfmaq_f32(acc[r][v], scale, magic_to_float(isum[r][v]));
            }
        }
        NEON_UNROLL
        for (int i = 0; i < nx * n_parts && f->has_min; i++) {
            const int r = i / n_parts, v = i % n_parts;
            float32x4_t minimum = vmulq_n_f32(scales[v].m[in_unit], d[r * n_blocks + b]);
            acc[r][v] = vfmsq_n_f32(acc[r][v], minimum, sum[r * n_blocks + b]);
        }
    }
    NEON_UNROLL
    for (int i = 0; i < nx * n_parts; i++) {
        vst1q_f32(out + (size_t)(first + i / n_parts) * out_stride + 4 * (part + i % n_parts), acc[i / n_parts][i % n_parts]);
    }
}

/* Few rows times a panel. */
NEON_INLINE void packed_few(const struct neon_format *f, const struct pack_format *p, const uint8_t *panel,
                            const struct act_rows *x, int32_t n_rows, float *out, size_t out_stride)
{
    int32_t r = 0;
    for (; r + 4 <= n_rows; r += 4) {
        packed_tile(f, p, panel, 0, 2, x, r, 4, out, out_stride);
        packed_tile(f, p, panel, 2, 2, x, r, 4, out, out_stride);
    }
    if (n_rows - r == 3) {
        packed_tile(f, p, panel, 0, 2, x, r, 3, out, out_stride);
        packed_tile(f, p, panel, 2, 2, x, r, 3, out, out_stride);
    } else if (n_rows - r == FULL_ROWS) {
        packed_tile(f, p, panel, 0, VECTOR_PARTS, x, r, FULL_ROWS, out, out_stride);
    } else if (n_rows - r == 1) {
        packed_tile(f, p, panel, 0, VECTOR_PARTS, x, r, 1, out, out_stride);
    }
}

/* Rows 8 * half .. of a panel as the tiles of neon_tile.h want them. */
NEON_INLINE void unpack_half(const struct neon_format *f, const struct pack_format *p, const uint8_t *q, int half,
                             int32_t n_blocks, struct panel_block *out)
{
    struct super_scales scales[2];
    for (int32_t b = 0; b < n_blocks; b++, q += p->q_bytes, out++) {
        const int in_unit = b % p->unit_blocks;
        q += b && in_unit == 0 ? p->scale_bytes : 0;
        NEON_UNROLL
        for (int v = 0; v < 2; v++) {
            if (in_unit == 0) {
                load_scales(f, q + p->unit_blocks * p->q_bytes, 2 * half + v, &scales[v]);
            }
            NEON_UNROLL
            for (int g = 0; g < 8; g++) {
                int8x16_t w = packed_quad(p, q + 16 * (2 * half + v), g);
                vst1q_s8(out->q[g][4 * v], vsubq_s8(w, vdupq_n_s8(f->offset)));
            }
            vst1q_f32(out->d[0] + 4 * v, scales[v].d[f->half_scales ? 2 * in_unit : in_unit]);
            if (f->half_scales) {
                vst1q_f32(out->d[1] + 4 * v, scales[v].d[2 * in_unit + 1]);
            }
            if (f->has_min) {
                vst1q_f32(out->m + 4 * v, scales[v].m[in_unit]);
            }
        }
    }
}

NEON_INLINE void packed(const struct neon_format *f, const struct pack_format *p, const uint8_t *w, size_t row_bytes,
                        int32_t n_cols, const struct act_rows *x, int32_t n_rows, float *out, size_t out_stride,
                        struct panel_block *scratch)
{
    for (int32_t c = 0; c < n_cols; c += PACK_ROWS) {
        const uint8_t *panel = w + (size_t)c * row_bytes;
        if (n_rows <= FEW_ROWS) {
            packed_few(f, p, panel, x, n_rows, out + c, out_stride);
            continue;
        }
        for (int half = 0; half < 2; half++) {
            unpack_half(f, p, panel, half, x->k / Q8_BLOCK, scratch);
            gemm_rows(f, scratch, x, n_rows, out + c + PANEL_ROWS * half, out_stride, PANEL_ROWS);
        }
    }
}

static void packed_q4_0_neon(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    packed(&neon_q4_0, &pack_q4_0, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q4_1_neon(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    packed(&neon_q4_1, &pack_q4_1, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q5_0_neon(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    packed(&neon_q5_0, &pack_q5_0, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q5_1_neon(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    packed(&neon_q5_1, &pack_q5_1, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q8_0_neon(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    packed(&neon_q8_0, &pack_q8_0, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q4_k_neon(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    packed(&neon_q4_k, &pack_q4_k, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q5_k_neon(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    packed(&neon_q5_k, &pack_q5_k, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q6_k_neon(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    packed(&neon_q6_k, &pack_q6_k, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

void neon_packed_init(struct cpu_kernels *table)
{
    table->packed[DTYPE_Q4_0] = packed_q4_0_neon;
    table->packed[DTYPE_Q4_1] = packed_q4_1_neon;
    table->packed[DTYPE_Q5_0] = packed_q5_0_neon;
    table->packed[DTYPE_Q5_1] = packed_q5_1_neon;
    table->packed[DTYPE_Q8_0] = packed_q8_0_neon;
    table->packed[DTYPE_Q4_K] = packed_q4_k_neon;
    table->packed[DTYPE_Q5_K] = packed_q5_k_neon;
    table->packed[DTYPE_Q6_K] = packed_q6_k_neon;
}
