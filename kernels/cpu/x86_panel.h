/* How weight rows are cut into panels of 16 and slabs, and which activations a tile reads; the same in all x86 tables.
 * SPDX-License-Identifier: MIT */
#ifndef KERNELS_CPU_X86_PANEL_H
#define KERNELS_CPU_X86_PANEL_H

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/x86_unpack.h"

enum {
    PANEL_VECTORS = 2, /* groups of eight weight rows a panel */
    PANEL_ROWS = 16,
    PANEL_BLOCK_BYTES = 704, /* a panel's block: weights, and three numbers a row */
    MAX_SLAB_PANELS = 4,
    SLAB_BYTES = 192 << 10, /* what a slab may take of the second-level cache */
    DENSE_ROWS = 72,        /* activation rows that are laid close together at a time for packed weights (avx512_packed.h) */
    DENSE_COLUMNS = 8192,   /* with more columns the second-level cache has no room for so many */
    DENSE_ROW_BYTES = 44,   /* a block of one of them: q, d, sum and the sum of the first half */
    PREFETCH_BYTES = 4096   /* ahead in packed weights: measured on Zen 4, where 2 to 8 KiB are nearly as good */
};

/* One block of several activation rows. */
struct x_block {
    const int8_t *q;
    const float *d, *sum;
    size_t k, n_blocks;    /* distance of the rows in q, and in d and sum */
    const float *half_sum; /* sums of the first 16 of each block, beside sum; NULL where they are not kept */
};

static inline struct x_block x_block_of(const struct act_rows *x, int32_t first_row)
{
    size_t k = (size_t)x->k, n_blocks = k / Q8_BLOCK, r = (size_t)first_row;
    return (struct x_block){x->q + r * k, x->d + r * n_blocks, x->sum + r * n_blocks, k, n_blocks, NULL};
}

X86_INLINE void next_block(struct x_block *x)
{
    x->q += Q8_BLOCK;
    x->d++;
    x->sum++;
}

/* Panels of a slab: as many as the cache holds, at least one. */
static inline int32_t slab_panels(int32_t k)
{
    size_t panel_bytes = (size_t)(k / Q8_BLOCK) * PANEL_BLOCK_BYTES;
    size_t n = panel_bytes ? SLAB_BYTES / panel_bytes : MAX_SLAB_PANELS;
    return n < 1 ? 1 : n > MAX_SLAB_PANELS ? MAX_SLAB_PANELS : (int32_t)n;
}

/* Scratch for k columns: a slab, or the rows that are laid close together. */
static inline size_t slab_bytes(int32_t k)
{
    size_t n_blocks = (size_t)(k / Q8_BLOCK), slab = (size_t)slab_panels(k) * PANEL_BLOCK_BYTES;
    return n_blocks * (slab > DENSE_ROWS * DENSE_ROW_BYTES ? slab : DENSE_ROWS * DENSE_ROW_BYTES);
}

/* Weight rows whose packed panels the cache holds, at least one panel's. */
static inline int32_t packed_group(size_t row_bytes)
{
    size_t n = SLAB_BYTES / (row_bytes * PANEL_ROWS);
    return (n > 1 ? (int32_t)n : 1) * PANEL_ROWS;
}

/* First weight row of vector v of the panel at row c: the last ones overlap so that no row behind the end is touched.
 * n_cols >= X86_LANES. */
static inline int32_t vector_first(int32_t c, int v, int32_t n_cols)
{
    int32_t first = c + v * X86_LANES;
    return first <= n_cols - X86_LANES ? first : n_cols - X86_LANES;
}

/* Asks for n bytes of a packed panel that are needed later; reading there is harmless. Not for one activation row: then the
 * processor reads ahead by itself, and better (Zen 4: 38 against 30 GB/s). */
X86_INLINE void prefetch_packed(const uint8_t *p, int n)
{
#pragma GCC unroll 16
    for (int i = 0; i < n; i += 64) {
        _mm_prefetch((const char *)((uintptr_t)p + PREFETCH_BYTES + (uintptr_t)i), _MM_HINT_T0);
    }
}

/* Asks for the eight rows behind those at w, as many bytes as one unit of the eight holds; reading there is harmless. */
X86_INLINE void prefetch_unit(const struct x86_format *f, const uint8_t *w, size_t row_bytes, size_t n_rows, int64_t u)
{
    const char *ahead = (const char *)((uintptr_t)w + n_rows * row_bytes + (size_t)u * n_rows * (size_t)f->unit_bytes);
    for (size_t i = 0; i < n_rows * (size_t)f->unit_bytes; i += 64) {
        _mm_prefetch(ahead + i, _MM_HINT_T0);
    }
}

/* Sum of the first 16 activations of a block, in all lanes. */
X86_INLINE __m128i sum_first_half(const int8_t *q)
{
    __m128i v = _mm_maddubs_epi16(_mm_set1_epi8(1), _mm_loadu_si128((const __m128i *)q));
    v = _mm_madd_epi16(v, _mm_set1_epi16(1));
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
    return _mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1));
}

#endif
