/* Packed weights (kernels/README.md, "Packed weights") as the fragments of cuda_mma_s8, one panel being its sixteen rows.
 * SPDX-License-Identifier: MIT
 *
 * With g = lane / 4 and t = lane % 4, row g of the instruction is row 2g of the panel, row g + 8 its row 2g + 1: then a lane's
 * part of a vector is eight bytes side by side, a warp reads four vectors with one load, and what it read is, but for masks and
 * shifts, already the fragment: no word changes its lane. */
#ifndef KERNELS_CUDA_CUDA_UNPACK_H
#define KERNELS_CUDA_CUDA_UNPACK_H

#include "kernels/cuda/cuda_ptx.h"
#include "src/core/dtype.h"

enum {
    CUDA_PIECE = 4,  /* blocks of 32 columns that a warp loads together; half a unit of a K type */
    CUDA_VECTOR = 64 /* bytes: four columns of a panel's rows */
};

/* A quantised type's panels. */
struct cuda_format {
    int bits;        /* of a quant */
    int unit_blocks; /* blocks that have their scales together */
    int scale_bytes; /* of a unit, sixteen rows */
    int offset;      /* taken from every quant */
    bool has_min;
    bool halves; /* a scale for sixteen columns */
};

static constexpr struct cuda_format cuda_format_of(enum dtype type)
{
    switch (type) {
    case DTYPE_Q4_0: return {4, 1, 32, 8, false, false};
    case DTYPE_Q4_1: return {4, 1, 64, 0, true, false};
    case DTYPE_Q5_0: return {5, 1, 32, 16, false, false};
    case DTYPE_Q5_1: return {5, 1, 64, 0, true, false};
    case DTYPE_Q8_0: return {8, 1, 32, 0, false, false};
    case DTYPE_Q4_K: return {4, 8, 256, 0, true, false};
    case DTYPE_Q5_K: return {5, 8, 256, 0, true, false};
    default: return {6, 8, 288, 32, false, true}; /* Q6_K */
    }
}

template <enum dtype T> struct cuda_panel {
    static constexpr struct cuda_format format = cuda_format_of(T);
    static constexpr int bits = format.bits, unit_blocks = format.unit_blocks, offset = format.offset;
    static constexpr bool has_min = format.has_min, halves = format.halves;
    static constexpr int q_bytes = CUDA_VECTOR * bits; /* of a block: eight columns a bit and vector */
    static constexpr int unit_bytes = unit_blocks * q_bytes + format.scale_bytes;
    static constexpr int words = bits == 4 ? 2 : bits == 6 ? 6 : 4; /* of a lane and block */
    static constexpr int block_scales = has_min ? 2 : 1;            /* words of a lane and block where a unit is a block */
    static constexpr int unit_scales = halves ? 5 : 8;              /* of a lane and piece otherwise */
};

/* A lane's part of a piece, as read: of BLOCKS of its blocks, block j where j % BLOCKS is. */
template <enum dtype T, int BLOCKS = CUDA_PIECE> struct cuda_piece {
    uint32_t q[BLOCKS][cuda_panel<T>::words];
    uint32_t scales[cuda_panel<T>::unit_blocks == 1 ? BLOCKS * cuda_panel<T>::block_scales : cuda_panel<T>::unit_scales];
};

/* Of a block, for the lane's rows 2g and 2g + 1. */
struct cuda_scales {
    float d[2][2]; /* [half][row]; the second half only where the type has halves */
    float minus_m[2];
};

static __device__ __forceinline__ void cuda_load_pair(const uint8_t *at, uint32_t out[2])
{
    uint2 pair = *(const uint2 *)(const void *)at;
    out[0] = pair.x;
    out[1] = pair.y;
}

/* Two halves side by side. */
static __device__ __forceinline__ uint32_t cuda_load_halves(const uint8_t *at)
{
    return *(const uint32_t *)(const void *)at;
}

/* Where the first block of a piece stands, for a lane: its two rows of the first vector. */
template <enum dtype T>
static __device__ __forceinline__ const uint8_t *cuda_place_of(const uint8_t *panel, int32_t piece, int lane)
{
    using P = cuda_panel<T>;
    if constexpr (P::unit_blocks == 1) {
        return panel + (uint32_t)(piece * CUDA_PIECE * P::unit_bytes) + lane / 4 * 8;
    } else {
        return panel + (uint32_t)(piece / 2 * P::unit_bytes + piece % 2 * CUDA_PIECE * P::q_bytes) + lane / 4 * 8;
    }
}

