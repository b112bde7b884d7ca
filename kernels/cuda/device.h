/* Choosing a GPU, and what CUDA's errors mean to the user. SPDX-License-Identifier: MIT */
#ifndef KERNELS_CUDA_DEVICE_H
#define KERNELS_CUDA_DEVICE_H

#include "kernels/cuda/cuda_common.h"
#include "kernels/gpu.h"

/* One line for an error that keeps the program from using GPUs. Always returns -1. */
int cuda_refuse(cudaError_t status, const char *what, struct error *err);

/* The step cannot go on: ends the process with one line unless status is cudaSuccess. */
void cuda_check(cudaError_t status, const char *what);

/* What device `index` is, and whether this program has code for it. */
int cuda_device_open(int32_t index, struct gpu_device *out, struct error *err);

/* Bytes that can be had: on a GPU that shares the machine's memory what the system can give away, page cache included. The
 * GPU is the one in use. */
uint64_t cuda_free_bytes(const struct gpu_device *device);

#endif
