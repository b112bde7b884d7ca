/* Device memory and pinned host memory. SPDX-License-Identifier: MIT
 *
 * Every allocation has pages of its own and ends at a closed page. Device memory is closed but while operations of streams run,
 * so host code that touches it dies with a line that says so; it begins as bytes of 0xFF (no number, as floats). What was freed
 * stays closed for good. */
#include "streams.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>

namespace cuda_host
{
enum { PAGE = 4096, ALIGNMENT = 256, UNWRITTEN = 0xFF, GUARD_BYTE = 0xA9 };
static const size_t fill_most = (size_t)64 << 20;

struct allocation {
    cudaMemoryType type;
    int device;
    size_t bytes, mapped; /* mapped: with the closed page, from the page of the start */
};
static auto &allocations = *new std::map<uintptr_t, allocation>; /* by start */
static size_t used[64];                                          /* by device */
static int n_open;
static bool closed = true; /* device memory, for everybody */

static uintptr_t map_start(uintptr_t start)
{
    return start / PAGE * PAGE;
}

/* The allocation whose pages have that address. */
static const std::pair<const uintptr_t, allocation> *owner(uintptr_t at)
{
    auto next = allocations.upper_bound(at);
    if (next != allocations.end() && at >= map_start(next->first)) {
        return &*next;
    }
    if (next == allocations.begin()) {
        return nullptr;
    }
    auto &last = *std::prev(next);
    return at < map_start(last.first) + last.second.mapped ? &last : nullptr;
}

static void protect_all(int protection)
{
    for (auto &[start, a] : allocations) {
        if (a.type == cudaMemoryTypeDevice) {
            mprotect((void *)map_start(start), a.mapped - PAGE, protection);
        }
    }
}

open_memory::open_memory()
{
    if (n_open++ == 0 && closed) {
        closed = false;
        protect_all(PROT_READ | PROT_WRITE);
    }
}

/* Many allocations are closed now and then only: it takes a system call for each. */
open_memory::~open_memory()
{
    if (--n_open == 0 && draw(1 + (uint32_t)allocations.size() / 16) == 0) {
        closed = true;
        protect_all(PROT_NONE);
    }
}

/* -- a touch of what is closed -- */

static struct sigaction before;

static void on_fault(int, siginfo_t *info, void *)
{
    auto *found = owner((uintptr_t)info->si_addr);
    if (found) {
        char text[256];
        int n = snprintf(text, sizeof text, "cuda_host: %s touches byte %lld of an allocation of %zu bytes of %s memory\n",
                         n_open ? "a kernel or copy" : "host code", (long long)((uintptr_t)info->si_addr - found->first),
                         found->second.bytes, found->second.type == cudaMemoryTypeDevice ? "device" : "pinned");
        if (write(STDERR_FILENO, text, (size_t)n) < 0) {
            abort();
        }
    }
    sigaction(SIGSEGV, &before, nullptr); /* it faults again, and goes the usual way */
}

static void watch_faults()
{
    static bool watching;
    if (!watching) {
        watching = true;
        struct sigaction action = {};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigaction(SIGSEGV, &action, &before);
    }
}

/* -- allocations -- */

static cudaError_t allocate(void **out, size_t bytes, cudaMemoryType type)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    int device = current_device();
    *out = nullptr;
    if (n_devices() == 0) {
        return fail(cudaErrorNoDevice);
    }
    cudaError_t error = refuse_in_capture();
    if (bytes == 0 || error != cudaSuccess) {
        return error;
    }
    size_t limit = setting("CUDA_HOST_MEMORY", (uint64_t)64 << 30);
    bool counts = type != cudaMemoryTypeHost;
    if (counts && (bytes > limit || used[device] > limit - bytes)) {
        return fail(cudaErrorMemoryAllocation);
    }
    size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, mapped = (rounded + PAGE - 1) / PAGE * PAGE + PAGE;
    void *memory = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, mapped - PAGE, PROT_READ | PROT_WRITE) != 0) {
        return fail(cudaErrorMemoryAllocation);
    }
    watch_faults();
    madvise(memory, mapped, MADV_HUGEPAGE); /* closing it takes less time */
    unsigned char *start = (unsigned char *)memory + mapped - PAGE - rounded;
    memset(start, UNWRITTEN, std::min(bytes, fill_most));
    memset(start + bytes, GUARD_BYTE, rounded - bytes);
    ASAN_POISON_MEMORY_REGION(memory, (size_t)(start - (unsigned char *)memory));
    ASAN_POISON_MEMORY_REGION(start + bytes, rounded - bytes);
    allocations[(uintptr_t)start] = {type, device, bytes, mapped};
    used[device] += counts ? bytes : 0;
    if (type == cudaMemoryTypeDevice && closed) {
        mprotect(memory, mapped - PAGE, PROT_NONE);
    }
    *out = start;
    return cudaSuccess;
}

