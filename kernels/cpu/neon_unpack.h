/* Blocks of 32 weights of four rows at a time, any quantised type, as vectors. SPDX-License-Identifier: MIT
 *
 * Layouts: kernels/weight_block.c, which defines every value here. */
#ifndef KERNELS_CPU_NEON_UNPACK_H
#define KERNELS_CPU_NEON_UNPACK_H

#include <string.h>

#include "kernels/cpu/neon_common.h"

/* A type as the loops see it; always a constant, so that they fold it away. */
struct neon_format {
    enum dtype type;
    int has_min;
    int half_scales; /* 1: a scale covers 16 weights */
    int super;       /* 1: blocks come eight to a super-block with common scales */
    int8_t offset;   /* q = unpacked value - offset; the unpacked value fits int8 */
    int bytes;       /* of a block, or of a super-block */
};

static const struct neon_format neon_q4_0 = {.type = DTYPE_Q4_0, .offset = 8, .bytes = 18};
static const struct neon_format neon_q4_1 = {.type = DTYPE_Q4_1, .has_min = 1, .bytes = 20};
static const struct neon_format neon_q5_0 = {.type = DTYPE_Q5_0, .offset = 16, .bytes = 22};
static const struct neon_format neon_q5_1 = {.type = DTYPE_Q5_1, .has_min = 1, .bytes = 24};
static const struct neon_format neon_q8_0 = {.type = DTYPE_Q8_0, .bytes = 34};
static const struct neon_format neon_q4_k = {.type = DTYPE_Q4_K, .has_min = 1, .super = 1, .bytes = 144};
static const struct neon_format neon_q5_k = {.type = DTYPE_Q5_K, .has_min = 1, .super = 1, .bytes = 176};
static const struct neon_format neon_q6_k = {.type = DTYPE_Q6_K, .half_scales = 1, .super = 1, .offset = 32, .bytes = 210};

/* Four rows of one block. Element r of d and m belongs to row r. */
struct weight_quad {
    int8x16_t q[2][4]; /* [half of the block][row], offset not yet subtracted */
    float32x4_t d[2];  /* [half]; equal unless the type has half_scales */
    float32x4_t m;     /* only where the type has a minimum */
};

/* Scales of the eight blocks of a super-block, four rows. */
struct super_scales {
    float32x4_t d[16]; /* [2 * block + half] in Q6_K, else [block] */
    float32x4_t m[8];
};

/* The half at `offset` of four rows' blocks. */
NEON_INLINE float32x4_t load_halves(const uint8_t *const block[4], int offset)
{
    uint16x4_t h = vdup_n_u16(0);
    h = vld1_lane_u16((const uint16_t *)(const void *)(block[0] + offset), h, 0);
    h = vld1_lane_u16((const uint16_t *)(const void *)(block[1] + offset), h, 1);
    h = vld1_lane_u16((const uint16_t *)(const void *)(block[2] + offset), h, 2);
    h = vld1_lane_u16((const uint16_t *)(const void *)(block[3] + offset), h, 3);
    return half4_to_float(h);
}

/* out[i] = byte i of every row's word, as f32, times scale. */
NEON_INLINE void scale_bytes(uint32x4_t words, float32x4_t scale, float32x4_t out[4])
{
    uint32x4_t low = vdupq_n_u32(255);
    out[0] = vmulq_f32(vcvtq_f32_u32(vandq_u32(words, low)), scale);
    out[1] = vmulq_f32(vcvtq_f32_u32(vandq_u32(vshrq_n_u32(words, 8), low)), scale);
    out[2] = vmulq_f32(vcvtq_f32_u32(vandq_u32(vshrq_n_u32(words, 16), low)), scale);
    out[3] = vmulq_f32(vcvtq_f32_u32(vshrq_n_u32(words, 24)), scale);
}

