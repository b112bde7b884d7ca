/* The GPUs of this machine, and what CUDA's errors mean to the user. SPDX-License-Identifier: MIT */
#include "kernels/cuda/device.h"

#include <stdio.h>
#include <string.h>

/* Set by the build: "87 90 110". */
#ifndef CUDA_BUILD_ARCHITECTURES
#define CUDA_BUILD_ARCHITECTURES "unknown"
#endif

static void version_text(int version, char text[16])
{
    snprintf(text, 16, "%d.%d", version / 1000, version % 1000 / 10);
}

const char *gpu_build_text(void)
{
    static char text[128];
    char version[16];
    version_text(CUDART_VERSION, version);
    snprintf(text, sizeof text, "CUDA %s for sm %s", version, CUDA_BUILD_ARCHITECTURES);
    return text;
}

static int refuse_driver(struct error *err)
{
    char ours[16], theirs[16];
    int driver = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
        return error_set(err, "no NVIDIA driver on this machine (no libcuda.so.1): GPUs cannot be used");
    }
    version_text(CUDART_VERSION, ours);
    version_text(driver, theirs);
    return error_set(
        err,
        "the NVIDIA driver of this machine is for CUDA %s, this program was built with CUDA %s: update the driver (on "
        "a Jetson: JetPack), or build with a toolkit that is not newer than the driver",
        theirs, ours);
}

int cuda_refuse(cudaError_t status, const char *what, struct error *err)
{
    switch (status) {
    case cudaErrorInsufficientDriver: return refuse_driver(err);
    case cudaErrorNoDevice:
        return error_set(err, "no NVIDIA GPU found (if there is one: may this user open it? On a Jetson that takes the groups "
                              "video and render)");
    case cudaErrorSystemDriverMismatch:
        return error_set(err,
                         "the NVIDIA driver in the kernel and its library (libcuda.so.1) are of different versions: after an "
                         "update restart the machine; else take cuda-compat out of LD_LIBRARY_PATH");
    case cudaErrorCompatNotSupportedOnDevice:
        return error_set(err, "the CUDA compatibility package (cuda-compat) that is used here does not support this GPU: install "
                              "the one for this board, or take it out of LD_LIBRARY_PATH");
    default:
        return error_set(err, "%s: CUDA says %s (error %d: %s)", what, cudaGetErrorString(status), (int)status,
                         cudaGetErrorName(status));
    }
}

void cuda_check(cudaError_t status, const char *what)
{
    if (status != cudaSuccess) {
        fatal("the GPU failed while %s: %s (error %d: %s)", what, cudaGetErrorString(status), (int)status,
              cudaGetErrorName(status));
    }
}

/* MemAvailable, or 0. */
static uint64_t machine_available_bytes(void)
{
    char line[128];
    unsigned long long kib = 0;
    FILE *file = fopen("/proc/meminfo", "r");
    while (file && fgets(line, sizeof line, file) && sscanf(line, "MemAvailable: %llu kB", &kib) != 1) {
    }
    if (file) {
        fclose(file);
    }
    return (uint64_t)kib * 1024;
}

uint64_t cuda_free_bytes(const struct gpu_device *device)
{
    size_t free_bytes = 0, total = 0;
    uint64_t available = device->integrated ? machine_available_bytes() : 0;
    cudaMemGetInfo(&free_bytes, &total);
    return available ? available : free_bytes;
}

static int attribute(enum cudaDeviceAttr which, int device)
{
    int value = 0;
    return cudaDeviceGetAttribute(&value, which, device) == cudaSuccess ? value : 0;
}

static int describe(int index, struct gpu_device *out, struct error *err)
{
    cudaDeviceProp properties;
    cudaError_t status = cudaGetDeviceProperties(&properties, index);
    memset(out, 0, sizeof *out);
    if (status != cudaSuccess) {
        cudaGetLastError(); /* it is told otherwise */
        return cuda_refuse(status, "looking at a GPU", err);
    }
    snprintf(out->name, sizeof out->name, "%.*s", GPU_NAME - 1, properties.name);
    out->index = index;
    out->major = properties.major;
    out->minor = properties.minor;
    out->n_multiprocessors = properties.multiProcessorCount;
    out->integrated = properties.integrated;
    out->total_bytes = properties.totalGlobalMem;
    out->clock_khz = attribute(cudaDevAttrClockRate, index);
    out->memory_clock_khz = attribute(cudaDevAttrMemoryClockRate, index);
    out->memory_bits = attribute(cudaDevAttrGlobalMemoryBusWidth, index);
    return 0;
}

int gpu_list(struct gpu_device devices[GPU_MAX], int32_t *n, struct error *err)
{
    int count = 0;
    cudaError_t status = cudaGetDeviceCount(&count);
    *n = 0;
    if (status != cudaSuccess || count < 1) {
        return cuda_refuse(status != cudaSuccess ? status : cudaErrorNoDevice, "looking for GPUs", err);
    }
    for (int i = 0; i < count && *n < GPU_MAX; i++) {
        *n += describe(i, &devices[*n], err) == 0;
    }
    return *n > 0 ? 0 : -1;
}

int gpu_ask_memory(struct gpu_device *device, struct error *err)
{
    char text[2 * GPU_NAME];
    size_t free_bytes = 0, total = 0;
    device->free_bytes = device->integrated ? machine_available_bytes() : 0;
    if (device->free_bytes) {
        return 0;
    }
    cudaError_t status = cudaSetDevice(device->index); /* backends choose theirs whenever they begin something */
    status = status == cudaSuccess ? cudaMemGetInfo(&free_bytes, &total) : status;
    if (status != cudaSuccess) {
        cudaGetLastError(); /* it is told otherwise */
        gpu_text(device, text, sizeof text);
        return cuda_refuse(status, text, err);
    }
    device->free_bytes = free_bytes;
    return 0;
}

/* Any kernel will do to ask whether there is code for the GPU. */
__global__ static void probe_kernel(void)
{
}

int cuda_device_open(int32_t index, struct gpu_device *out, struct error *err)
{
    char text[2 * GPU_NAME];
    cudaFuncAttributes attributes;
    int count = 0;
    cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess) {
        return cuda_refuse(status, "looking for GPUs", err);
    }
    if (index < 0 || index >= count) {
        return error_set(err, "there is no GPU %d: this machine has %d", index, count);
    }
    if (describe(index, out, err)) {
        return -1;
    }
    status = cudaSetDevice(index);
    status = status == cudaSuccess ? cudaFuncGetAttributes(&attributes, (const void *)probe_kernel) : status;
    gpu_text(out, text, sizeof text);
    if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorInvalidDeviceFunction ||
        status == cudaErrorUnsupportedPtxVersion) {
        return error_set(err,
                         "this program has no code for %s, only for sm %s: build with "
                         "cmake -B build -DCUDA_ARCHITECTURES=%d%d",
                         text, CUDA_BUILD_ARCHITECTURES, out->major, out->minor);
    }
    return status == cudaSuccess ? 0 : cuda_refuse(status, text, err);
}