static void check_guard(const unsigned char *start, const allocation &a)
{
    unsigned char *end = (unsigned char *)map_start((uintptr_t)start) + a.mapped - PAGE;
    ASAN_UNPOISON_MEMORY_REGION(start + a.bytes, (size_t)(end - start) - a.bytes);
    for (const unsigned char *at = start + a.bytes; at < end; at++) {
        if (*at != GUARD_BYTE) {
            fprintf(stderr, "cuda_host: byte %zu of an allocation of %zu bytes was written\n", (size_t)(at - start), a.bytes);
            abort();
        }
    }
}

static cudaError_t release(void *at, bool host)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    auto found = allocations.find((uintptr_t)at);
    if (!at) {
        return cudaSuccess;
    }
    if (found == allocations.end() || (found->second.type == cudaMemoryTypeHost) != host) {
        return fail(cudaErrorInvalidValue);
    }
    cudaError_t error = finish_all(-1);
    if (error != cudaSuccess) {
        return error;
    }
    {
        open_memory open;
        check_guard((const unsigned char *)at, found->second);
    }
    void *memory = (void *)map_start(found->first);
    used[found->second.device] -= host ? 0 : found->second.bytes;
    mmap(memory, found->second.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    allocations.erase(found);
    return cudaSuccess;
}

cudaMemoryType memory_of(const void *at, size_t bytes, bool *fits)
{
    uintptr_t first = (uintptr_t)at;
    auto *found = owner(first);
    *fits = true;
    if (!found) {
        return cudaMemoryTypeUnregistered;
    }
    *fits = first >= found->first && first - found->first <= found->second.bytes &&
            bytes <= found->second.bytes - (first - found->first);
    return found->second.type;
}

range allocation_of(const void *at)
{
    auto *found = owner((uintptr_t)at);
    return {reinterpret_cast<unsigned char *>(found->first), found->second.bytes};
}

void check_parameter(const void *kernel, int index, const void *at)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    bool fits;
    if (at && (memory_of(at, 0, &fits) == cudaMemoryTypeUnregistered || !fits)) {
        fprintf(stderr, "cuda_host: %s: parameter %d, %p, points to nothing that a device can reach\n",
                kernel_name(kernel).c_str(), index, at);
        abort();
    }
}
} // namespace cuda_host

using namespace cuda_host;

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    return allocate(out, bytes, cudaMemoryTypeDevice);
}

cudaError_t cudaMallocManaged(void **out, size_t bytes, unsigned int)
{
    return allocate(out, bytes, cudaMemoryTypeManaged);
}

cudaError_t cudaMallocHost(void **out, size_t bytes)
{
    return allocate(out, bytes, cudaMemoryTypeHost);
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned int)
{
    return allocate(out, bytes, cudaMemoryTypeHost);
}

cudaError_t cudaFree(void *at)
{
    return release(at, false);
}

cudaError_t cudaFreeHost(void *at)
{
    return release(at, true);
}

cudaError_t cudaHostGetDevicePointer(void **device, void *host, unsigned int)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    bool fits;
    if (memory_of(host, 0, &fits) != cudaMemoryTypeHost) {
        return fail(cudaErrorInvalidValue);
    }
    *device = host;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (n_devices() == 0) {
        return fail(cudaErrorNoDevice);
    }
    *total = setting("CUDA_HOST_MEMORY", (uint64_t)64 << 30);
    *free = *total - used[current_device()];
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *attributes, const void *at)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    bool fits;
    attributes->type = memory_of(at, 0, &fits);
    attributes->device = attributes->type == cudaMemoryTypeUnregistered ? -2 : owner((uintptr_t)at)->second.device;
    attributes->devicePointer = attributes->type == cudaMemoryTypeUnregistered ? nullptr : const_cast<void *>(at);
    attributes->hostPointer = attributes->type == cudaMemoryTypeDevice ? nullptr : const_cast<void *>(at);
    return cudaSuccess;
}
