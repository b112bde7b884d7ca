/* Blocks of eight weight rows of any quantised type, one row a lane, as the x86 kernels multiply them.
 * SPDX-License-Identifier: MIT
 *
 * Every function here is inlined into the kernel of its type. Needs AVX2, FMA and F16C; the AVX-512 tables use it as well.
 * No byte outside the eight rows is read. Block layouts: kernels/weight_block.c. */
#ifndef KERNELS_CPU_X86_UNPACK_H
#define KERNELS_CPU_X86_UNPACK_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define X86_INLINE static inline __attribute__((always_inline))

enum { X86_LANES = 8 /* weight rows a vector */, X86_QUADS = 8 /* groups of four weights a block */, X86_MAX_UNIT = 8 };

/* One block of 32 weights of eight rows. The weight is d * (q - bias) - m. */
struct rows8 {
    __m256i q[X86_QUADS]; /* q[g], lane r: weights 4g .. 4g + 3 of row r, a byte each */
    __m256 d[2];          /* d[1]: of weights 16 .. 31, only where the format has halves */
    __m256 minus_m;       /* only where the format has minima */
};

/* Unit u of the rows: unit_blocks blocks. w: the first row; rows are row_bytes apart (0: the same row in all lanes). */
typedef void (*unpack_fn)(const uint8_t *w, size_t row_bytes, int64_t u, struct rows8 *out);

/* All that the kernels must know of a type. Constant after inlining. */
struct x86_format {
    unpack_fn unpack;
    int unit_blocks; /* blocks that unpack gives at once */
    int unit_bytes;
    int depth;     /* products of how many quads fit into an int16 sum: 2 * max q * 127 * depth <= 32767; 1 in signed formats */
    int is_signed; /* q is int8, else uint8 */
    int has_halves;
    int has_min;
    float bias;
};

