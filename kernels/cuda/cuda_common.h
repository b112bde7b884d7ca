/* What every CUDA source begins with: the runtime's headers, and how kernels are launched so that nvcc and a host compiler both
 * understand it. SPDX-License-Identifier: MIT
 *
 * tests/cuda_host has headers of the same names that run kernels on the CPU. No <<<>>>, no __shared__ arrays of dynamic size but
 * through CUDA_DYNAMIC_SHARED, no PTX but through cuda_ptx.h. */
#ifndef KERNELS_CUDA_CUDA_COMMON_H
#define KERNELS_CUDA_CUDA_COMMON_H

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <stdint.h>

/* name: an unsigned char array with the bytes of the launch, 16-byte aligned. */
#ifndef CUDA_DYNAMIC_SHARED
#define CUDA_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#endif

/* Launches kernel with those parameters (already of the kernel's own types). */
template <typename... Params>
static inline void cuda_launch(void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                               Params... params)
{
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream;
    cudaLaunchKernelEx(&config, kernel, params...);
}

#endif