/* Q4_K, Q5_K: twelve bytes of 6-bit scales and minima, each row's in its element of w. */
NEON_INLINE void set_k_scales(const uint32x4_t w[3], float32x4_t d, float32x4_t dmin, struct super_scales *s)
{
    uint32x4_t six = vdupq_n_u32(0x3f3f3f3f), four = vdupq_n_u32(0x0f0f0f0f), top = vdupq_n_u32(0x30303030);
    scale_bytes(vandq_u32(w[0], six), d, s->d);
    scale_bytes(vandq_u32(w[1], six), dmin, s->m);
    scale_bytes(vorrq_u32(vandq_u32(w[2], four), vandq_u32(vshrq_n_u32(w[0], 2), top)), d, s->d + 4);
    scale_bytes(vorrq_u32(vandq_u32(vshrq_n_u32(w[2], 4), four), vandq_u32(vshrq_n_u32(w[1], 2), top)), dmin, s->m + 4);
}

/* d, dmin and the twelve bytes are the first 16 bytes. */
NEON_INLINE void load_k_scales(const uint8_t *const block[4], struct super_scales *s)
{
    uint32x4_t v[4];
    NEON_UNROLL
    for (int r = 0; r < 4; r++) {
        v[r] = vreinterpretq_u32_u8(vld1q_u8(block[r]));
    }
    transpose4_neon(v);
    float32x4_t d = half4_to_float(vmovn_u32(v[0]));
    float32x4_t dmin = half4_to_float(vshrn_n_u32(v[0], 16));
    set_k_scales(v + 1, d, dmin, s);
}

/* Q6_K: sixteen signed bytes, each row's in its element of w. */
NEON_INLINE void set_q6_k_scales(const uint32x4_t w[4], float32x4_t d, struct super_scales *s)
{
    NEON_UNROLL
    for (int i = 0; i < 4; i++) {
        int32x4_t words = vreinterpretq_s32_u32(w[i]);
        s->d[4 * i] = vmulq_f32(d, vcvtq_f32_s32(vshrq_n_s32(vshlq_n_s32(words, 24), 24)));
        s->d[4 * i + 1] = vmulq_f32(d, vcvtq_f32_s32(vshrq_n_s32(vshlq_n_s32(words, 16), 24)));
        s->d[4 * i + 2] = vmulq_f32(d, vcvtq_f32_s32(vshrq_n_s32(vshlq_n_s32(words, 8), 24)));
        s->d[4 * i + 3] = vmulq_f32(d, vcvtq_f32_s32(vshrq_n_s32(words, 24)));
    }
}

/* The bytes at 192, d at 208. */
NEON_INLINE void load_q6_k_scales(const uint8_t *const block[4], struct super_scales *s)
{
    uint32x4_t v[4];
    NEON_UNROLL
    for (int r = 0; r < 4; r++) {
        v[r] = vreinterpretq_u32_u8(vld1q_u8(block[r] + 192));
    }
    transpose4_neon(v);
    set_q6_k_scales(v, load_halves(block, 208), s);
}

/* 16 in every byte whose bit of the 32 is set: bits 0..15 in q[0], 16..31 in q[1]. */
NEON_INLINE void fifth_bits(const uint8_t *bits, uint8x16_t q[2])
{
    static const uint8_t spread[16] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
    static const uint8_t bit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint32_t word;
    memcpy(&word, bits, sizeof word); /* not aligned to 4 */
    uint8x16_t source = vreinterpretq_u8_u32(vdupq_n_u32(word));
    uint8x16_t index = vld1q_u8(spread), mask = vld1q_u8(bit), sixteen = vdupq_n_u8(16);
    q[0] = vandq_u8(vtstq_u8(vqtbl1q_u8(source, index), mask), sixteen);
    q[1] = vandq_u8(vtstq_u8(vqtbl1q_u8(source, vaddq_u8(index, vdupq_n_u8(2))), mask), sixteen);
}

NEON_INLINE void unpack_nibbles(const uint8_t *qs, uint8x16_t q[2])
{
    uint8x16_t v = vld1q_u8(qs);
    q[0] = vandq_u8(v, vdupq_n_u8(15));
    q[1] = vshrq_n_u8(v, 4);
}