X86_INLINE uint16_t load_u16(const uint8_t *p)
{
    uint16_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

X86_INLINE int32_t load_i32(const uint8_t *p)
{
    int32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

X86_INLINE __m256i load_two(const uint8_t *low, const uint8_t *high)
{
    __m128i a = _mm_loadu_si128((const __m128i *)low);
    __m128i b = _mm_loadu_si128((const __m128i *)high);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
}

/* 16 bytes at w of each row; t[i], lane r: bytes 4i .. 4i + 3 of row r. */
X86_INLINE void transpose_rows(const uint8_t *w, size_t row_bytes, __m256i *t)
{
    __m256i r04 = load_two(w, w + 4 * row_bytes);
    __m256i r15 = load_two(w + row_bytes, w + 5 * row_bytes);
    __m256i r26 = load_two(w + 2 * row_bytes, w + 6 * row_bytes);
    __m256i r37 = load_two(w + 3 * row_bytes, w + 7 * row_bytes);
    __m256i a = _mm256_unpacklo_epi32(r04, r15);
    __m256i b = _mm256_unpacklo_epi32(r26, r37);
    __m256i c = _mm256_unpackhi_epi32(r04, r15);
    __m256i d = _mm256_unpackhi_epi32(r26, r37);
    t[0] = _mm256_unpacklo_epi64(a, b);
    t[1] = _mm256_unpackhi_epi64(a, b);
    t[2] = _mm256_unpacklo_epi64(c, d);
    t[3] = _mm256_unpackhi_epi64(c, d);
}

/* Two bytes at w of each row. */
X86_INLINE __m128i gather_halves(const uint8_t *w, size_t row_bytes)
{
    __m128i low = _mm_cvtsi32_si128(load_u16(w));
    __m128i high = _mm_cvtsi32_si128(load_u16(w + 4 * row_bytes));
    low = _mm_insert_epi16(low, load_u16(w + row_bytes), 1);
    high = _mm_insert_epi16(high, load_u16(w + 5 * row_bytes), 1);
    low = _mm_insert_epi16(low, load_u16(w + 2 * row_bytes), 2);
    high = _mm_insert_epi16(high, load_u16(w + 6 * row_bytes), 2);
    low = _mm_insert_epi16(low, load_u16(w + 3 * row_bytes), 3);
    high = _mm_insert_epi16(high, load_u16(w + 7 * row_bytes), 3);
    return _mm_unpacklo_epi64(low, high);
}

/* Four bytes at w of each row. */
X86_INLINE __m256i gather_words(const uint8_t *w, size_t row_bytes)
{
    __m128i low = _mm_setr_epi32(load_i32(w), load_i32(w + row_bytes), load_i32(w + 2 * row_bytes), load_i32(w + 3 * row_bytes));
    w += 4 * row_bytes;
    __m128i high = _mm_setr_epi32(load_i32(w), load_i32(w + row_bytes), load_i32(w + 2 * row_bytes), load_i32(w + 3 * row_bytes));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

/* The low and the high half of each lane, widened. */
X86_INLINE void widen_pairs(__m256i pairs, __m256 *low, __m256 *high)
{
    const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, 0, 1, 4, 5, 8, 9, 12, 13, 2, 3,
                                           6, 7, 10, 11, 14, 15);
    __m256i split = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(pairs, order), 0xd8);
    *low = _mm256_cvtph_ps(_mm256_castsi256_si128(split));
    *high = _mm256_cvtph_ps(_mm256_extracti128_si256(split, 1));
}

/* 16 bytes at w of each row: weight j is the low nibble of byte j, weight j + 16 the high one. */
X86_INLINE void unpack_nibbles(const uint8_t *w, size_t row_bytes, __m256i *q)
{
    const __m256i low = _mm256_set1_epi8(15);
    __m256i t[4];
    transpose_rows(w, row_bytes, t);
#pragma GCC unroll 4
    for (int g = 0; g < 4; g++) {
        q[g] = _mm256_and_si256(t[g], low);
        q[g + 4] = _mm256_and_si256(_mm256_srli_epi16(t[g], 4), low);
    }
}

/* Bit i of a row's lane becomes bit 4 of its weight i. */
X86_INLINE void add_fifth_bits(__m256i bits, __m256i *q)
{
    /* A nibble of bits goes to bits 4 .. 7 of a byte, that byte to all four of its quad; byte j keeps bit 4 + j and the minimum
     * with 16 moves that to bit 4. */
    const __m256i own = _mm256_set1_epi32((int)0x80402010u);
    const __m256i sixteen = _mm256_set1_epi8(16);
    __m256i even = _mm256_slli_epi32(bits, 4);
#pragma GCC unroll 8
    for (int g = 0; g < X86_QUADS; g++) {
        const char b = (char)(g / 2);
        const __m256i spread = _mm256_setr_epi8(b, b, b, b, 4 + b, 4 + b, 4 + b, 4 + b, 8 + b, 8 + b, 8 + b, 8 + b, 12 + b,
                                                12 + b, 12 + b, 12 + b, b, b, b, b, 4 + b, 4 + b, 4 + b, 4 + b, 8 + b, 8 + b,
                                                8 + b, 8 + b, 12 + b, 12 + b, 12 + b, 12 + b);
        __m256i bit = _mm256_and_si256(_mm256_shuffle_epi8(g % 2 ? bits : even, spread), own);
        q[g] = _mm256_or_si256(q[g], _mm256_min_epu8(bit, sixteen));
    }
}

/* d(2) qs(16) */
X86_INLINE void unpack_q4_0(const uint8_t *w, size_t row_bytes, int64_t u, struct rows8 *out)
{
    w += u * 18;
    out->d[0] = _mm256_cvtph_ps(gather_halves(w, row_bytes));
    unpack_nibbles(w + 2, row_bytes, out->q);
}

/* d(2) m(2) qs(16); the file's m is added */
X86_INLINE void unpack_q4_1(const uint8_t *w, size_t row_bytes, int64_t u, struct rows8 *out)
{
    w += u * 20;
    widen_pairs(gather_words(w, row_bytes), &out->d[0], &out->minus_m);
    unpack_nibbles(w + 4, row_bytes, out->q);
}

/* d(2) qh(4) qs(16) */
X86_INLINE void unpack_q5_0(const uint8_t *w, size_t row_bytes, int64_t u, struct rows8 *out)
{
    w += u * 22;
    out->d[0] = _mm256_cvtph_ps(gather_halves(w, row_bytes));
    unpack_nibbles(w + 6, row_bytes, out->q);
    add_fifth_bits(gather_words(w + 2, row_bytes), out->q);
}

/* d(2) m(2) qh(4) qs(16) */
X86_INLINE void unpack_q5_1(const uint8_t *w, size_t row_bytes, int64_t u, struct rows8 *out)
{
    w += u * 24;
    widen_pairs(gather_words(w, row_bytes), &out->d[0], &out->minus_m);
    unpack_nibbles(w + 8, row_bytes, out->q);
    add_fifth_bits(gather_words(w + 4, row_bytes), out->q);
}

/* d(2) qs(32) */
X86_INLINE void unpack_q8_0(const uint8_t *w, size_t row_bytes, int64_t u, struct rows8 *out)
{
    w += u * 34;
    out->d[0] = _mm256_cvtph_ps(gather_halves(w, row_bytes));
    transpose_rows(w + 2, row_bytes, out->q);
    transpose_rows(w + 18, row_bytes, out->q + 4);
}

/* Byte j of each lane as a number. */
X86_INLINE __m256 byte_to_float(__m256i v, int j)
{
    return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(v, 8 * j), _mm256_set1_epi32(255)));
}

