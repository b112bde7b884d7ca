/* Rows of a file into panels (kernels/README.md, "Packed weights"): what pack_panel of kernels/cpu/pack.c does. One thread a
 * block of 32 columns of a row, the sixteen rows of a panel side by side. grid: all of them; block: 256; shared: 0. While a model
 * loads: bound by where it comes from. SPDX-License-Identifier: MIT
 *
 * Block layouts of files: kernels/weight_block.c. */
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_unpack.h"

enum { THREADS = 256 };

/* A row's block of the file, of which nothing may be there: zeros. */
struct file_block {
    const uint8_t *bytes;
};

static __device__ __forceinline__ uint32_t load_bytes(struct file_block block, int at, int n)
{
    uint32_t value = 0;
    for (int i = 0; i < n && block.bytes; i++) {
        value |= (uint32_t)block.bytes[at + i] << (8 * i);
    }
    return value;
}

static __device__ __forceinline__ void store_lane(uint8_t *vectors, int v, int row, uint32_t value)
{
    *(uint32_t *)(void *)(vectors + CUDA_VECTOR * v + 4 * row) = value;
}

static __device__ __forceinline__ void store_half(uint8_t *halves, int row, uint32_t value)
{
    *(uint16_t *)(void *)(halves + 2 * row) = (uint16_t)value;
}

/* Bit i of 32 moves to bit 8 * (i % 4) + i / 4. */
static __device__ __forceinline__ uint32_t spread_bits(uint32_t bits)
{
    uint32_t sum = 0;
    for (int i = 0; i < 32; i++) {
        sum |= (bits >> i & 1) << (8 * (i % 4) + i / 4);
    }
    return sum;
}

/* head: bytes of d and m; fifth: whether four bytes of bits follow. */
static __device__ void pack_small(struct file_block block, int head, int fifth, int row, uint8_t *q, uint8_t *scales)
{
    for (int i = 0; i < head / 2; i++) {
        store_half(scales + 32 * i, row, load_bytes(block, 2 * i, 2));
    }
    if (fifth) {
        store_lane(q, 4, row, spread_bits(load_bytes(block, head, 4)));
        head += 4;
    }
    for (int j = 0; j < 4; j++) {
        store_lane(q, j, row, load_bytes(block, head + 4 * j, 4));
    }
}

static __device__ void pack_q8_0(struct file_block block, int row, uint8_t *q, uint8_t *scales)
{
    store_half(scales, row, load_bytes(block, 0, 2));
    for (int g = 0; g < 8; g++) {
        store_lane(q, g, row, load_bytes(block, 2 + 4 * g, 4));
    }
}

/* 32 nibbles, low or high ones of the 32 bytes at `at`. */
static __device__ void pack_k_nibbles(struct file_block block, int at, int high, int row, uint8_t *q)
{
    for (int j = 0; j < 4; j++) {
        uint32_t low = load_bytes(block, at + 4 * j, 4) >> (4 * high) & 0x0f0f0f0f;
        uint32_t up = load_bytes(block, at + 16 + 4 * j, 4) >> (4 * high) & 0x0f0f0f0f;
        store_lane(q, j, row, low | up << 4);
    }
}

/* Block b of a super-block: d(2) dmin(2) scales(12), in Q5_K qh(32), qs(128). Its thread also takes scale vector b, if there is
 * one, the last the halves. */
static __device__ void pack_k(struct file_block unit, int fifth, int b, int row, uint8_t *q, uint8_t *scales)
{
    pack_k_nibbles(unit, (fifth ? 48 : 16) + b / 2 * 32, b % 2, row, q);
    uint32_t bits = 0;
    for (int g = 0; g < 8 && fifth; g++) {
        bits |= (load_bytes(unit, 16 + 4 * g, 4) >> b & 0x01010101) << g;
    }
    if (fifth) {
        store_lane(q, 4, row, bits);
    }
    if (b < 3) {
        store_lane(scales, b, row, load_bytes(unit, 4 + 4 * b, 4));
    } else if (b == 3) {
        store_half(scales + 3 * CUDA_VECTOR, row, load_bytes(unit, 0, 2));
        store_half(scales + 3 * CUDA_VECTOR + 32, row, load_bytes(unit, 2, 2));
    }
}

