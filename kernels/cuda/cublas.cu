/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/cublas.h"

#if CUDA_HAS_CUBLAS
#ifndef CUDA_HOST /* set by tests/cuda_host, which has a library of its own */
#include <dlfcn.h>

static void *open_library(const char *name)
{
    return dlopen(name, RTLD_NOW | RTLD_LOCAL);
}

static void *find_function(void *library, const char *name)
{
    return dlsym(library, name);
}
#else
static void *open_library(const char *name)
{
    return cuda_host_cublas_library(name);
}

static void *find_function(void *library, const char *name)
{
    return cuda_host_cublas_function(library, name);
}
#endif

/* Where the system looks, then where the toolkit is installed. What is used of the three versions is the same. */
static const char *const libraries[] = {"libcublas.so.13",
                                        "libcublas.so.12",
                                        "libcublas.so.11",
                                        "/usr/local/cuda/lib64/libcublas.so.13",
                                        "/usr/local/cuda/lib64/libcublas.so.12",
                                        "/usr/local/cuda/lib64/libcublas.so.11"};

template <typename Function> static int find(void *library, const char *name, Function *out)
{
    *out = (Function)find_function(library, name);
    return *out != NULL;
}

/* The first status that is none of success. In this order: another stream takes the workspace away. */
static cublasStatus_t start(void *library, struct cublas *out, cudaStream_t stream, void *workspace, size_t workspace_bytes)
{
    cublasStatus_t (*create)(cublasHandle_t *), (*set_stream)(cublasHandle_t, cudaStream_t);
    cublasStatus_t (*set_workspace)(cublasHandle_t, void *, size_t);
    *out = {};
    if (!find(library, "cublasCreate_v2", &create) || !find(library, "cublasSetStream_v2", &set_stream) ||
        !find(library, "cublasSetWorkspace_v2", &set_workspace) || !find(library, "cublasDestroy_v2", &out->destroy) ||
        !find(library, "cublasSetPointerMode_v2", &out->set_pointer_mode) || !find(library, "cublasGemmEx", &out->gemm)) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    cublasStatus_t status = create(&out->handle);
    if (status != CUBLAS_STATUS_SUCCESS) {
        out->handle = NULL;
        return status;
    }
    status = set_stream(out->handle, stream);
    status = status == CUBLAS_STATUS_SUCCESS ? set_workspace(out->handle, workspace, workspace_bytes) : status;
    if (status != CUBLAS_STATUS_SUCCESS) {
        out->destroy(out->handle);
        out->handle = NULL;
    }
    return status;
}

int cublas_open(struct cublas *out, cudaStream_t stream, void *workspace, size_t workspace_bytes, struct error *err)
{
    int found = 0;
    for (const char *name : libraries) {
        void *library = open_library(name);
        cublasStatus_t status = library ? start(library, out, stream, workspace, workspace_bytes) : CUBLAS_STATUS_SUCCESS;
        if (library && status == CUBLAS_STATUS_SUCCESS) {
            return 0;
        }
        if (library && !found) {
            found = 1;
            error_set(err, "--gpu-math fast needs cuBLAS: %s was found, but does not start (status %d)", name, (int)status);
        }
    }
    return found
               ? -1
               : error_set(err, "--gpu-math fast needs cuBLAS: no libcublas.so.13, .12 or .11 was found (it comes with the CUDA "
                                "toolkit, on a Jetson with nvidia-jetpack)");
}
#endif
