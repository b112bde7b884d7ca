/* SPDX-License-Identifier: MIT
 * Block layouts. Source: ggml, src/ggml-common.h (the formats only). */
#include "kernels/weight_block.h"

#include <string.h>

static float load_half(const uint8_t *p)
{
    return half_to_float((uint16_t)(p[0] | p[1] << 8));
}

static uint32_t load_u32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* 16 bytes of nibbles: element j is the low nibble of byte j, element j + 16 the high one; then bit j of `high` is bit 4. */
static void unpack_nibbles(const uint8_t *qs, uint32_t high, int offset, int8_t *q)
{
    for (int j = 0; j < 16; j++) {
        int low_bit = (int)(high >> j & 1) << 4;
        int high_bit = (int)(high >> (j + 16) & 1) << 4;
        q[j] = (int8_t)(((qs[j] & 15) | low_bit) + offset);
        q[j + 16] = (int8_t)(((qs[j] >> 4) | high_bit) + offset);
    }
}

static void set_scale(struct weight_block *out, float d, float m)
{
    out->d[0] = d;
    out->d[1] = d;
    out->m = m;
}

/* d(2) qs(16) */
static void unpack_q4_0(const void *row, int64_t b, struct weight_block *out)
{
    const uint8_t *block = (const uint8_t *)row + b * 18;
    set_scale(out, load_half(block), 0);
    unpack_nibbles(block + 2, 0, -8, out->q);
}

/* d(2) m(2) qs(16) */
static void unpack_q4_1(const void *row, int64_t b, struct weight_block *out)
{
    const uint8_t *block = (const uint8_t *)row + b * 20;
    set_scale(out, load_half(block), -load_half(block + 2));
    unpack_nibbles(block + 4, 0, 0, out->q);
}

/* d(2) qh(4) qs(16) */
static void unpack_q5_0(const void *row, int64_t b, struct weight_block *out)
{
    const uint8_t *block = (const uint8_t *)row + b * 22;
    set_scale(out, load_half(block), 0);
    unpack_nibbles(block + 6, load_u32(block + 2), -16, out->q);
}

/* d(2) m(2) qh(4) qs(16) */
static void unpack_q5_1(const void *row, int64_t b, struct weight_block *out)
{
    const uint8_t *block = (const uint8_t *)row + b * 24;
    set_scale(out, load_half(block), -load_half(block + 2));
    unpack_nibbles(block + 8, load_u32(block + 4), 0, out->q);
}

/* d(2) qs(32) */
static void unpack_q8_0(const void *row, int64_t b, struct weight_block *out)
{
    const uint8_t *block = (const uint8_t *)row + b * 34;
    set_scale(out, load_half(block), 0);
    memcpy(out->q, block + 2, 32);
}

/* d(2) dmin(2) and twelve bytes with eight 6-bit scales and minima: scale and minimum of group g (0..7). */
static void k_scale(const uint8_t *block, int g, struct weight_block *out)
{
    const uint8_t *s = block + 4;
    int scale, minimum;
    if (g < 4) {
        scale = s[g] & 63;
        minimum = s[g + 4] & 63;
    } else {
        scale = (s[g + 4] & 15) | (s[g - 4] >> 6) << 4;
        minimum = (s[g + 4] >> 4) | (s[g] >> 6) << 4;
    }
    set_scale(out, load_half(block) * (float)scale, load_half(block + 2) * (float)minimum);
}

/* d(2) dmin(2) scales(12) qs(128): bytes 32p.. hold group 2p in the low nibbles and 2p + 1 in the high ones. */
static void unpack_q4_k(const void *row, int64_t b, struct weight_block *out)
{
    const uint8_t *block = (const uint8_t *)row + b / 8 * 144;
    int g = (int)(b % 8);
    const uint8_t *qs = block + 16 + g / 2 * 32;
    k_scale(block, g, out);
    for (int i = 0; i < 32; i++) {
        out->q[i] = (int8_t)(qs[i] >> (g % 2 * 4) & 15);
    }
}

/* d(2) dmin(2) scales(12) qh(32) qs(128): nibbles as in Q4_K, bit g of qh[i] is bit 4 of element i of group g. */
static void unpack_q5_k(const void *row, int64_t b, struct weight_block *out)
{
    const uint8_t *block = (const uint8_t *)row + b / 8 * 176;
    int g = (int)(b % 8);
    const uint8_t *qh = block + 16, *qs = block + 48 + g / 2 * 32;
    k_scale(block, g, out);
    for (int i = 0; i < 32; i++) {
        out->q[i] = (int8_t)((qs[i] >> (g % 2 * 4) & 15) | (qh[i] >> g & 1) << 4);
    }
}

/* ql(128) qh(64) scales(16) d(2): two halves of 128 elements, each 64 ql, 32 qh and 8 scales of 16 elements. */
static void unpack_q6_k(const void *row, int64_t b, struct weight_block *out)
{
    const uint8_t *block = (const uint8_t *)row + b / 8 * 210;
    int half = (int)(b % 8) / 4, part = (int)(b % 4);
    const uint8_t *ql = block + 64 * half + part % 2 * 32;
    const uint8_t *qh = block + 128 + 32 * half;
    const int8_t *scales = (const int8_t *)block + 192 + 8 * half + 2 * part;
    float d = load_half(block + 208);
    out->d[0] = d * (float)scales[0];
    out->d[1] = d * (float)scales[1];
    out->m = 0;
    for (int i = 0; i < 32; i++) {
        int low = ql[i] >> (part / 2 * 4) & 15;
        int high = qh[i] >> (2 * part) & 3;
        out->q[i] = (int8_t)((low | high << 4) - 32);
    }
}

weight_block_fn weight_block_unpacker(enum dtype type)
{
    static const weight_block_fn unpackers[DTYPE_COUNT] = {
        [DTYPE_Q4_0] = unpack_q4_0, [DTYPE_Q4_1] = unpack_q4_1, [DTYPE_Q5_0] = unpack_q5_0, [DTYPE_Q5_1] = unpack_q5_1,
        [DTYPE_Q8_0] = unpack_q8_0, [DTYPE_Q4_K] = unpack_q4_k, [DTYPE_Q5_K] = unpack_q5_k, [DTYPE_Q6_K] = unpack_q6_k,
    };
    return unpackers[type];
}
