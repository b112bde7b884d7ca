/* Devices, their properties, errors. SPDX-License-Identifier: MIT
 *
 * The device is a Jetson AGX Orin (sm_87) in what a program may ask: kernels then choose the shapes that they would choose there.
 */
#include "runtime.h"

#include <stdio.h>
#include <string.h>

namespace cuda_host
{
static thread_local int device;
static thread_local cudaError_t last_error;

cudaError_t fail(cudaError_t error)
{
    last_error = error;
    return error;
}

int current_device()
{
    return device;
}

int n_devices()
{
    return (int)setting("CUDA_HOST_DEVICES", 1);
}

struct error_text {
    cudaError_t error;
    const char *name, *text;
};
static const error_text error_texts[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
};

static const error_text *text_of(cudaError_t error)
{
    for (const error_text &known : error_texts) {
        if (known.error == error) {
            return &known;
        }
    }
    static const error_text unknown = {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"};
    return &unknown;
}

struct attribute {
    cudaDeviceAttr name;
    int value;
};
static const attribute attributes[] = {
    {cudaDevAttrMaxThreadsPerBlock, MAX_THREADS},
    {cudaDevAttrMaxSharedMemoryPerBlock, SHARED_DEFAULT},
    {cudaDevAttrWarpSize, WARP},
    {cudaDevAttrClockRate, 1300000},
    {cudaDevAttrMultiProcessorCount, 16},
    {cudaDevAttrCanMapHostMemory, 1},
    {cudaDevAttrMemoryClockRate, 3200000},
    {cudaDevAttrGlobalMemoryBusWidth, 256},
    {cudaDevAttrL2CacheSize, 4 << 20},
    {cudaDevAttrMaxThreadsPerMultiProcessor, 1536},
    {cudaDevAttrUnifiedAddressing, 1},
    {cudaDevAttrMaxSharedMemoryPerMultiprocessor, 164 << 10},
    {cudaDevAttrMaxRegistersPerMultiprocessor, 65536},
    {cudaDevAttrManagedMemory, 1},
    {cudaDevAttrPageableMemoryAccess, 0},
    {cudaDevAttrConcurrentManagedAccess, 0},
    {cudaDevAttrMaxSharedMemoryPerBlockOptin, SHARED_MOST},
    {cudaDevAttrPageableMemoryAccessUsesHostPageTables, 0},
};

static int value_of(cudaDeviceAttr name)
{
    if (name == cudaDevAttrComputeCapabilityMajor || name == cudaDevAttrComputeCapabilityMinor) {
        int sm = (int)setting("CUDA_HOST_SM", 87);
        return name == cudaDevAttrComputeCapabilityMajor ? sm / 10 : sm % 10;
    }
    if (name == cudaDevAttrIntegrated) {
        return setting("CUDA_HOST_INTEGRATED", 1) != 0;
    }
    for (const attribute &known : attributes) {
        if (known.name == name) {
            return known.value;
        }
    }
    return -1;
}
} // namespace cuda_host

using namespace cuda_host;

const char *cudaGetErrorName(cudaError_t error)
{
    return text_of(error)->name;
}

const char *cudaGetErrorString(cudaError_t error)
{
    return text_of(error)->text;
}

cudaError_t cudaPeekAtLastError()
{
    return last_error;
}

cudaError_t cudaGetLastError()
{
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

static cudaError_t check_device(int number)
{
    if (n_devices() == 0) {
        return fail(cudaErrorNoDevice);
    }
    return number >= 0 && number < n_devices() ? cudaSuccess : fail(cudaErrorInvalidDevice);
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = n_devices();
    return *count > 0 ? cudaSuccess : fail(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int number)
{
    cudaError_t error = check_device(number);
    if (error == cudaSuccess) {
        device = number;
    }
    return error;
}

cudaError_t cudaGetDevice(int *number)
{
    *number = device;
    return check_device(device);
}

cudaError_t cudaSetDeviceFlags(unsigned int)
{
    return check_device(device);
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = n_devices() > 0 ? CUDART_VERSION : 0;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr name, int number)
{
    cudaError_t error = check_device(number);
    if (error != cudaSuccess) {
        return error;
    }
    *value = value_of(name);
    return *value < 0 ? fail(cudaErrorInvalidValue) : cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *prop, int number)
{
    cudaError_t error = check_device(number);
    if (error != cudaSuccess) {
        return error;
    }
    if (setting("CUDA_HOST_BROKEN", UINT64_MAX) == (uint64_t)number) {
        return fail(cudaErrorUnknown);
    }
    *prop = {};
    snprintf(prop->name, sizeof prop->name, "cuda_host");
    prop->totalGlobalMem = setting("CUDA_HOST_MEMORY", (uint64_t)64 << 30);
    prop->sharedMemPerBlock = SHARED_DEFAULT;
    prop->sharedMemPerBlockOptin = SHARED_MOST;
    prop->sharedMemPerMultiprocessor = (size_t)value_of(cudaDevAttrMaxSharedMemoryPerMultiprocessor);
    prop->reservedSharedMemPerBlock = 1024;
    prop->regsPerBlock = prop->regsPerMultiprocessor = value_of(cudaDevAttrMaxRegistersPerMultiprocessor);
    prop->warpSize = WARP;
    prop->maxThreadsPerBlock = MAX_THREADS;
    prop->maxThreadsDim[0] = prop->maxThreadsDim[1] = MAX_THREADS;
    prop->maxThreadsDim[2] = 64;
    prop->maxGridSize[0] = 0x7FFFFFFF;
    prop->maxGridSize[1] = prop->maxGridSize[2] = 65535;
    prop->major = value_of(cudaDevAttrComputeCapabilityMajor);
    prop->minor = value_of(cudaDevAttrComputeCapabilityMinor);
    prop->multiProcessorCount = value_of(cudaDevAttrMultiProcessorCount);
    prop->maxThreadsPerMultiProcessor = value_of(cudaDevAttrMaxThreadsPerMultiProcessor);
    prop->integrated = value_of(cudaDevAttrIntegrated);
    prop->canMapHostMemory = prop->unifiedAddressing = prop->managedMemory = prop->concurrentKernels = 1;
    prop->l2CacheSize = value_of(cudaDevAttrL2CacheSize);
    prop->memoryBusWidth = value_of(cudaDevAttrGlobalMemoryBusWidth);
    prop->asyncEngineCount = 1;
    prop->pciBusID = number;
    return cudaSuccess;
}