/* d(2) dmin(2) scales(12) of Q4_K and Q5_K: scale and minimum of the eight blocks, six bits each. */
X86_INLINE void unpack_k_scales(const uint8_t *w, size_t row_bytes, struct rows8 *out)
{
    const __m256i low4 = _mm256_set1_epi8(15), low6 = _mm256_set1_epi8(63), top2 = _mm256_set1_epi8(48);
    __m256i t[4], scale[2], minimum[2];
    __m256 d, dmin;
    transpose_rows(w, row_bytes, t);
    widen_pairs(t[0], &d, &dmin);
    dmin = _mm256_xor_ps(dmin, _mm256_set1_ps(-0.0f));
    scale[0] = _mm256_and_si256(t[1], low6);
    minimum[0] = _mm256_and_si256(t[2], low6);
    scale[1] = _mm256_or_si256(_mm256_and_si256(t[3], low4), _mm256_and_si256(_mm256_srli_epi16(t[1], 2), top2));
    minimum[1] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(t[3], 4), low4),
                                 _mm256_and_si256(_mm256_srli_epi16(t[2], 2), top2));
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        out[j].d[0] = _mm256_mul_ps(d, byte_to_float(scale[j / 4], j % 4));
        out[j].minus_m = _mm256_mul_ps(dmin, byte_to_float(minimum[j / 4], j % 4));
    }
}

/* d(2) dmin(2) scales(12) qs(128): bytes 32p .. hold block 2p in the low nibbles and block 2p + 1 in the high ones. */
X86_INLINE void unpack_q4_k(const uint8_t *w, size_t row_bytes, int64_t u, struct rows8 *out)
{
    const __m256i low = _mm256_set1_epi8(15);
    w += u * 144;
    unpack_k_scales(w, row_bytes, out);
#pragma GCC unroll 4
    for (int p = 0; p < 4; p++) {
        __m256i t[8];
        transpose_rows(w + 16 + 32 * p, row_bytes, t);
        transpose_rows(w + 32 + 32 * p, row_bytes, t + 4);
#pragma GCC unroll 8
        for (int g = 0; g < X86_QUADS; g++) {
            out[2 * p].q[g] = _mm256_and_si256(t[g], low);
            out[2 * p + 1].q[g] = _mm256_and_si256(_mm256_srli_epi16(t[g], 4), low);
        }
    }
}

/* d(2) dmin(2) scales(12) qh(32) qs(128): as Q4_K; bit j of qh[i] is bit 4 of weight i of block j. */
X86_INLINE void unpack_q5_k(const uint8_t *w, size_t row_bytes, int64_t u, struct rows8 *out)
{
    const __m256i low = _mm256_set1_epi8(15), sixteen = _mm256_set1_epi8(16);
    __m256i high[8];
    w += u * 176;
    unpack_k_scales(w, row_bytes, out);
    transpose_rows(w + 16, row_bytes, high);
    transpose_rows(w + 32, row_bytes, high + 4);
#pragma GCC unroll 4
    for (int p = 0; p < 4; p++) {
        __m256i t[8];
        transpose_rows(w + 48 + 32 * p, row_bytes, t);
        transpose_rows(w + 64 + 32 * p, row_bytes, t + 4);
#pragma GCC unroll 8
        for (int g = 0; g < X86_QUADS; g++) {
            __m256i bit_a = _mm256_and_si256(_mm256_slli_epi16(high[g], 4), sixteen);
            __m256i bit_b = _mm256_and_si256(_mm256_slli_epi16(high[g], 3), sixteen);
            high[g] = _mm256_srli_epi16(high[g], 2);
            out[2 * p].q[g] = _mm256_or_si256(_mm256_and_si256(t[g], low), bit_a);
            out[2 * p + 1].q[g] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(t[g], 4), low), bit_b);
        }
    }
}

