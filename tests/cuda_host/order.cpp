/* The order in which things happen that CUDA leaves open, and settings. SPDX-License-Identifier: MIT */
#include "runtime.h"

#include <stdio.h>
#include <stdlib.h>

namespace cuda_host
{
std::recursive_mutex mutex;

static uint64_t state;
static bool seeded;

uint64_t setting(const char *name, uint64_t standard)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, nullptr, 0) : standard;
}

/* Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014 (splitmix64). */
uint32_t draw(uint32_t n)
{
    if (!seeded) {
        cuda_host_seed(setting("CUDA_HOST_SEED", 1));
    }
    uint64_t z = state += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return (uint32_t)(((z ^ z >> 31) >> 32) * n >> 32);
}

void trap(const char *reason)
{
    fprintf(stderr, "cuda_host: kernel stopped: %s; block (%u, %u, %u), thread (%u, %u, %u)\n", reason, blockIdx.x, blockIdx.y,
            blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
    abort();
}
} // namespace cuda_host

void cuda_host_seed(uint64_t seed)
{
    std::lock_guard<std::recursive_mutex> lock(cuda_host::mutex);
    cuda_host::state = seed;
    cuda_host::seeded = true;
}
