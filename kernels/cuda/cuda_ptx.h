/* Instructions that C++ has no name for. SPDX-License-Identifier: MIT
 *
 * Source: PTX ISA 8.x, "Matrix Fragments for mma.m16n8k32", "ldmatrix", "barrier", "cp.async", "prefetch". */
#ifndef KERNELS_CUDA_CUDA_PTX_H
#define KERNELS_CUDA_CUDA_PTX_H

#include "kernels/cuda/cuda_common.h"

#ifdef CUDA_HOST /* set by tests/cuda_host */
#include <cuda_ptx_host.h>
#else

/* c += a b, a: [16, 32] int8, b: [32, 8] int8, c: [16, 8] int32, spread over the lanes of a warp as the PTX manual draws it:
 * with g = lane / 4, t = lane % 4, word i of a row = its columns 4i .. 4i + 3:
 * a[0]: row g word t, a[1]: row g + 8 word t, a[2]: row g word t + 4, a[3]: row g + 8 word t + 4;
 * b[0]: word t of column g, b[1]: word t + 4 of column g; c[0], c[1]: row g columns 2t, 2t + 1; c[2], c[3]: row g + 8. */
static __device__ __forceinline__ void cuda_mma_s8(int32_t c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* The same of half as many columns: a: [16, 16], b: [16, 8]; a[0]: row g word t, a[1]: row g + 8 word t, b: word t of column g.
 */
static __device__ __forceinline__ void cuda_mma_s8_half(int32_t c[4], const uint32_t a[2], uint32_t b)
{
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(b));
}

/* Four matrices of eight rows of sixteen bytes in shared memory: lane l names row l % 8 of matrix l / 8 and gets word lane % 4 of
 * row lane / 4 of each of them. */
static __device__ __forceinline__ void cuda_load_matrices(uint32_t out[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}

/* Producer and consumer: threads that wait at one of a block's barriers, 0..3, go on when `threads` in all, whole warps, have
 * come to it; those that only arrive never stop. What was written before arriving is seen behind the wait. Barrier 0 is that of
 * __syncthreads. The numbers are immediates, as the blocks of an SM share few barriers and one whose number ptxas does not know
 * counts as sixteen. */
static __device__ __forceinline__ void cuda_barrier_wait(int barrier, int threads)
{
    switch (barrier) {
    case 0: asm volatile("barrier.sync.aligned 0, %0;" ::"r"(threads) : "memory"); break;
    case 1: asm volatile("barrier.sync.aligned 1, %0;" ::"r"(threads) : "memory"); break;
    case 2: asm volatile("barrier.sync.aligned 2, %0;" ::"r"(threads) : "memory"); break;
    default: asm volatile("barrier.sync.aligned 3, %0;" ::"r"(threads) : "memory"); break;
    }
}
static __device__ __forceinline__ void cuda_barrier_arrive(int barrier, int threads)
{
    switch (barrier) {
    case 0: asm volatile("barrier.arrive.aligned 0, %0;" ::"r"(threads) : "memory"); break;
    case 1: asm volatile("barrier.arrive.aligned 1, %0;" ::"r"(threads) : "memory"); break;
    case 2: asm volatile("barrier.arrive.aligned 2, %0;" ::"r"(threads) : "memory"); break;
    default: asm volatile("barrier.arrive.aligned 3, %0;" ::"r"(threads) : "memory"); break;
    }
}

/* Copies 16 aligned bytes from global to shared memory, some time before cuda_copy_wait lets go. */
static __device__ __forceinline__ void cuda_copy_16(void *shared, const void *global)
{
    uint32_t to = (uint32_t)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(global) : "memory");
}
/* Ends a group of copies. */
static __device__ __forceinline__ void cuda_copy_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}
/* Waits until at most N of this thread's groups are on their way. */
template <int N> static __device__ __forceinline__ void cuda_copy_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/* Begins to bring the 128 bytes around global into the L2 cache. */
static __device__ __forceinline__ void cuda_prefetch(const void *global)
{
    asm volatile("prefetch.global.L2 [%0];" ::"l"(global));
}

#endif
#endif
