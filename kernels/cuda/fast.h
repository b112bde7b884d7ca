/* Products of many rows by cuBLAS (--gpu-math fast): quicker where tensor cores are, without the contract's bits.
 * SPDX-License-Identifier: MIT */
#ifndef KERNELS_CUDA_FAST_H
#define KERNELS_CUDA_FAST_H

#include "kernels/cuda/backend_cuda.h"

struct backend_cuda;
struct cuda_fast;

enum {
    /* From so many rows on; fewer are computed exactly. Steps that are recorded are shorter. */
    CUDA_FAST_ROWS = CUDA_RECORDED_ROWS + 1,
    /* The same for quantised weights, which are first written out as halves: by count about where that begins to pay. Not below
     * compute capability CUDA_FAST_PACKED_MAJOR: there the exact products are the faster ones for any number of rows. */
    CUDA_FAST_PACKED_ROWS = 256,
    CUDA_FAST_PACKED_MAJOR = 9
};

/* Bytes of GPU memory that it takes. */
uint64_t cuda_fast_bytes(void);
/* Owned by the backend, NULL with *err set where there is no cuBLAS. */
struct cuda_fast *cuda_fast_create(struct backend_cuda *self, struct error *err);
/* fast: may be NULL. Before the backend's memory goes. */
void cuda_fast_free(struct cuda_fast *fast);
/* As cuda_matmul_launch; what has too few rows for it is left to that. Not while a step is recorded. */
void cuda_fast_launch(struct cuda_fast *fast, const struct backend_act *in, int32_t n_rows, const struct cuda_matmul *mats,
                      int32_t n_mats);

#endif
