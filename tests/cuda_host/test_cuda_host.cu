/* Kernels on the CPU: right ones give right results, for every order; wrong ones are found. SPDX-License-Identifier: MIT */
#include "kernels/cuda/cuda_ptx.h"
#include "tests/cuda_host/deaths.h"

enum { THREADS = 128, BLOCKS = 40, N_SEEDS = 20, MOST_MISSED = 2 };
static int32_t input[BLOCKS * THREADS], expected[BLOCKS];

/* Runs one of the kernels below on input; returns how many blocks' results are wrong. */
typedef void (*sum_kernel)(const int32_t *, int32_t *);
static int wrong_sums(sum_kernel kernel, size_t shared_bytes)
{
    int32_t sums[BLOCKS], *device_in, *device_out, n_wrong = 0;
    cudaMalloc(&device_in, sizeof input);
    cudaMalloc(&device_out, sizeof sums);
    cudaMemcpy(device_in, input, sizeof input, cudaMemcpyHostToDevice);
    cuda_launch<const int32_t *, int32_t *>(kernel, BLOCKS, THREADS, shared_bytes, nullptr, device_in, device_out);
    CHECK_INT(cudaGetLastError(), cudaSuccess);
    CHECK_INT(cudaMemcpy(sums, device_out, sizeof sums, cudaMemcpyDeviceToHost), cudaSuccess);
    for (int b = 0; b < BLOCKS; b++) {
        n_wrong += expected[b] != sums[b];
    }
    CHECK_INT(cudaFree(device_in), cudaSuccess);
    CHECK_INT(cudaFree(device_out), cudaSuccess);
    return n_wrong;
}

/* The right kernel is right for all seeds; without what makes it right it is wrong for most. */
static void check_pair(const char *what, sum_kernel right, sum_kernel wrong, size_t shared_bytes)
{
    int n_caught = 0;
    for (uint64_t seed = 0; seed < N_SEEDS; seed++) {
        cuda_host_seed(seed);
        int n_wrong = wrong_sums(right, shared_bytes);
        CHECK_THAT(n_wrong == 0, "%s: %d blocks wrong for seed %d", what, n_wrong, (int)seed);
        n_caught += wrong_sums(wrong, shared_bytes) > 0;
    }
    CHECK_THAT(n_caught >= N_SEEDS - MOST_MISSED, "%s: what is missing shows for %d of %d seeds only", what, n_caught, N_SEEDS);
}

/* grid: BLOCKS, block: THREADS; so are all that check_pair runs. */
template <bool WITH_BARRIERS> static __global__ void __launch_bounds__(THREADS) block_sums(const int32_t *in, int32_t *out)
{
    __shared__ int32_t sums[THREADS];
    sums[threadIdx.x] = in[blockIdx.x * THREADS + threadIdx.x];
    for (unsigned int n = THREADS / 2; n > 0; n /= 2) {
        if (WITH_BARRIERS) {
            __syncthreads();
        }
        if (threadIdx.x < n) {
            sums[threadIdx.x] += sums[threadIdx.x + n];
        }
    }
    if (threadIdx.x == 0) {
        out[blockIdx.x] = sums[0];
    }
}