/* Group g of a super-block: nibble g % 2 of 32 bytes at qs. */
NEON_INLINE void unpack_k_nibbles(const uint8_t *qs, int g, uint8x16_t q[2])
{
    int8x16_t shift = vdupq_n_s8((int8_t)(-4 * (g % 2)));
    q[0] = vandq_u8(vshlq_u8(vld1q_u8(qs), shift), vdupq_n_u8(15));
    q[1] = vandq_u8(vshlq_u8(vld1q_u8(qs + 16), shift), vdupq_n_u8(15));
}

/* q |= the bits of 32 bytes at qh moved left by `shift` (right when negative) and masked. */
NEON_INLINE void add_high_bits(const uint8_t *qh, int shift, uint8_t mask, uint8x16_t q[2])
{
    int8x16_t by = vdupq_n_s8((int8_t)shift);
    q[0] = vorrq_u8(q[0], vandq_u8(vshlq_u8(vld1q_u8(qh), by), vdupq_n_u8(mask)));
    q[1] = vorrq_u8(q[1], vandq_u8(vshlq_u8(vld1q_u8(qh + 16), by), vdupq_n_u8(mask)));
}

/* The 32 values of one row. block: the block, or the super-block whose block g is wanted. */
NEON_INLINE void unpack_values(const struct neon_format *f, const uint8_t *block, int g, uint8x16_t q[2])
{
    uint8x16_t high[2];
    switch (f->type) {
    case DTYPE_Q4_0: unpack_nibbles(block + 2, q); break;
    case DTYPE_Q4_1: unpack_nibbles(block + 4, q); break;
    case DTYPE_Q5_0:
    case DTYPE_Q5_1:
        unpack_nibbles(block + (f->has_min ? 8 : 6), q);
        fifth_bits(block + (f->has_min ? 4 : 2), high);
        q[0] = vorrq_u8(q[0], high[0]);
        q[1] = vorrq_u8(q[1], high[1]);
        break;
    case DTYPE_Q4_K: unpack_k_nibbles(block + 16 + g / 2 * 32, g, q); break;
    case DTYPE_Q5_K:
        unpack_k_nibbles(block + 48 + g / 2 * 32, g, q);
        add_high_bits(block + 16, 4 - g, 16, q);
        break;
    case DTYPE_Q6_K:
        unpack_k_nibbles(block + g / 4 * 64 + g % 2 * 32, g % 4 / 2, q);
        add_high_bits(block + 128 + g / 4 * 32, 4 - g % 4 * 2, 0x30, q);
        break;
    default: /* Q8_0 */
        q[0] = vld1q_u8(block + 2);
        q[1] = vld1q_u8(block + 18);
        break;
    }
}

/* Block b of four rows. `scales` keeps a super-block's scales from its first block to its last: take blocks in order from 0. */
NEON_INLINE void unpack_quad(const struct neon_format *f, const uint8_t *const row[4], int32_t b, struct super_scales *scales,
                             struct weight_quad *w)
{
    const uint8_t *block[4];
    size_t at = (size_t)(f->super ? b / 8 : b) * (size_t)f->bytes;
    int g = f->super ? b % 8 : 0;
    NEON_UNROLL
    for (int r = 0; r < 4; r++) {
        uint8x16_t q[2];
        block[r] = row[r] + at;
        unpack_values(f, block[r], g, q);
        w->q[0][r] = vreinterpretq_s8_u8(q[0]);
        w->q[1][r] = vreinterpretq_s8_u8(q[1]);
    }
    if (!f->super) {
        w->d[0] = w->d[1] = load_halves(block, 0);
        w->m = f->has_min ? vnegq_f32(load_halves(block, 2)) : vdupq_n_f32(0);
        return;
    }
    if (g == 0 && f->half_scales) {
        load_q6_k_scales(block, scales);
    } else if (g == 0) {
        load_k_scales(block, scales);
    }
    w->d[0] = scales->d[f->half_scales ? 2 * g : g];
    w->d[1] = scales->d[f->half_scales ? 2 * g + 1 : g];
    w->m = f->has_min ? scales->m[g] : vdupq_n_f32(0);
}

#endif
