/* CUDA kernels on the CPU: what tests may set, and what the other headers here are made of. SPDX-License-Identifier: MIT
 *
 * Environment:
 *   CUDA_HOST_SEED         order of blocks, warps and lanes, and how far streams run ahead (default 1)
 *   CUDA_HOST_DEVICES      number of devices (default 1; 0: there is none)
 *   CUDA_HOST_MEMORY       bytes of each device's memory (default 64 GiB)
 *   CUDA_HOST_SM           compute capability, if another (default 87)
 *   CUDA_HOST_CUBLAS       cuBLAS: 0 not there, 1 there (default), 2 does not start, 3 lacks a function
 *   CUDA_LAUNCH_BLOCKING=1 every operation is done before its call returns, as in CUDA */
#ifndef TESTS_CUDA_HOST_CUDA_HOST_H
#define TESTS_CUDA_HOST_CUDA_HOST_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The order in which everything that CUDA leaves open happens from now on. */
void cuda_host_seed(uint64_t seed);

#ifdef __cplusplus
}

namespace cuda_host
{
/* Every lane named in mask brings its data; when all have come, evaluate is called once with the lanes' data (NULL where the mask
 * has no lane), then they go on. Without evaluate: __syncwarp,
 * which orders accesses to memory too. */
using evaluate_fn = void (*)(void *const lanes[32], uint32_t mask);
void warp(const char *name, uint32_t mask, evaluate_fn evaluate, void *data);
/* All threads of the block; returns for how many of them value is not 0. */
int block(int value);

/* One more thread has come to that barrier of the block; when it was the last of n_threads, those that wait there go on. */
void barrier(int number, int n_threads, bool waits);

void copy_16(void *shared, const void *global);
void copy_commit();
void copy_wait(int n_left);

[[noreturn]] void trap(const char *reason);

extern unsigned char *dynamic_shared; /* [bytes of the launch], 1024-byte aligned */
extern unsigned int lane_id;          /* of the running thread */
} // namespace cuda_host
#endif

#endif