/* Block j of the piece at that place, with its scales where a unit is a block. */
template <enum dtype T, int BLOCKS>
static __device__ __forceinline__ void cuda_block_load(const uint8_t *place, int j, int lane, struct cuda_piece<T, BLOCKS> *out)
{
    using P = cuda_panel<T>;
    constexpr int stride = P::unit_blocks == 1 ? P::unit_bytes : P::q_bytes;
    const uint8_t *quads = place + lane % 4 * CUDA_VECTOR + j * stride;
    uint32_t *q = out->q[j % BLOCKS];
    cuda_load_pair(quads, q);
    if constexpr (P::bits == 8) {
        cuda_load_pair(quads + 4 * CUDA_VECTOR, q + 2);
    }
    if constexpr (P::bits == 5 || P::bits == 6) {
        cuda_load_pair(place + j * stride + 4 * CUDA_VECTOR, q + 2);
    }
    if constexpr (P::bits == 6) {
        cuda_load_pair(place + j * stride + 5 * CUDA_VECTOR, q + 4);
    }
    if constexpr (P::unit_blocks == 1) {
        for (int i = 0; i < P::block_scales; i++) {
            out->scales[j % BLOCKS * P::block_scales + i] = cuda_load_halves(place - lane / 4 * 4 + j * stride + P::q_bytes +
                                                                             32 * i);
        }
    }
}

/* The scales of a piece of a K type. */
template <enum dtype T, int BLOCKS>
static __device__ __forceinline__ void cuda_scales_load(const uint8_t *panel, int32_t piece, int lane,
                                                        struct cuda_piece<T, BLOCKS> *out)
{
    using P = cuda_panel<T>;
    const int g = lane / 4;
    const uint8_t *scales = panel + (uint32_t)(piece / 2 * P::unit_bytes + P::unit_blocks * P::q_bytes);
    if constexpr (P::unit_blocks != 1 && P::halves) {
        const uint8_t *vectors = scales + piece % 2 * (2 * CUDA_VECTOR) + 8 * g;
        cuda_load_pair(vectors, out->scales);
        cuda_load_pair(vectors + CUDA_VECTOR, out->scales + 2);
        out->scales[4] = cuda_load_halves(scales + 4 * CUDA_VECTOR + 4 * g);
    } else if constexpr (P::unit_blocks != 1) {
        for (int v = 0; v < 3; v++) {
            cuda_load_pair(scales + v * CUDA_VECTOR + 8 * g, out->scales + 2 * v);
        }
        out->scales[6] = cuda_load_halves(scales + 3 * CUDA_VECTOR + 4 * g);
        out->scales[7] = cuda_load_halves(scales + 3 * CUDA_VECTOR + 32 + 4 * g);
    }
}

/* Whether there is a block j of a piece that is there: always, where pieces are parts of a unit. */
template <enum dtype T> static __device__ __forceinline__ bool cuda_has_block(int32_t piece, int j, int32_t n_blocks)
{
    return cuda_panel<T>::unit_blocks > 1 || piece * CUDA_PIECE + j < n_blocks;
}

/* The first BLOCKS of piece number `piece` of a panel of n_blocks; what lies behind the last of them is left as it is. */
template <enum dtype T, int BLOCKS>
static __device__ __forceinline__ void cuda_piece_load(const uint8_t *panel, int32_t piece, int32_t n_blocks, int lane,
                                                       struct cuda_piece<T, BLOCKS> *out)
{
    const uint8_t *place = cuda_place_of<T>(panel, piece, lane);
#pragma unroll
    for (int j = 0; j < BLOCKS; j++) {
        if (cuda_has_block<T>(piece, j, n_blocks)) {
            cuda_block_load(place, j, lane, out);
        }
    }
    cuda_scales_load(panel, piece, lane, out);
}

/* x moved left around (right where left < 0). */
static __device__ __forceinline__ uint32_t cuda_rotate(uint32_t x, int left)
{
    return __funnelshift_l(x, x, (unsigned)left & 31);
}

/* Block j of a piece as a fragment of signed bytes: a[0], a[2]: quads t and t + 4 of row 2g; a[1], a[3]: of row 2g + 1. */
template <enum dtype T, int BLOCKS>
static __device__ __forceinline__ void cuda_fragment(const struct cuda_piece<T, BLOCKS> *piece, int j, int lane, uint32_t a[4])
{
    using P = cuda_panel<T>;
    const uint32_t *q = piece->q[j % BLOCKS];
    const int t = lane % 4;
#pragma unroll
    for (int row = 0; row < 2; row++) {
        if constexpr (P::bits == 8) {
            a[row] = q[row];
            a[2 + row] = q[2 + row];
        } else {
            a[row] = q[row] & 0x0f0f0f0f;
            a[2 + row] = q[row] >> 4 & 0x0f0f0f0f;
        }
        if constexpr (P::bits == 5) {
            a[row] |= cuda_rotate(q[2 + row], 4 - t) & 0x10101010;
            a[2 + row] |= q[2 + row] >> t & 0x10101010;
        }
        if constexpr (P::bits == 6) {
            a[row] |= cuda_rotate(q[2 + row], 4 - 2 * t) & 0x30303030;
            a[2 + row] |= cuda_rotate(q[4 + row], 4 - 2 * t) & 0x30303030;
        }
        if constexpr (P::offset != 0) { /* n + (128 - offset) stays in its byte; the flip of its highest bit takes 128 away */
            a[row] = (a[row] + (128 - P::offset) * 0x01010101u) ^ 0x80808080u;
            a[2 + row] = (a[2 + row] + (128 - P::offset) * 0x01010101u) ^ 0x80808080u;
        }
    }
}