/* Each warp's sum through shared memory that only the warp uses. */
template <bool WITH_BARRIERS> static __global__ void warp_sums(const int32_t *in, int32_t *out)
{
    __shared__ int32_t sums[THREADS / 32][32], warps[THREADS / 32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    sums[warp][lane] = in[blockIdx.x * THREADS + threadIdx.x];
    for (int n = 16; n > 0; n /= 2) {
        if (WITH_BARRIERS) {
            __syncwarp();
        }
        int32_t other = sums[warp][lane ^ n];
        if (WITH_BARRIERS) {
            __syncwarp();
        }
        sums[warp][lane] += other;
    }
    warps[warp] = sums[warp][lane];
    __syncthreads();
    if (threadIdx.x == 0) {
        out[blockIdx.x] = warps[0] + warps[1] + warps[2] + warps[3];
    }
}

/* Three stages of copies: 16 rows of 8 values, two buffers. */
template <bool WITH_WAIT> static __global__ void copied_sums(const int32_t *in, int32_t *out)
{
    CUDA_DYNAMIC_SHARED(bytes); /* 2 x 32 values */
    int32_t(*buffers)[32] = (int32_t(*)[32])bytes, sum = 0;
    in += blockIdx.x * THREADS;
    for (int stage = 0; stage <= THREADS / 32; stage++) {
        if (stage < THREADS / 32 && threadIdx.x < 8) {
            cuda_copy_16(&buffers[stage % 2][4 * threadIdx.x], &in[32 * stage + 4 * threadIdx.x]);
        }
        cuda_copy_commit();
        if (stage > 0) {
            if (WITH_WAIT) {
                cuda_copy_wait<1>();
            }
            __syncthreads();
            for (int i = 0; i < 32; i++) {
                sum += buffers[(stage - 1) % 2][i];
            }
            __syncthreads();
        }
    }
    if (threadIdx.x == 0) {
        out[blockIdx.x] = sum;
    }
}

/* All blocks add to what they find: wrong unless shared memory is set first. */
template <bool WITH_START> static __global__ void added_sums(const int32_t *in, int32_t *out)
{
    CUDA_DYNAMIC_SHARED(bytes);
    int32_t *sum = (int32_t *)bytes;
    if (WITH_START) {
        if (threadIdx.x == 0) {
            *sum = 0;
        }
        __syncthreads();
    }
    atomicAdd(sum, in[blockIdx.x * THREADS + threadIdx.x]);
    if (__syncthreads_count(1) == THREADS && threadIdx.x == THREADS - 1) {
        out[blockIdx.x] = *sum;
    }
}

/* What a block finds in its shared memory, static and dynamic, before it leaves something there. */
static __global__ void first_content(const int32_t *in, int32_t *out)
{
    __shared__ int32_t own;
    CUDA_DYNAMIC_SHARED(bytes);
    int32_t *dynamic = (int32_t *)bytes;
    if (threadIdx.x == 0) {
        out[blockIdx.x] = own & *dynamic;
        own = *dynamic = in[0];
    }
    __syncthreads();
}

/* -- kernels that die -- */

static void run(void (*kernel)(int32_t *, int32_t), int n_threads, size_t shared_bytes, int32_t n)
{
    int32_t *out;
    cudaMalloc(&out, 64 * sizeof *out);
    cuda_launch<int32_t *, int32_t>(kernel, 2, n_threads, shared_bytes, nullptr, out, n);
    cudaDeviceSynchronize();
    cudaFree(out);
}

static __global__ void barrier_of_some(int32_t *out, int32_t n)
{
    if ((int32_t)threadIdx.x < n) {
        __syncthreads();
    }
    out[0] = n;
}

static __global__ void shuffle_of_some(int32_t *out, int32_t n)
{
    if ((int32_t)threadIdx.x < n) {
        out[threadIdx.x] = __shfl_sync(0xFFFFFFFF, n, 0);
    }
}

static __global__ void shuffles_of_two_kinds(int32_t *out, int32_t n)
{
    out[threadIdx.x] = (int32_t)threadIdx.x < n ? __shfl_sync(0xFFFFFFFF, n, 0) : __shfl_sync(0xFFFF0000, n, 16);
}

static __global__ void dynamic_overrun(int32_t *out, int32_t n)
{
    CUDA_DYNAMIC_SHARED(bytes);
    ((int32_t *)bytes)[n] = 1;
    out[0] = ((int32_t *)bytes)[0];
}

static __global__ void device_overrun(int32_t *out, int32_t n)
{
    out[n] = 1;
}

static __global__ void unaligned_copy(int32_t *out, int32_t n)
{
    CUDA_DYNAMIC_SHARED(bytes);
    cuda_copy_16(bytes, out + n);
}

static void test_deaths(void)
{
    const char *address = "AddressSanitizer";
    run(barrier_of_some, 96, 0, 96);
    CHECK_DIES([] { run(barrier_of_some, 96, 0, 64); }, "not all threads reach a barrier: 64 wait at __syncthreads, 0 at others",
               "-");
    CHECK_DIES([] { run(barrier_of_some, 96, 0, 64); }, "barrier_of_some(int*, int), block (", "-");
    run(shuffle_of_some, 32, 0, 32);
    CHECK_DIES([] { run(shuffle_of_some, 32, 0, 31); }, "__shfl_sync names a lane that has ended", "-");
    run(shuffles_of_two_kinds, 32, 0, 32);
    CHECK_DIES([] { run(shuffles_of_two_kinds, 32, 0, 16); }, "meets __shfl_sync of another kind or mask", "-");
    run(dynamic_overrun, 1, 80, 19);
    CHECK_DIES([] { run(dynamic_overrun, 1, 80, 20); }, "dynamic shared memory of 80 bytes: bytes behind it", address);
    CHECK_DIES([] { run(dynamic_overrun, 1, 80, -1); }, "dynamic shared memory of 80 bytes: bytes before it", address);
    run(device_overrun, 1, 0, 63);
    CHECK_DIES([] { run(device_overrun, 1, 0, 64); }, "touches byte 256 of an allocation of 256 bytes", address);
    run(unaligned_copy, 1, 16, 4);
    CHECK_DIES([] { run(unaligned_copy, 1, 16, 2); }, "no multiple of 16", "-");
}

int main(void)
{
    for (int i = 0; i < BLOCKS * THREADS; i++) {
        input[i] = i * i % 1009;
        expected[i / THREADS] += input[i];
    }
    check_pair("__syncthreads", block_sums<true>, block_sums<false>, 0);
    check_pair("__syncwarp", warp_sums<true>, warp_sums<false>, 0);
    check_pair("cuda_copy_wait", copied_sums<true>, copied_sums<false>, 2 * 32 * sizeof(int32_t));
    check_pair("shared memory's first content", added_sums<true>, added_sums<false>, sizeof(int32_t));
    for (int b = 0; b < BLOCKS; b++) {
        expected[b] = -1;
    }
    CHECK_INT(wrong_sums(first_content, sizeof(int32_t)), 0);
    test_deaths();
    return check_result();
}
