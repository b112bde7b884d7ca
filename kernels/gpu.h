/* The GPUs of this machine, and the backend that computes on one of them. SPDX-License-Identifier: MIT
 *
 * All of this is there in every build and needs none of CUDA's headers: a program that was built without CUDA, or that runs where
 * there is no driver or no GPU, answers with one line that says so. */
#ifndef KERNELS_GPU_H
#define KERNELS_GPU_H

#include "kernels/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { GPU_MAX = 16 /* GPUs of a machine that are looked at */, GPU_NAME = 64 };

struct gpu_device {
    char name[GPU_NAME];  /* "Orin", "NVIDIA H200" */
    int32_t index;        /* CUDA's number */
    int32_t major, minor; /* compute capability: sm_87 is 8, 7 */
    int32_t n_multiprocessors;
    int32_t integrated;                    /* 1: its memory is the machine's */
    uint64_t total_bytes, free_bytes;      /* free: 0 until gpu_ask_memory has been called */
    int32_t clock_khz;                     /* of the multiprocessors, 0: not known */
    int32_t memory_clock_khz, memory_bits; /* of the memory and of the way to it, 0: not known */
};

/* "CUDA 13.0 for sm 87 90 110", or "built without CUDA". */
const char *gpu_build_text(void);

/* All GPUs that say what they are, in CUDA's order, looked at without being used: free_bytes is 0. -1 with *err when there is
 * none: no CUDA in this build, no driver, one that is too old, no GPU. */
int gpu_list(struct gpu_device devices[GPU_MAX], int32_t *n, struct error *err);
/* Sets free_bytes. May be called for every GPU of a list, and again, but not within a step of a backend: one that shares the
 * machine's memory is not touched; any other is begun to be used, which takes some of its memory until the process ends. -1 with
 * *err, and 0 bytes, for a GPU that cannot be used; the others still can. */
int gpu_ask_memory(struct gpu_device *device, struct error *err);

/* Which of n devices rank local_rank of this machine takes: wanted (a CUDA number), or with wanted < 0 the ranks take turns. */
int gpu_choose(const struct gpu_device *devices, int32_t n, int32_t local_rank, int32_t wanted, struct gpu_device *out,
               struct error *err);

/* "GPU 0 (Orin, sm_87)" */
void gpu_text(const struct gpu_device *device, char *text, size_t size);

struct cuda_options {
    int32_t device;        /* CUDA's number */
    int32_t max_rows;      /* capacity of every step */
    int32_t max_pages;     /* KV pages of one sequence, the longest context */
    int32_t record;        /* 1: short steps are recorded and replayed (the same results, fewer launches) */
    int32_t fast_math;     /* 1: many rows are multiplied by cuBLAS, near the contract's results; error where there is none */
    uint64_t memory_limit; /* bytes of GPU memory that may be taken; 0: all there is */
};

/* -1 with *err for what gpu_list refuses, a GPU that this program has no code for, or too little memory. */
int backend_cuda_create(struct backend **out, const struct cuda_options *options, struct error *err);

/* The block of memory that a matrix is: bytes. Quantised ones have whole panels of rows. */
uint64_t backend_cuda_matrix_bytes(enum dtype type, int64_t rows, int64_t cols);
/* What a block of so many bytes takes of the GPU's memory at most, its share of what is lost to rounding included: up to 8 MiB
 * 8/7 of it, above that a multiple of 2 MiB. A matrix, norm or bias, the keys and the values of a layer, a buffer of alloc are a
 * block each; act_create makes one for floats, three for int8 (values, scales, sums). With backend_cuda_own_bytes, the sum over
 * all blocks is never less than what is taken. */
uint64_t backend_cuda_block_bytes(uint64_t bytes);
/* Bytes that the backend takes besides the blocks of weights, KV pages and what act_create and alloc are asked for: page tables,
 * memory of attention over such layers (all that it will have), what weights pass through, the rest of the one chunk of 64 MiB
 * that is not yet full. */
uint64_t backend_cuda_own_bytes(const struct cuda_options *options, const struct kv_layer_shape *layers, int32_t n_layers);

/* What a backend has taken and done so far. */
struct cuda_counts {
    uint64_t bytes;              /* of GPU memory */
    uint64_t n_short, n_replays; /* steps that could be recorded, and those of them that were one graph launch */
};
struct cuda_counts backend_cuda_counts(const struct backend *backend);

#ifdef __cplusplus
}
#endif
#endif