/* Byte j of a word as a number, from which `less` is taken: the byte below the bits of 2^23. */
static __device__ __forceinline__ float cuda_byte_to_float(uint32_t word, int j, float less)
{
    return __uint_as_float(__byte_perm(word, 0x4b000000, 0x7650 | j)) - (8388608.0f + less);
}

static __device__ __forceinline__ float cuda_half_of(uint32_t halves, int i)
{
    return __half2float(__ushort_as_half((unsigned short)(halves >> (16 * i))));
}

/* Of Q4_K and Q5_K, when their scales are there: the four scales and the four minima of the piece's blocks in a word each,
 * without a branch. scales then: [2] scales, [2] minima, not used, d, dmin. */
template <enum dtype T, int BLOCKS>
static __device__ __forceinline__ void cuda_scales_ready(int32_t piece, struct cuda_piece<T, BLOCKS> *w)
{
    if constexpr (cuda_panel<T>::unit_blocks > 1 && !cuda_panel<T>::halves) {
        const bool upper = piece % 2;
        const uint32_t high_mask = upper ? 0x30303030 : 0x3f3f3f3f, low_mask = upper ? 0x0f0f0f0f : 0;
        uint32_t *s = w->scales;
#pragma unroll
        for (int row = 0; row < 2; row++) {
            const uint32_t low = s[4 + row];
            s[row] = (low & low_mask) | (s[row] >> (upper ? 2 : 0) & high_mask);
            s[2 + row] = (low >> 4 & low_mask) | (s[2 + row] >> (upper ? 2 : 0) & high_mask);
        }
    }
}

/* Block j of a piece whose scales are ready. */
template <enum dtype T, int BLOCKS>
static __device__ __forceinline__ void cuda_scales_of(const struct cuda_piece<T, BLOCKS> *w, int j, struct cuda_scales *out)
{
    using P = cuda_panel<T>;
    const uint32_t *s = w->scales;
#pragma unroll
    for (int row = 0; row < 2; row++) {
        if constexpr (P::unit_blocks == 1) {
            out->d[0][row] = cuda_half_of(s[j % BLOCKS * P::block_scales], row);
            if constexpr (P::has_min) {
                out->minus_m[row] = cuda_half_of(s[j % BLOCKS * P::block_scales + 1], row);
            }
        } else if constexpr (P::halves) { /* a signed byte s: (s + 128) - 128 */
            uint32_t bytes = s[j / 2 * 2 + row] ^ 0x80808080u;
            float d = cuda_half_of(s[4], row);
            out->d[0][row] = d * cuda_byte_to_float(bytes, j % 2 * 2, 128);
            out->d[1][row] = d * cuda_byte_to_float(bytes, j % 2 * 2 + 1, 128);
        } else {
            out->d[0][row] = cuda_half_of(s[6], row) * cuda_byte_to_float(s[row], j, 0);
            out->minus_m[row] = -cuda_half_of(s[7], row) * cuda_byte_to_float(s[2 + row], j, 0);
        }
    }
}

/* Exact sums of 32 products as floats, spread like c of cuda_mma_s8. */
static __device__ __forceinline__ void cuda_sums(const uint32_t a[4], const uint32_t b[2], float out[4])
{
    int32_t c[4] = {0, 0, 0, 0};
    cuda_mma_s8(c, a, b);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        out[i] = (float)c[i];
    }
}
/* Of the first (0) or last (1) sixteen columns. */
static __device__ __forceinline__ void cuda_half_sums(const uint32_t a[4], const uint32_t b[2], int part, float out[4])
{
    int32_t c[4] = {0, 0, 0, 0};
    cuda_mma_s8_half(c, a + 2 * part, b[part]);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        out[i] = (float)c[i];
    }
}

/* The contract's steps, all spread like c of cuda_mma_s8. x: d of activation rows 2t and 2t + 1, their sums; COLUMNS: 1 where the
 * odd columns are not wanted, 2. First the products... */
template <int COLUMNS>
static __device__ __forceinline__ void cuda_add_sums(const float d[2], const float sums[4], const float4 x, float acc[4])
{
#pragma unroll
    for (int row = 0; row < 2; row++) {
        acc[2 * row] = fmaf(d[row] * x.x, sums[2 * row], acc[2 * row]);
        if (COLUMNS == 2) {
            acc[2 * row + 1] = fmaf(d[row] * x.y, sums[2 * row + 1], acc[2 * row + 1]);
        }
    }
}
/* ... then the minimum. */
template <int COLUMNS>
static __device__ __forceinline__ void cuda_add_minimum(const float minus_m[2], const float4 x, float acc[4])
{
#pragma unroll
    for (int row = 0; row < 2; row++) {
        acc[2 * row] = fmaf(minus_m[row] * x.x, x.z, acc[2 * row]);
        if (COLUMNS == 2) {
            acc[2 * row + 1] = fmaf(minus_m[row] * x.y, x.w, acc[2 * row + 1]);
        }
    }
}

#endif
