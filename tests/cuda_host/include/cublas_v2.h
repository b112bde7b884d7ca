/* The part of cuBLAS that the backend uses, computed plainly on the CPU. SPDX-License-Identifier: MIT
 *
 * Source: cuBLAS Library User Guide 12.6 and 13.0. Semantics kept: matrices are stored by columns; another stream takes the
 * workspace away; alpha and beta are read when asked for (host) or when the product runs (device); with beta 0 what was in C is
 * not read. Stricter: a product without a workspace fails, as cuBLAS would allocate one. */
#ifndef TESTS_CUDA_HOST_CUBLAS_V2_H
#define TESTS_CUDA_HOST_CUBLAS_V2_H

#include "cuda_runtime_api.h"

enum cublasStatus_t {
    CUBLAS_STATUS_SUCCESS = 0,
    CUBLAS_STATUS_NOT_INITIALIZED = 1,
    CUBLAS_STATUS_ALLOC_FAILED = 3,
    CUBLAS_STATUS_INVALID_VALUE = 7,
    CUBLAS_STATUS_EXECUTION_FAILED = 13,
    CUBLAS_STATUS_NOT_SUPPORTED = 15
};
enum cublasOperation_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };
enum cublasPointerMode_t { CUBLAS_POINTER_MODE_HOST = 0, CUBLAS_POINTER_MODE_DEVICE = 1 };
enum cudaDataType { CUDA_R_32F = 0, CUDA_R_16F = 2, CUDA_R_16BF = 14 };
enum cublasComputeType_t { CUBLAS_COMPUTE_32F = 68 };
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT = -1 };
typedef struct cublasContext *cublasHandle_t;

/* As dlopen and dlsym: NULL where there is none such. CUDA_HOST_CUBLAS: 0: no library, 1 (standard): one of version 12, 2: one
 * that does not start, 3: one that lacks a function. */
void *cuda_host_cublas_library(const char *name);
void *cuda_host_cublas_function(void *library, const char *name);

#endif