/* Sixteen signed scales of each row times its d. */
X86_INLINE void unpack_q6_k_scales(const uint8_t *w, size_t row_bytes, struct rows8 *out)
{
    __m256 d = _mm256_cvtph_ps(gather_halves(w + 16, row_bytes));
    __m256i t[4];
    transpose_rows(w, row_bytes, t);
#pragma GCC unroll 16
    for (int s = 0; s < 16; s++) {
        __m256i scale = _mm256_srai_epi32(_mm256_slli_epi32(t[s / 4], 24 - 8 * (s % 4)), 24);
        out[s / 2].d[s % 2] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(scale));
    }
}

/* ql(128) qh(64) scales(16) d(2): two halves of four blocks, each 64 ql and 32 qh. */
X86_INLINE void unpack_q6_k(const uint8_t *w, size_t row_bytes, int64_t u, struct rows8 *out)
{
    const __m256i low = _mm256_set1_epi8(15), top2 = _mm256_set1_epi8(48);
    w += u * 210;
    unpack_q6_k_scales(w + 192, row_bytes, out);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++, out += i % 2 ? 0 : 4) { /* 16 bytes of qh: half i / 2, quads 4 * (i % 2) .. */
        const uint8_t *ql = w + 64 * (i / 2) + 16 * (i % 2);
        __m256i a[4], b[4], high[4];
        transpose_rows(ql, row_bytes, a);
        transpose_rows(ql + 32, row_bytes, b);
        transpose_rows(w + 128 + 16 * i, row_bytes, high);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            int g = 4 * (i % 2) + j;
            __m256i h0 = _mm256_and_si256(_mm256_slli_epi16(high[j], 4), top2);
            __m256i h1 = _mm256_and_si256(_mm256_slli_epi16(high[j], 2), top2);
            __m256i h2 = _mm256_and_si256(high[j], top2);
            __m256i h3 = _mm256_and_si256(_mm256_srli_epi16(high[j], 2), top2);
            out[0].q[g] = _mm256_or_si256(_mm256_and_si256(a[j], low), h0);
            out[1].q[g] = _mm256_or_si256(_mm256_and_si256(b[j], low), h1);
            out[2].q[g] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(a[j], 4), low), h2);
            out[3].q[g] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(b[j], 4), low), h3);
        }
    }
}

/* Weights as uint8 for instructions that want them so and do not saturate: biased by 128. */
X86_INLINE void unpack_q8_0_biased(const uint8_t *w, size_t row_bytes, int64_t u, struct rows8 *out)
{
    unpack_q8_0(w, row_bytes, u, out);
#pragma GCC unroll 8
    for (int g = 0; g < X86_QUADS; g++) {
        out->q[g] = _mm256_xor_si256(out->q[g], _mm256_set1_epi8(-128));
    }
}

static const struct x86_format x86_q4_0 = {unpack_q4_0, 1, 18, 8, 0, 0, 0, 8};
static const struct x86_format x86_q4_1 = {unpack_q4_1, 1, 20, 8, 0, 0, 1, 0};
static const struct x86_format x86_q5_0 = {unpack_q5_0, 1, 22, 4, 0, 0, 0, 16};
static const struct x86_format x86_q5_1 = {unpack_q5_1, 1, 24, 4, 0, 0, 1, 0};
static const struct x86_format x86_q8_0 = {unpack_q8_0, 1, 34, 1, 1, 0, 0, 0};
static const struct x86_format x86_q8_0_biased = {unpack_q8_0_biased, 1, 34, 1, 0, 0, 0, 128};
static const struct x86_format x86_q4_k = {unpack_q4_k, 8, 144, 8, 0, 0, 1, 0};
static const struct x86_format x86_q5_k = {unpack_q5_k, 8, 176, 4, 0, 0, 1, 0};
static const struct x86_format x86_q6_k = {unpack_q6_k, 8, 210, 2, 0, 1, 0, 32};

#endif
