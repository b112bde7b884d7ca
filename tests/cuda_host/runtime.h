/* What the parts of the runtime know of each other. SPDX-License-Identifier: MIT */
#ifndef TESTS_CUDA_HOST_RUNTIME_H
#define TESTS_CUDA_HOST_RUNTIME_H

#include "cuda_runtime.h"

#include <algorithm>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define CUDA_HOST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CUDA_HOST_ASAN 1
#endif
#endif
#ifdef CUDA_HOST_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes)
#define __asan_region_is_poisoned(at, bytes) nullptr
#endif

namespace cuda_host
{
enum { WARP = 32, MAX_THREADS = 1024, SHARED_DEFAULT = 48 << 10, SHARED_MOST = 163 << 10 /* of a block on sm_87 */ };

/* One mutex for the whole runtime: launches, streams, memory. */
extern std::recursive_mutex mutex;

/* -- order.cpp -- */
uint32_t draw(uint32_t n); /* [0, n) */
uint64_t setting(const char *name, uint64_t standard);

/* -- symbols.cpp -- */
struct range {
    unsigned char *start;
    size_t bytes;
};
std::string kernel_name(const void *kernel);
/* Static shared memory of that kernel. */
const std::vector<range> &kernel_shared(const void *kernel);

/* -- grid.cpp -- */
/* parameters: what thread is called with, of that size. */
void run_grid(const cudaLaunchConfig_t &config, const void *kernel, void (*thread)(const void *), const void *parameters,
              size_t bytes);
int running_thread(); /* its place in the block */
/* A line about the kernel, the block and the thread (-1: none); stop ends the program with it. */
void say(const char *what, int thread);
[[noreturn]] void stop(const char *what, int thread);

/* -- races.cpp: nothing happens unless some source was compiled for it (llm_cuda_host_library: RACES) -- */
void races_begin(const std::vector<range> &shared, range dynamic, range parameters, size_t n_threads);
void races_order_all();
void races_order_warp(int first_thread, uint32_t mask);
void races_arrive(int barrier, int thread);
void races_pass(int barrier, int thread); /* before races_open */
void races_open(int barrier);
/* code: who does it, an address in the program. */
void races_access(const void *at, size_t bytes, bool writes, const void *code);

/* -- memory.cpp -- */
/* While device memory is open; nests. */
struct open_memory {
    open_memory();
    ~open_memory();
};
/* The memory that [at, at + bytes) lies in: Unregistered if it is none of ours; *fits = 0 if it goes beyond. */
cudaMemoryType memory_of(const void *at, size_t bytes, bool *fits);
range allocation_of(const void *at); /* which is ours */

/* -- device.cpp -- */
cudaError_t fail(cudaError_t error); /* keeps it for cudaGetLastError, returns it */
int current_device();
int n_devices();

/* -- streams.cpp -- */
/* Runs everything that was asked for on the device, -1: on all. An error during a capture. */
cudaError_t finish_all(int device);
} // namespace cuda_host

#endif
