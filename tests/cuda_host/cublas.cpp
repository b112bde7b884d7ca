/* cuBLAS on the CPU: products as its manual has them, one sum after the other. SPDX-License-Identifier: MIT */
#include "cublas_v2.h"

#include "cuda_fp16.h"
#include "streams.h"

#include <string.h>

using namespace cuda_host;

struct cublasContext {
    cudaStream_t stream;
    void *workspace;
    cublasPointerMode_t mode;
};

namespace
{
struct matrix {
    const void *at;
    cudaDataType type;
    int rows, cols, apart; /* by columns, `apart` elements apart */
    bool turned;

    float element(int row, int col) const
    {
        size_t i = turned ? (size_t)row * (size_t)apart + (size_t)col : (size_t)col * (size_t)apart + (size_t)row;
        uint32_t bits = type == CUDA_R_32F ? static_cast<const uint32_t *>(at)[i] : static_cast<const uint16_t *>(at)[i];
        return type == CUDA_R_16F ? __half2float(__ushort_as_half((unsigned short)bits))
                                  : __uint_as_float(type == CUDA_R_16BF ? bits << 16 : bits);
    }
    /* In device memory, as far as it goes. */
    bool is_there() const
    {
        int stored_rows = turned ? cols : rows, stored_cols = turned ? rows : cols;
        size_t size = type == CUDA_R_32F ? 4 : 2, n = (size_t)(stored_cols - 1) * (size_t)apart + (size_t)stored_rows;
        bool fits;
        return apart >= stored_rows && memory_of(at, n * size, &fits) == cudaMemoryTypeDevice && fits;
    }
};

struct product {
    matrix a, b, c;
    const float *alpha, *beta; /* device */
    float host_alpha, host_beta;
    bool on_device;

    void run() const
    {
        float by = on_device ? *alpha : host_alpha, keeps = on_device ? *beta : host_beta;
        for (int col = 0; col < c.cols; col++) {
            for (int row = 0; row < c.rows; row++) {
                float sum = 0, *to = (float *)const_cast<void *>(c.at) + (size_t)col * (size_t)c.apart + row;
                for (int k = 0; k < a.cols; k++) {
                    sum += a.element(row, k) * b.element(k, col);
                }
                *to = keeps != 0 ? by * sum + keeps * *to : by * sum;
            }
        }
    }
};

cublasStatus_t create(cublasHandle_t *handle)
{
    *handle = nullptr;
    if (n_devices() == 0 || setting("CUDA_HOST_CUBLAS", 1) == 2) {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }
    *handle = new cublasContext{nullptr, nullptr, CUBLAS_POINTER_MODE_HOST};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t destroy(cublasHandle_t handle)
{
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t set_stream(cublasHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    handle->workspace = nullptr;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t set_workspace(cublasHandle_t handle, void *workspace, size_t bytes)
{
    bool fits;
    if (memory_of(workspace, bytes, &fits) != cudaMemoryTypeDevice || !fits || (uintptr_t)workspace % 256 != 0) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    handle->workspace = workspace;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t set_pointer_mode(cublasHandle_t handle, cublasPointerMode_t mode)
{
    handle->mode = mode;
    return CUBLAS_STATUS_SUCCESS;
}

bool is_on_device(const void *number)
{
    bool fits;
    return memory_of(number, sizeof(float), &fits) == cudaMemoryTypeDevice && fits;
}

cublasStatus_t gemm(cublasHandle_t handle, cublasOperation_t turn_a, cublasOperation_t turn_b, int m, int n, int k,
                    const void *alpha, const void *a, cudaDataType a_type, int a_apart, const void *b, cudaDataType b_type,
                    int b_apart, const void *beta, void *c, cudaDataType c_type, int c_apart, cublasComputeType_t compute,
                    cublasGemmAlgo_t)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    product p = {{a, a_type, m, k, a_apart, turn_a == CUBLAS_OP_T},
                 {b, b_type, k, n, b_apart, turn_b == CUBLAS_OP_T},
                 {c, c_type, m, n, c_apart, false},
                 static_cast<const float *>(alpha),
                 static_cast<const float *>(beta),
                 0,
                 0,
                 handle->mode == CUBLAS_POINTER_MODE_DEVICE};
    if (a_type != b_type || c_type != CUDA_R_32F || compute != CUBLAS_COMPUTE_32F) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    if (m < 1 || n < 1 || k < 1 || !p.a.is_there() || !p.b.is_there() || !p.c.is_there() || is_on_device(alpha) != p.on_device ||
        is_on_device(beta) != p.on_device) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (!handle->workspace) {
        return CUBLAS_STATUS_ALLOC_FAILED;
    }
    if (!p.on_device) {
        p.host_alpha = *p.alpha;
        p.host_beta = *p.beta;
    }
    return enqueue(handle->stream, "product", [p] { p.run(); }) == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                                                                               : CUBLAS_STATUS_EXECUTION_FAILED;
}

const struct {
    const char *name;
    void *function;
} functions[] = {{"cublasCreate_v2", (void *)create},
                 {"cublasDestroy_v2", (void *)destroy},
                 {"cublasSetStream_v2", (void *)set_stream},
                 {"cublasSetWorkspace_v2", (void *)set_workspace},
                 {"cublasSetPointerMode_v2", (void *)set_pointer_mode},
                 {"cublasGemmEx", (void *)gemm}};
} // namespace

void *cuda_host_cublas_library(const char *name)
{
    return setting("CUDA_HOST_CUBLAS", 1) != 0 && strcmp(name, "libcublas.so.12") == 0 ? (void *)functions : nullptr;
}

void *cuda_host_cublas_function(void *, const char *name)
{
    for (auto &f : functions) {
        if (strcmp(f.name, name) == 0 && (setting("CUDA_HOST_CUBLAS", 1) != 3 || f.function != (void *)gemm)) {
            return f.function;
        }
    }
    return nullptr;
}
