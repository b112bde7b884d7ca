/* How fast a GPU reads its memory: the limit that decoding is compared with. SPDX-License-Identifier: MIT
 *
 *   bench_gpu_read [GPU]      one line of JSON
 *
 * Every thread sums 16-byte words of 1 GiB (or half of what is free), the grid strides over all of it. Timed: from the launch to
 * its end by events, warmed up, the median of 20 runs. */
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

static void check(cudaError_t status, const char *what)
{
    if (status != cudaSuccess) {
        fprintf(stderr, "bench_gpu_read: %s: %s\n", what, cudaGetErrorString(status));
        exit(2);
    }
}

__global__ void read_all(const uint4 *from, size_t n, unsigned *sums)
{
    enum { AHEAD = 4 }; /* loads in flight a thread */
    size_t stride = (size_t)gridDim.x * blockDim.x, at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    unsigned sum = 0;
    for (; at + (AHEAD - 1) * stride < n; at += AHEAD * stride) {
        uint4 word[AHEAD];
        for (int i = 0; i < AHEAD; i++) {
            word[i] = from[at + i * stride];
        }
        for (int i = 0; i < AHEAD; i++) {
            sum += word[i].x ^ word[i].y ^ word[i].z ^ word[i].w;
        }
    }
    if (sum == 0x12345678u) { /* never, but the compiler cannot know */
        *sums = sum;
    }
}

int main(int argc, char **argv)
{
    enum { RUNS = 23, WARM = 3 };
    size_t free_bytes = 0, total_bytes = 0;
    cudaDeviceProp properties;
    int device = argc > 1 ? atoi(argv[1]) : 0;
    check(cudaSetDevice(device), "no such GPU");
    check(cudaGetDeviceProperties(&properties, device), "properties");
    check(cudaMemGetInfo(&free_bytes, &total_bytes), "free memory");
    size_t bytes = std::min((size_t)1 << 30, free_bytes / 2) / 4096 * 4096;
    uint4 *data = nullptr;
    unsigned *sums = nullptr;
    cudaEvent_t begin, end;
    check(cudaMalloc(&data, bytes), "memory");
    check(cudaMalloc(&sums, sizeof *sums), "memory");
    check(cudaMemset(data, 1, bytes), "memset");
    check(cudaEventCreate(&begin), "event");
    check(cudaEventCreate(&end), "event");
    std::vector<double> rates;
    for (int i = 0; i < RUNS; i++) {
        float ms = 0;
        check(cudaEventRecord(begin), "record");
        read_all<<<properties.multiProcessorCount * 8, 256>>>(data, bytes / sizeof *data, sums);
        check(cudaEventRecord(end), "record");
        check(cudaEventSynchronize(end), "reading");
        check(cudaEventElapsedTime(&ms, begin, end), "time");
        if (i >= WARM) {
            rates.push_back((double)bytes / ms / 1e6);
        }
    }
    std::sort(rates.begin(), rates.end());
    printf("{\"gpu\":\"%s\",\"sm\":%d%d,\"bytes\":%zu,\"read_gb_s\":%.1f,\"least\":%.1f,\"most\":%.1f}\n", properties.name,
           properties.major, properties.minor, bytes, rates[rates.size() / 2], rates.front(), rates.back());
    return 0;
}
