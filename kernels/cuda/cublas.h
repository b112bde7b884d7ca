/* cuBLAS, found when it is asked for: a program linked with it would not start where it is missing. SPDX-License-Identifier: MIT
 */
#ifndef KERNELS_CUDA_CUBLAS_H
#define KERNELS_CUDA_CUBLAS_H

#include "kernels/cuda/cuda_common.h"
#include "src/core/error.h"

#if defined(__has_include) && __has_include(<cublas_v2.h>)
#define CUDA_HAS_CUBLAS 1
#include <cublas_v2.h>

/* A handle and the functions of its library, called as the manual says. */
struct cublas {
    cublasHandle_t handle;
    cublasStatus_t (*destroy)(cublasHandle_t);
    cublasStatus_t (*set_pointer_mode)(cublasHandle_t, cublasPointerMode_t);
    cublasStatus_t (*gemm)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int m, int n, int k, const void *alpha,
                           const void *a, cudaDataType, int lda, const void *b, cudaDataType, int ldb, const void *beta, void *c,
                           cudaDataType, int ldc, cublasComputeType_t, cublasGemmAlgo_t);
};

/* A handle on that stream with that workspace, so that it allocates nothing later. The library stays loaded when the handle goes.
 */
int cublas_open(struct cublas *out, cudaStream_t stream, void *workspace, size_t workspace_bytes, struct error *err);

#else
#define CUDA_HAS_CUBLAS 0
#endif
#endif