/* ql(128) qh(64) scales(16) d(2) */
static __device__ void pack_q6_k(struct file_block unit, int b, int row, uint8_t *q, uint8_t *scales)
{
    int side = b / 4, part = b % 4;
    pack_k_nibbles(unit, 64 * side + part % 2 * 32, part / 2, row, q);
    for (int h = 0; h < 2; h++) {
        uint32_t bits = 0;
        for (int i = 0; i < 4; i++) {
            bits |= (load_bytes(unit, 128 + 32 * side + 16 * h + 4 * i, 4) >> (2 * part) & 0x03030303) << (2 * i);
        }
        store_lane(q, 4 + h, row, bits);
    }
    if (b < 4) {
        store_lane(scales, b, row, load_bytes(unit, 192 + 4 * b, 4));
    } else if (b == 4) {
        store_half(scales + 4 * CUDA_VECTOR, row, load_bytes(unit, 208, 2));
    }
}

/* b: the block's number in its unit. */
template <enum dtype T>
static __device__ __forceinline__ void pack_block(struct file_block unit, int b, int row, uint8_t *q, uint8_t *scales)
{
    using P = cuda_panel<T>;
    if constexpr (P::halves) {
        pack_q6_k(unit, b, row, q, scales);
    } else if constexpr (P::unit_blocks > 1) {
        pack_k(unit, P::bits == 5, b, row, q, scales);
    } else if constexpr (P::bits == 8) {
        pack_q8_0(unit, row, q, scales);
    } else {
        pack_small(unit, P::has_min ? 4 : 2, P::bits == 5, row, q, scales);
    }
}

template <enum dtype T>
static __global__ void __launch_bounds__(THREADS)
    pack_kernel(const uint8_t *raw, int32_t n_rows, int32_t n_blocks, int32_t n_panels, uint8_t *out)
{
    using P = cuda_panel<T>;
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, panel = i / CUDA_PANEL / n_blocks;
    const int row = (int)(i % CUDA_PANEL), block = (int)(i / CUDA_PANEL % n_blocks), unit = block / P::unit_blocks;
    if (panel >= n_panels) {
        return;
    }
    const int64_t from = panel * CUDA_PANEL + row, n_units = n_blocks / P::unit_blocks;
    uint8_t *to = out + (panel * n_units + unit) * P::unit_bytes;
    struct file_block bytes = {from < n_rows ? raw + (from * n_units + unit) * (P::unit_bytes / CUDA_PANEL) : NULL};
    const int b = block % P::unit_blocks;
    pack_block<T>(bytes, b, row, to + b * P::q_bytes, to + P::unit_blocks * P::q_bytes);
}

typedef void (*pack_kernel_fn)(const uint8_t *, int32_t, int32_t, int32_t, uint8_t *);

static pack_kernel_fn pack_kernel_of(enum dtype type)
{
    switch (type) {
    case DTYPE_Q4_0: return pack_kernel<DTYPE_Q4_0>;
    case DTYPE_Q4_1: return pack_kernel<DTYPE_Q4_1>;
    case DTYPE_Q5_0: return pack_kernel<DTYPE_Q5_0>;
    case DTYPE_Q5_1: return pack_kernel<DTYPE_Q5_1>;
    case DTYPE_Q8_0: return pack_kernel<DTYPE_Q8_0>;
    case DTYPE_Q4_K: return pack_kernel<DTYPE_Q4_K>;
    case DTYPE_Q5_K: return pack_kernel<DTYPE_Q5_K>;
    default: return pack_kernel<DTYPE_Q6_K>;
    }
}

void cuda_pack(cudaStream_t stream, enum dtype type, const void *raw, int32_t n_rows, int32_t cols, int32_t n_panels, void *out)
{
    const int32_t n_blocks = cols / CUDA_Q8_BLOCK;
    const int64_t n_threads = (int64_t)n_panels * CUDA_PANEL * n_blocks;
    cuda_launch(pack_kernel_of(type), dim3((unsigned)((n_threads + THREADS - 1) / THREADS)), dim3(THREADS), 0, stream,
                (const uint8_t *)raw, n_rows, n_blocks, n_panels, (uint8_t *)out);
}
