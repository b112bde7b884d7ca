/* kernels/cuda/cuda_ptx.h for the CPU. SPDX-License-Identifier: MIT
 *
 * Source: PTX ISA 8.x, "Matrix Fragments for mma.m16n8k32", "ldmatrix", "barrier", "cp.async". */
#ifndef TESTS_CUDA_HOST_CUDA_PTX_HOST_H
#define TESTS_CUDA_HOST_CUDA_PTX_HOST_H

#include "cuda_host.h"

namespace cuda_host
{
struct mma_fragments {
    int32_t *c;
    const uint32_t *a, *b;
};
/* lanes: struct mma_fragments */
void mma_s8(void *const lanes[32], uint32_t mask);

struct matrix_rows {
    const void *row;
    uint32_t *out;
};
/* lanes: struct matrix_rows */
void load_matrices(void *const lanes[32], uint32_t mask);
} // namespace cuda_host

static inline void cuda_mma_s8(int32_t c[4], const uint32_t a[4], const uint32_t b[2])
{
    cuda_host::mma_fragments fragments = {c, a, b};
    cuda_host::warp("cuda_mma_s8", 0xFFFFFFFF, cuda_host::mma_s8, &fragments);
}

static inline void cuda_mma_s8_half(int32_t c[4], const uint32_t a[2], uint32_t b)
{
    const uint32_t a_and_zeros[4] = {a[0], a[1], 0, 0}, b_and_zeros[2] = {b, 0};
    cuda_mma_s8(c, a_and_zeros, b_and_zeros);
}

static inline void cuda_load_matrices(uint32_t out[4], const void *row)
{
    cuda_host::matrix_rows rows = {row, out};
    cuda_host::warp("cuda_load_matrices", 0xFFFFFFFF, cuda_host::load_matrices, &rows);
}

static inline void cuda_barrier_wait(int barrier, int threads)
{
    cuda_host::barrier(barrier, threads, true);
}

static inline void cuda_barrier_arrive(int barrier, int threads)
{
    cuda_host::barrier(barrier, threads, false);
}

/* What is at shared until the wait is bytes of 0xFF: neither the old content nor the new one may be relied on. */
static inline void cuda_copy_16(void *shared, const void *global)
{
    cuda_host::copy_16(shared, global);
}

static inline void cuda_copy_commit(void)
{
    cuda_host::copy_commit();
}

template <int N> static inline void cuda_copy_wait(void)
{
    cuda_host::copy_wait(N);
}

static inline void cuda_prefetch(const void *)
{
}

#endif
