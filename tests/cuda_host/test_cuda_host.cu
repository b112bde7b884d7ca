/* The runtime that runs CUDA kernels on the CPU finds what it is there to find. SPDX-License-Identifier: MIT */
#include "kernels/cuda/cuda_ptx.h"
#include "tests/check.h"

enum { THREADS = 128, BLOCKS = 40 };

/* Sums of each block's part of in; grid: any, block: THREADS. */
template <bool WITH_BARRIERS> static __global__ void block_sums(const int32_t *in, int32_t *out)
{
    __shared__ int32_t sums[THREADS];
    sums[threadIdx.x] = in[blockIdx.x * THREADS + threadIdx.x];
    for (unsigned int half_n = THREADS / 2; half_n > 0; half_n /= 2) {
        if (WITH_BARRIERS) {
            __syncthreads();
        }
        if (threadIdx.x < half_n) {
            sums[threadIdx.x] += sums[threadIdx.x + half_n];
        }
    }
    if (threadIdx.x == 0) {
        out[blockIdx.x] = sums[0];
    }
}

/* Blocks whose sum is wrong. */
static int wrong_sums(void (*kernel)(const int32_t *, int32_t *))
{
    int32_t in[BLOCKS * THREADS], sums[BLOCKS], *device_in, *device_out, n_wrong = 0;
    for (int i = 0; i < BLOCKS * THREADS; i++) {
        in[i] = i * i % 1009;
    }
    cudaMalloc(&device_in, sizeof in);
    cudaMalloc(&device_out, sizeof sums);
    cudaMemcpy(device_in, in, sizeof in, cudaMemcpyHostToDevice);
    cuda_launch<const int32_t *, int32_t *>(kernel, BLOCKS, THREADS, 0, nullptr, device_in, device_out);
    CHECK_INT(cudaMemcpy(sums, device_out, sizeof sums, cudaMemcpyDeviceToHost), cudaSuccess);
    for (int b = 0; b < BLOCKS; b++) {
        int32_t sum = 0;
        for (int i = 0; i < THREADS; i++) {
            sum += in[b * THREADS + i];
        }
        n_wrong += sum != sums[b];
    }
    CHECK_INT(cudaFree(device_in), cudaSuccess);
    CHECK_INT(cudaFree(device_out), cudaSuccess);
    return n_wrong;
}

static void test_barriers(void)
{
    int n_caught = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        cuda_host_seed(seed);
        CHECK_INT(wrong_sums(block_sums<true>), 0);
        n_caught += wrong_sums(block_sums<false>) > 0;
    }
    CHECK_THAT(n_caught >= 18, "a missing barrier shows for %d of 20 seeds", n_caught);
}

int main(void)
{
    test_barriers();
    return check_result();
}
