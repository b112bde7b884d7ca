/* Launches of kernels, copies and fills: their checks, and what they do when their turn comes. SPDX-License-Identifier: MIT */
#include "streams.h"

#include <string.h>

#include <map>

namespace cuda_host
{
static auto &shared_limits = *new std::map<const void *, size_t>; /* of dynamic shared memory, where it was raised */

static size_t shared_limit(const void *kernel)
{
    auto found = shared_limits.find(kernel);
    return found == shared_limits.end() ? (size_t)SHARED_DEFAULT : found->second;
}

static size_t static_shared(const void *kernel)
{
    size_t bytes = 0;
    for (const range &r : kernel_shared(kernel)) {
        bytes += r.bytes;
    }
    return bytes;
}

cudaError_t launch(const cudaLaunchConfig_t &config, const void *kernel, void (*thread)(const void *), const void *parameters,
                   size_t bytes)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    const dim3 &g = config.gridDim, &b = config.blockDim;
    uint64_t n_threads = (uint64_t)b.x * b.y * b.z;
    if (n_threads == 0 || n_threads > MAX_THREADS || b.x > MAX_THREADS || b.y > MAX_THREADS || b.z > 64 || g.x == 0 || g.y == 0 ||
        g.z == 0 || g.x > 0x7FFFFFFF || g.y > 65535 || g.z > 65535) {
        return fail(cudaErrorInvalidConfiguration);
    }
    cudaStream_t stream = n_devices() > 0 ? find_stream(config.stream) : nullptr;
    if (config.dynamicSmemBytes > shared_limit(kernel)) {
        return fail(cudaErrorInvalidValue);
    }
    if (stream && stream->device != current_device()) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    cudaLaunchConfig_t own = config;
    auto first = static_cast<const char *>(parameters);
    auto copied = std::make_shared<std::vector<char>>(first, first + bytes);
    return enqueue(config.stream, "kernel", [=] { run_grid(own, kernel, thread, copied->data(), bytes); });
}

cudaError_t function_attribute(const void *kernel, cudaFuncAttribute attribute, int value)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (n_devices() == 0) {
        return fail(cudaErrorNoDevice);
    }
    if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize) {
        if (value < 0 || (size_t)value + static_shared(kernel) > SHARED_MOST) {
            return fail(cudaErrorInvalidValue);
        }
        shared_limits[kernel] = (size_t)value;
    }
    return cudaSuccess;
}

cudaError_t function_attributes(cudaFuncAttributes *attributes, const void *kernel)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (n_devices() == 0) {
        return fail(cudaErrorNoDevice);
    }
    *attributes = {};
    attributes->sharedSizeBytes = static_shared(kernel);
    attributes->maxThreadsPerBlock = MAX_THREADS;
    attributes->numRegs = 64;
    attributes->ptxVersion = attributes->binaryVersion = 87;
    attributes->maxDynamicSharedSizeBytes = (int)shared_limit(kernel);
    return cudaSuccess;
}

cudaError_t occupancy(int *n_blocks, int n_threads, size_t shared_bytes)
{
    if (n_threads <= 0 || n_threads > MAX_THREADS || shared_bytes > SHARED_MOST) {
        return fail(cudaErrorInvalidValue);
    }
    *n_blocks = std::min({1536 / n_threads, 16, (int)((164 << 10) / (shared_bytes + 1024))});
    return cudaSuccess;
}

/* -- copies -- */

struct area {
    char *at;
    size_t pitch;
};

static void copy_rows(area to, const char *from, size_t from_pitch, size_t width, size_t height)
{
    for (size_t row = 0; row < height; row++) {
        memcpy(to.at + row * to.pitch, from + row * from_pitch, width);
    }
}

static bool kind_fits(cudaMemcpyKind kind, cudaMemoryType to, cudaMemoryType from)
{
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    return kind == cudaMemcpyDefault || (to != (to_device ? cudaMemoryTypeUnregistered : cudaMemoryTypeDevice) &&
                                         from != (from_device ? cudaMemoryTypeUnregistered : cudaMemoryTypeDevice));
}

static cudaError_t copy(area to, const char *from, size_t from_pitch, size_t width, size_t height, cudaMemcpyKind kind,
                        cudaStream_t handle)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (width == 0 || height == 0) {
        return cudaSuccess;
    }
    bool to_fits, from_fits;
    cudaMemoryType to_type = memory_of(to.at, (height - 1) * to.pitch + width, &to_fits);
    cudaMemoryType from_type = memory_of(from, (height - 1) * from_pitch + width, &from_fits);
    if (!to_fits || !from_fits || !kind_fits(kind, to_type, from_type) || to.pitch < width || from_pitch < width) {
        return fail(cudaErrorInvalidValue);
    }
    cudaStream_t stream = find_stream(handle);
    bool captured = stream && stream->capture;
    if (from_type == cudaMemoryTypeUnregistered && !captured) {
        /* Pageable memory is read before the call returns. */
        auto staged = std::make_shared<std::vector<char>>(width * height);
        copy_rows({staged->data(), width}, from, from_pitch, width, height);
        cudaError_t error = enqueue(handle, "copy", [=] { copy_rows(to, staged->data(), width, width, height); });
        return error == cudaSuccess && to_type == cudaMemoryTypeUnregistered ? finish(handle) : error;
    }
    cudaError_t error = enqueue(handle, "copy", [=] { copy_rows(to, from, from_pitch, width, height); });
    /* Pageable memory is written before the call returns. */
    return error == cudaSuccess && to_type == cudaMemoryTypeUnregistered && !captured ? finish(handle) : error;
}
} // namespace cuda_host

using namespace cuda_host;

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream)
{
    return copy({static_cast<char *>(to), bytes}, static_cast<const char *>(from), bytes, bytes, 1, kind, stream);
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream)
{
    return copy({static_cast<char *>(to), to_pitch}, static_cast<const char *>(from), from_pitch, width, height, kind, stream);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    cudaError_t error = refuse_in_capture();
    if (error == cudaSuccess) {
        error = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
    }
    return error == cudaSuccess ? finish(nullptr) : error;
}

cudaError_t cudaMemsetAsync(void *at, int value, size_t bytes, cudaStream_t stream)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    bool fits;
    if (bytes == 0) {
        return cudaSuccess;
    }
    if (memory_of(at, bytes, &fits) == cudaMemoryTypeUnregistered || !fits) {
        return fail(cudaErrorInvalidValue);
    }
    return enqueue(stream, "fill", [=] { memset(at, value, bytes); });
}

cudaError_t cudaMemset(void *at, int value, size_t bytes)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    cudaError_t error = refuse_in_capture();
    return error == cudaSuccess ? cudaMemsetAsync(at, value, bytes, nullptr) : error;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *data)
{
    return enqueue(stream, "host", [=] { function(data); });
}
