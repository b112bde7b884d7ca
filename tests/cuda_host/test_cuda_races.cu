/* Accesses without a barrier between them are found, whatever the results are; right ones are let alone. SPDX-License-Identifier:
 * MIT */
#include "kernels/cuda/cuda_ptx.h"
#include "tests/cuda_host/deaths.h"

enum { THREADS = 128 };

static void run(void (*kernel)(int32_t *, int32_t), int32_t n)
{
    int32_t *out;
    cudaMalloc(&out, THREADS * sizeof *out);
    cudaMemset(out, 0, THREADS * sizeof *out);
    cuda_launch<int32_t *, int32_t>(kernel, 3, THREADS, THREADS * sizeof(int32_t), nullptr, out, n);
    CHECK_INT(cudaDeviceSynchronize(), cudaSuccess);
    cudaFree(out);
}

/* All: grid 3, block THREADS, THREADS words of dynamic shared memory; n: 1: right, 0: wrong. */

static __global__ void block_barrier(int32_t *out, int32_t n)
{
    __shared__ int32_t shared[THREADS];
    shared[threadIdx.x] = 1;
    if (n) {
        __syncthreads();
    }
    out[threadIdx.x] = shared[THREADS - 1 - threadIdx.x];
}

/* Every warp reads before the next tile comes. */
static __global__ void second_barrier(int32_t *out, int32_t n)
{
    CUDA_DYNAMIC_SHARED(bytes);
    int32_t *shared = (int32_t *)bytes, sum = 0;
    for (int tile = 0; tile < 3; tile++) {
        shared[threadIdx.x] = tile;
        __syncthreads();
        sum += shared[(threadIdx.x + 32) % THREADS];
        if (n) {
            __syncthreads();
        }
    }
    out[threadIdx.x] = sum;
}

static __global__ void warp_barrier(int32_t *out, int32_t n)
{
    __shared__ int32_t shared[THREADS];
    shared[threadIdx.x] = 1;
    if (n) {
        __syncwarp();
    } else {
        __shfl_sync(0xFFFFFFFF, 1, 0); /* brings the lanes together, but orders nothing */
    }
    out[threadIdx.x] = shared[threadIdx.x ^ 1];
}

/* The first warp writes, the others read; it writes again when they have. */
static __global__ void producer(int32_t *out, int32_t n)
{
    __shared__ int32_t shared[2][32];
    int lane = threadIdx.x % 32;
    for (int stage = 0; stage < 4; stage++) {
        int32_t *buffer = shared[stage % 2];
        if (threadIdx.x >= 32) {
            cuda_barrier_wait(stage % 2, THREADS);
            out[threadIdx.x] += buffer[lane ^ 1];
            cuda_barrier_arrive(2 + stage % 2, THREADS);
        } else {
            if (!n) {
                buffer[lane] = stage;
            }
            if (stage >= 2) {
                cuda_barrier_wait(2 + stage % 2, THREADS);
            }
            if (n) {
                buffer[lane] = stage;
            }
            cuda_barrier_arrive(stage % 2, THREADS);
        }
    }
    if (threadIdx.x < 32) {
        cuda_barrier_wait(2, THREADS);
        cuda_barrier_wait(3, THREADS);
    }
}

static __global__ void copied(int32_t *out, int32_t n)
{
    CUDA_DYNAMIC_SHARED(bytes);
    if (threadIdx.x < THREADS / 4) {
        cuda_copy_16(bytes + 16 * threadIdx.x, out + 4 * threadIdx.x);
    }
    cuda_copy_commit();
    cuda_copy_wait<0>();
    if (n) {
        __syncthreads();
    }
    int32_t value = ((int32_t *)bytes)[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = value;
}

static __global__ void counted(int32_t *out, int32_t n)
{
    __shared__ int32_t counter;
    if (threadIdx.x == 0) {
        counter = 0;
    }
    __syncthreads();
    if (n) {
        atomicAdd(&counter, 1);
    } else {
        counter++;
    }
    __syncthreads();
    out[threadIdx.x] = counter;
}

/* All may write the same value. */
static __global__ void same_value(int32_t *out, int32_t n)
{
    __shared__ __align__(16) int32_t shared[4];
    *(int4 *)shared = make_int4(1, 2, 3, n ? 4 : (int32_t)threadIdx.x / 64);
    __syncthreads();
    out[threadIdx.x] = shared[3];
}

static __global__ void neighbouring_bytes(int32_t *out, int32_t n)
{
    CUDA_DYNAMIC_SHARED(bytes);
    bytes[threadIdx.x * n] = (unsigned char)threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = bytes[threadIdx.x * n];
}

static __global__ void unaligned(int32_t *out, int32_t n)
{
    if (threadIdx.x == 0) {
        *(int64_t *)(out + 1 + n) = 1;
    }
}

struct with_pointer {
    const int32_t *values;
};

static __global__ void read_pointer(with_pointer p, int32_t *out)
{
    out[threadIdx.x] = p.values[0];
}

static void run_pointer(bool on_host)
{
    int32_t *values, host = 0;
    cudaMalloc(&values, THREADS * sizeof *values);
    cudaMemset(values, 0, sizeof *values);
    with_pointer p = {on_host ? &host : values};
    cuda_launch<with_pointer, int32_t *>(read_pointer, 1, 1, 0, nullptr, p, values);
    cudaDeviceSynchronize();
    cudaFree(values);
}

int main(void)
{
    for (auto right :
         {block_barrier, second_barrier, warp_barrier, producer, copied, counted, same_value, neighbouring_bytes, unaligned}) {
        run(right, 1);
    }
    run_pointer(false);
    CHECK_DIES([] { run(block_barrier, 0); }, "of static shared memory, which thread ", "-");
    CHECK_DIES([] { run(second_barrier, 0); }, "of dynamic shared memory, which thread", "-");
    CHECK_DIES([] { run(warp_barrier, 0); }, "with no barrier between", "-");
    CHECK_DIES([] { run(producer, 0); }, "with no barrier between", "-");
    CHECK_DIES([] { run(copied, 0); }, "with no barrier between", "-");
    CHECK_DIES([] { run(counted, 0); }, "with no barrier between", "-");
    CHECK_DIES([] { run(same_value, 0); }, "has written otherwise, with no barrier between", "-");
    CHECK_DIES([] { run(neighbouring_bytes, 0); }, "with no barrier between", "-");
    CHECK_DIES([] { run(unaligned, 0); }, "writes 8 bytes at 0x", "-");
    CHECK_DIES([] { run_pointer(true); }, "which a device cannot reach", "-");
    return check_result();
}
