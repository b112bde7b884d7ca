/* CUDA C++ for a host compiler: words of the language, threads, barriers and exchanges in a warp. SPDX-License-Identifier: MIT
 *
 * Source: CUDA C++ Programming Guide, "C++ Language Extensions". */
#ifndef TESTS_CUDA_HOST_CUDA_RUNTIME_H
#define TESTS_CUDA_HOST_CUDA_RUNTIME_H

#include "cuda_host.h"
#include "vector_types.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n)    __attribute__((aligned(n)))
#define __launch_bounds__(...)
/* Blocks run one after the other, so one copy is right. The tag is in the symbol's name: how the runtime finds these arrays. */
#define __shared__                static __attribute__((abi_tag("cuda_shared")))
#define CUDA_DYNAMIC_SHARED(name) unsigned char *const name = cuda_host::dynamic_shared

#include "cuda_host_math.h"
#include "cuda_host_warp.h"
#include "cuda_runtime_api.h"

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
static constexpr int warpSize = 32;

static inline void __syncthreads()
{
    cuda_host::block(0);
}

static inline int __syncthreads_count(int predicate)
{
    return cuda_host::block(predicate);
}

static inline int __syncthreads_or(int predicate)
{
    return cuda_host::block(predicate) != 0;
}

static inline int __syncthreads_and(int predicate)
{
    return cuda_host::block(!predicate) == 0;
}

static inline void __threadfence()
{
}

static inline void __threadfence_block()
{
}

static inline void __threadfence_system()
{
}

static inline void __trap()
{
    cuda_host::trap("__trap()");
}

/* Threads change places at barriers only, so a plain read and write is atomic; races.cpp does not look at it. */
#define CUDA_HOST_ATOMIC __attribute__((no_sanitize("thread"))) static inline
template <typename T, typename V> CUDA_HOST_ATOMIC T atomicAdd(T *at, V value)
{
    T old = *at;
    *at = (T)(old + value);
    return old;
}

template <typename T, typename V> CUDA_HOST_ATOMIC T atomicMax(T *at, V value)
{
    T old = *at;
    *at = old < (T)value ? (T)value : old;
    return old;
}

template <typename T, typename V> CUDA_HOST_ATOMIC T atomicMin(T *at, V value)
{
    T old = *at;
    *at = (T)value < old ? (T)value : old;
    return old;
}

template <typename T, typename V> CUDA_HOST_ATOMIC T atomicExch(T *at, V value)
{
    T old = *at;
    *at = (T)value;
    return old;
}

template <typename T> CUDA_HOST_ATOMIC T atomicCAS(T *at, T expected, T value)
{
    T old = *at;
    *at = old == expected ? value : old;
    return old;
}

template <typename T> CUDA_HOST_ATOMIC T atomicInc(T *at, T most)
{
    T old = *at;
    *at = old >= most ? 0 : old + 1;
    return old;
}

#endif
