/* SPDX-License-Identifier: MIT
 * Block layouts of files: kernels/weight_block.c. */
#include "kernels/cpu/pack.h"

#include <string.h>

enum { NIBBLES_LOW = 0x0f0f0f0f, BITS_LOW = 0x01010101, PAIRS_LOW = 0x03030303 };

static uint32_t load_u32(const uint8_t *p)
{
    uint32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

/* Four bytes as lane `row` of vector v. */
static void store_lane(uint8_t *vectors, int v, int row, uint32_t value)
{
    memcpy(vectors + PACK_VECTOR * v + 4 * row, &value, sizeof value);
}

/* The half at `from` as number `row` of sixteen. */
static void store_half(uint8_t *halves, int row, const uint8_t *from)
{
    memcpy(halves + 2 * row, from, 2);
}

/* Bit i of 32 moves to bit 8 * (i % 4) + i / 4. */
static uint32_t spread_bits(uint32_t bits)
{
    static const uint32_t spread[16] = {0x00000000, 0x00000001, 0x00000100, 0x00000101, 0x00010000, 0x00010001,
                                        0x00010100, 0x00010101, 0x01000000, 0x01000001, 0x01000100, 0x01000101,
                                        0x01010000, 0x01010001, 0x01010100, 0x01010101};
    uint32_t sum = 0;
    for (int g = 0; g < 8; g++) {
        sum |= spread[bits >> (4 * g) & 15] << g;
    }
    return sum;
}

/* The sixteen bytes of nibbles of a file's block are already what the four vectors hold. */
static void pack_nibbles(const uint8_t *qs, int row, uint8_t *q)
{
    for (int j = 0; j < 4; j++) {
        store_lane(q, j, row, load_u32(qs + 4 * j));
    }
}

/* 32 nibbles, low or high ones of 32 bytes, as a block. */
static void pack_k_nibbles(const uint8_t *qs, int high, int row, uint8_t *q)
{
    for (int j = 0; j < 4; j++) {
        uint32_t low = load_u32(qs + 4 * j) >> (4 * high) & NIBBLES_LOW;
        uint32_t up = load_u32(qs + 16 + 4 * j) >> (4 * high) & NIBBLES_LOW;
        store_lane(q, j, row, low | up << 4);
    }
}

/* A row's block of a type that has its scales in each. head: bytes of d and m; fifth: whether four bytes of bits follow. */
static void pack_small_block(const uint8_t *block, int head, int fifth, int row, uint8_t *q, uint8_t *scales)
{
    for (int i = 0; i < head / 2; i++) {
        store_half(scales + 32 * i, row, block + 2 * i);
    }
    block += head;
    if (fifth) {
        store_lane(q, 4, row, spread_bits(load_u32(block)));
        block += 4;
    }
    pack_nibbles(block, row, q);
}

static void pack_q8_0_block(const uint8_t *block, int row, uint8_t *q, uint8_t *scales)
{
    store_half(scales, row, block);
    for (int g = 0; g < 8; g++) {
        store_lane(q, g, row, load_u32(block + 2 + 4 * g));
    }
}

/* d(2) dmin(2) scales(12), in Q5_K qh(32), qs(128) */
static void pack_k_block(const uint8_t *block, const struct pack_format *f, int row, uint8_t *q, uint8_t *scales)
{
    const uint8_t *qh = block + 16, *qs = f->bits == PACK_5_BITS ? block + 48 : block + 16;
    store_half(scales + 3 * PACK_VECTOR, row, block);
    store_half(scales + 3 * PACK_VECTOR + 32, row, block + 2);
    for (int v = 0; v < 3; v++) {
        store_lane(scales, v, row, load_u32(block + 4 + 4 * v));
    }
    for (int b = 0; b < 8; b++, q += f->q_bytes) {
        pack_k_nibbles(qs + b / 2 * 32, b % 2, row, q);
        uint32_t bits = 0;
        for (int g = 0; g < 8 && f->bits == PACK_5_BITS; g++) {
            bits |= (load_u32(qh + 4 * g) >> b & BITS_LOW) << g;
        }
        if (f->bits == PACK_5_BITS) {
            store_lane(q, 4, row, bits);
        }
    }
}

/* ql(128) qh(64) scales(16) d(2) */
static void pack_q6_k_block(const uint8_t *block, int row, uint8_t *q, uint8_t *scales)
{
    store_half(scales + 4 * PACK_VECTOR, row, block + 208);
    for (int v = 0; v < 4; v++) {
        store_lane(scales, v, row, load_u32(block + 192 + 4 * v));
    }
    for (int b = 0; b < 8; b++, q += pack_q6_k.q_bytes) {
        int half = b / 4, part = b % 4;
        const uint8_t *qh = block + 128 + 32 * half;
        pack_k_nibbles(block + 64 * half + part % 2 * 32, part / 2, row, q);
        for (int h = 0; h < 2; h++) {
            uint32_t bits = 0;
            for (int p = 0; p < 4; p++) {
                bits |= (load_u32(qh + 16 * h + 4 * p) >> (2 * part) & PAIRS_LOW) << (2 * p);
            }
            store_lane(q, 4 + h, row, bits);
        }
    }
}

static const struct pack_format *format_of(enum dtype type)
{
    static const struct pack_format *const formats[DTYPE_COUNT] = {
        [DTYPE_Q4_0] = &pack_q4_0, [DTYPE_Q4_1] = &pack_q4_1, [DTYPE_Q5_0] = &pack_q5_0, [DTYPE_Q5_1] = &pack_q5_1,
        [DTYPE_Q8_0] = &pack_q8_0, [DTYPE_Q4_K] = &pack_q4_k, [DTYPE_Q5_K] = &pack_q5_k, [DTYPE_Q6_K] = &pack_q6_k,
    };
    return formats[type];
}

int pack_fits(const struct tensor *t)
{
    return format_of(t->dtype) && t->rows > 0 && t->rows % PACK_ROWS == 0 && t->row_bytes == dtype_row_bytes(t->dtype, t->cols);
}

static void pack_unit(enum dtype type, const uint8_t *block, int row, uint8_t *q, uint8_t *scales)
{
    switch (type) {
    case DTYPE_Q4_0: pack_small_block(block, 2, 0, row, q, scales); break;
    case DTYPE_Q4_1: pack_small_block(block, 4, 0, row, q, scales); break;
    case DTYPE_Q5_0: pack_small_block(block, 2, 1, row, q, scales); break;
    case DTYPE_Q5_1: pack_small_block(block, 4, 1, row, q, scales); break;
    case DTYPE_Q8_0: pack_q8_0_block(block, row, q, scales); break;
    case DTYPE_Q6_K: pack_q6_k_block(block, row, q, scales); break;
    default: pack_k_block(block, format_of(type), row, q, scales); break; /* Q4_K, Q5_K */
    }
}

void pack_panel(enum dtype type, const void *rows, size_t row_bytes, int64_t cols, void *out)
{
    const struct pack_format *f = format_of(type);
    const struct dtype_info *info = dtype_info(type);
    int64_t n_units = cols / info->block;
    uint8_t *q = out;
    for (int64_t u = 0; u < n_units; u++) {
        uint8_t *scales = q + f->unit_blocks * f->q_bytes;
        for (int row = 0; row < PACK_ROWS; row++) {
            const uint8_t *block = (const uint8_t *)rows + (size_t)row * row_bytes + u * info->block_bytes;
            pack_unit(type, block, row, q, scales);
        }
        q = scales + f->scale_bytes;
    }
}
