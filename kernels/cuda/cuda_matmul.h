/* What the matmul kernels share: their parameters, activations in shared memory, and what follows a product.
 * SPDX-License-Identifier: MIT */
#ifndef KERNELS_CUDA_CUDA_MATMUL_H
#define KERNELS_CUDA_CUDA_MATMUL_H

#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_unpack.h"

/* One matrix of a launch. */
struct cuda_product {
    const uint8_t *data;
    const float *bias;
    float *out; /* [n_rows, rows] */
    float scale;
    int32_t add, rows;
    int32_t first; /* first block of the grid that works on it */
};

/* Parameters of every matmul kernel: matrices of one type, all with the same columns. */
struct cuda_products {
    const float *x;   /* [n_rows, cols], for float types */
    const int8_t *q;  /* [n_rows, cols], for quantised ones */
    const float *d;   /* [n_rows, cols / 32] */
    const float *sum; /* [n_rows, cols / 32] */
    int32_t cols, n_rows, n_mats;
    struct cuda_product mats[CUDA_MATMUL_MOST]; /* those behind n_mats: first = INT32_MAX */
};

/* The launches of each family; they place the matrices in their grids. */
void cuda_matmul_vector(cudaStream_t stream, enum dtype type, struct cuda_products products);
void cuda_matmul_tile(cudaStream_t stream, enum dtype type, struct cuda_products products);
void cuda_matmul_float(cudaStream_t stream, enum dtype type, struct cuda_products products);
enum { CUDA_VECTOR_ROWS = 8 /* the vector kernel's most activation rows */ };

/* One block of the grid for rows_per_block weight rows: fills in `first`, returns how many there are. */
static inline int32_t cuda_products_place(struct cuda_products *products, int32_t rows_per_block)
{
    int32_t n = 0;
    for (int i = 0; i < CUDA_MATMUL_MOST; i++) {
        struct cuda_product *m = &products->mats[i];
        m->first = i < products->n_mats ? n : INT32_MAX;
        n += i < products->n_mats ? (m->rows + rows_per_block - 1) / rows_per_block : 0;
    }
    return n;
}

/* Which matrix a block of the grid works on. */
static __device__ __forceinline__ int cuda_product_of(const struct cuda_products *products, int32_t block)
{
    return (block >= products->mats[1].first) + (block >= products->mats[2].first);
}

/* Output [activation row x, weight row w]; nothing outside the matrix. */
static __device__ __forceinline__ void cuda_product_store(const struct cuda_product *m, int32_t n_rows, int32_t x, int32_t w,
                                                          float acc)
{
    if (x >= n_rows || w >= m->rows) {
        return;
    }
    float *y = m->out + (size_t)x * (size_t)m->rows + w;
    if (m->scale != 1.0f) {
        acc = acc * m->scale;
    }
    if (m->bias) {
        acc = acc + m->bias[w];
    }
    *y = m->add ? *y + acc : acc;
}

/* CUDA_PIECE blocks of 8 * N_TILES activation rows, a tile being eight of them. Rows that are not read, and blocks behind the
 * last, hold anything: a row meets no other, and blocks that are none are left out. */
template <int N_TILES> struct cuda_stage {
    struct {
        uint8_t q[N_TILES][2][8][16]; /* [tile][half of the columns][row][column] */
        float x[4 * N_TILES][4];      /* [pair of rows][their d, their sums] */
        uint8_t apart[32];            /* so that the four blocks of a row lie in different banks */
    } blocks[CUDA_PIECE];
};

/* d and sum of a block and row on their way to a stage. */
struct cuda_stage_scales {
    float d, sum;
};

/* By 32 * N_TILES threads, thread i with block i % CUDA_PIECE of the stage's row i / CUDA_PIECE, which is activation row `row`:
 * begins to read it, if there is one. */
template <int N_TILES>
static __device__ __forceinline__ struct cuda_stage_scales cuda_stage_begin(const struct cuda_products *p, int32_t row,
                                                                            int32_t piece, int thread,
                                                                            struct cuda_stage<N_TILES> *to)
{
    const int to_row = thread / CUDA_PIECE, block = thread % CUDA_PIECE;
    const int32_t n_blocks = p->cols / CUDA_Q8_BLOCK, at = row * n_blocks + piece * CUDA_PIECE + block;
    struct cuda_stage_scales out = {0, 0};
    if (row < p->n_rows && piece * CUDA_PIECE + block < n_blocks) {
        const int8_t *q = p->q + (size_t)at * CUDA_Q8_BLOCK;
        cuda_copy_16(to->blocks[block].q[to_row / 8][0][to_row % 8], q);
        cuda_copy_16(to->blocks[block].q[to_row / 8][1][to_row % 8], q + 16);
        out.d = p->d[at];
        out.sum = p->sum[at];
    }
    cuda_copy_commit();
    return out;
}

/* The other half: this thread's part is there. What the threads have is seen by all behind a barrier. */
template <int N_TILES>
static __device__ __forceinline__ void cuda_stage_end(struct cuda_stage_scales scales, int thread, struct cuda_stage<N_TILES> *to)
{
    const int to_row = thread / CUDA_PIECE;
    float *x = to->blocks[thread % CUDA_PIECE].x[to_row / 2] + to_row % 2;
    x[0] = scales.d;
    x[2] = scales.sum;
    cuda_copy_wait<0>();
}

/* d of rows 2t and 2t + 1 of a tile in block j, and their sums. */
template <int N_TILES>
static __device__ __forceinline__ float4 cuda_stage_scales_of(const struct cuda_stage<N_TILES> *stage, int j, int tile, int lane)
{
    return *(const float4 *)(const void *)stage->blocks[j].x[4 * tile + lane % 4];
}

#endif
