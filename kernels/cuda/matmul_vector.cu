/* Products of up to eight activation rows with packed weights. SPDX-License-Identifier: MIT
 *
 * Bound by the weights' bytes. A block is one panel (sixteen weight rows); its four warps take stretches of eight blocks of 32
 * columns in turn, so that a panel has about 9 kB on their way from memory, and multiply them at once. Only the f32 steps of the
 * contract are in order: a warp keeps its exact integer sums until it has the accumulators from the warp before it, adds its own
 * steps and hands them on. grid: panels of all matrices; block: 128; shared: two stretches of activations a warp.
 *
 * Bytes and instructions: README.md. */
#include "kernels/cuda/cuda_matmul.h"

enum {
    WARPS = 4,
    PIECES = 2,        /* pieces a stretch */
    BLOCKS_PER_SM = 3, /* at least */
    STRETCH = PIECES * CUDA_PIECE
};

/* What a warp holds of a stretch of the weights, and what it multiplies them with. */
template <enum dtype T> struct stretch {
    struct cuda_piece<T> pieces[PIECES];
    struct cuda_stage_scales scales[PIECES];
};

/* Sums and scales of a piece, for when its turn comes. */
template <enum dtype T> struct piece_sums {
    float sums[CUDA_PIECE][cuda_panel<T>::halves ? 2 : 1][4];
    struct cuda_scales scales[CUDA_PIECE];
};

template <enum dtype T>
static __device__ __forceinline__ void multiply_piece(struct cuda_piece<T> *w, int32_t piece, const struct cuda_stage<1> *x,
                                                      int lane, struct piece_sums<T> *out)
{
    uint32_t b[CUDA_PIECE][2];
    cuda_scales_ready(piece, w);
#pragma unroll
    for (int j = 0; j < CUDA_PIECE; j += 2) {
        cuda_load_matrices(b[j], (const uint8_t *)x->blocks[j + lane / 16].q + lane % 16 * 16);
    }
#pragma unroll
    for (int j = 0; j < CUDA_PIECE; j++) {
        uint32_t a[4];
        cuda_fragment(w, j, lane, a);
        if constexpr (cuda_panel<T>::halves) {
            cuda_half_sums(a, b[j], 0, out->sums[j][0]);
            cuda_half_sums(a, b[j], 1, out->sums[j][1]);
        } else {
            cuda_sums(a, b[j], out->sums[j][0]);
        }
        cuda_scales_of(w, j, &out->scales[j]);
    }
}

template <enum dtype T, int COLUMNS>
static __device__ __forceinline__ void add_piece(const struct piece_sums<T> *sums, int32_t piece, int32_t n_blocks,
                                                 const struct cuda_stage<1> *x, int lane, float acc[4])
{
#pragma unroll
    for (int j = 0; j < CUDA_PIECE; j++) {
        if (!cuda_has_block<T>(piece, j, n_blocks)) {
            return;
        }
        const float4 scales = cuda_stage_scales_of(x, j, 0, lane);
        for (int part = 0; part < (cuda_panel<T>::halves ? 2 : 1); part++) {
            cuda_add_sums<COLUMNS>(sums->scales[j].d[part], sums->sums[j][part], scales, acc);
        }
        if constexpr (cuda_panel<T>::has_min) {
            cuda_add_minimum<COLUMNS>(sums->scales[j].minus_m, scales, acc);
        }
    }
}

struct shared_panel {
    float4 passed[32]; /* accumulators, of each lane */
    struct cuda_stage<1> stages[WARPS][2][PIECES];
};

/* The accumulators of a panel go from warp to warp: each waits at its own barrier, where the warp before it arrives. */
static __device__ __forceinline__ void take_turn(const float4 *passed, int warp, int lane, float acc[4])
{
    cuda_barrier_wait(warp, 64);
    float4 from = passed[lane];
    acc[0] = from.x;
    acc[1] = from.y;
    acc[2] = from.z;
    acc[3] = from.w;
}
static __device__ __forceinline__ void pass_turn(float4 *passed, int next_warp, int lane, const float acc[4])
{
    passed[lane] = make_float4(acc[0], acc[1], acc[2], acc[3]);
    cuda_barrier_arrive(next_warp, 64);
}

/* Begins to read stretch number `number`. Column c of the products is activation row c, or c / 2 where only the even ones are
 * wanted. */
template <enum dtype T, int COLUMNS>
static __device__ __forceinline__ void begin_stretch(const struct cuda_products *p, const uint8_t *panel, int32_t number,
                                                     int lane, struct stretch<T> *w, struct cuda_stage<1> *x)
{
    const int column = lane / CUDA_PIECE;
    const int32_t row = COLUMNS == 2 ? column : column % 2 ? p->n_rows : column / 2;
#pragma unroll
    for (int i = 0; i < PIECES; i++) {
        cuda_piece_load(panel, number * PIECES + i, p->cols / CUDA_Q8_BLOCK, lane, &w->pieces[i]);
        w->scales[i] = cuda_stage_begin<1>(p, row, number * PIECES + i, lane, &x[i]);
    }
}

/* A panel from its first block to its last, by all warps. True: this one had the last stretch, acc is the panel's. */
template <enum dtype T, int COLUMNS>
static __device__ __forceinline__ bool multiply_panel(const struct cuda_products *p, const uint8_t *panel,
                                                      struct shared_panel *shared, float acc[4])
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int32_t n_blocks = p->cols / CUDA_Q8_BLOCK, n_stretches = (n_blocks + STRETCH - 1) / STRETCH;
    stretch<T> w = {};
    if (warp < n_stretches) {
        begin_stretch<T, COLUMNS>(p, panel, warp, lane, &w, shared->stages[warp][0]);
    }
    for (int32_t s = warp, i = 0; s < n_stretches; s += WARPS, i ^= 1) {
        struct cuda_stage<1> *x = shared->stages[warp][i];
        struct piece_sums<T> sums[PIECES];
        for (int k = 0; k < PIECES; k++) {
            cuda_stage_end<1>(w.scales[k], lane, &x[k]);
        }
        __syncwarp();
#pragma unroll
        for (int k = 0; k < PIECES; k++) {
            multiply_piece<T>(&w.pieces[k], k, &x[k], lane, &sums[k]);
        }
        if (s + WARPS < n_stretches) {
            begin_stretch<T, COLUMNS>(p, panel, s + WARPS, lane, &w, shared->stages[warp][i ^ 1]);
        }
        if (s > 0) {
            take_turn(shared->passed, warp, lane, acc);
        }
#pragma unroll
        for (int k = 0; k < PIECES; k++) {
            add_piece<T, COLUMNS>(&sums[k], s * PIECES + k, n_blocks, &x[k], lane, acc);
        }
        if (s + 1 == n_stretches) {
            return true;
        }
        pass_turn(shared->passed, (warp + 1) % WARPS, lane, acc);
    }
    return false;
}

template <enum dtype T, int COLUMNS>
static __global__ void __launch_bounds__(32 * WARPS, BLOCKS_PER_SM) matmul_vector_kernel(const struct cuda_products p)
{
    __shared__ struct shared_panel shared;
    const int lane = threadIdx.x % 32, which = cuda_product_of(&p, (int32_t)blockIdx.x);
    const int32_t panel = (int32_t)blockIdx.x - p.mats[which].first;
    const size_t panel_bytes = (size_t)(p.cols / CUDA_Q8_BLOCK / cuda_panel<T>::unit_blocks) * cuda_panel<T>::unit_bytes;
    float acc[4] = {0, 0, 0, 0};
    if (!multiply_panel<T, COLUMNS>(&p, p.mats[which].data + (size_t)panel * panel_bytes, &shared, acc)) {
        return;
    }
#pragma unroll
    for (int c = 0; c < 4; c++) { /* of cuda_mma_s8 */
        if (c % 2 < COLUMNS) {
            int32_t x = lane % 4 * COLUMNS + c % 2, w = panel * CUDA_PANEL + lane / 4 * 2 + c / 2;
            cuda_product_store(&p.mats[which], p.n_rows, x, w, acc[c]);
        }
    }
}

typedef void (*vector_kernel)(struct cuda_products);

template <int COLUMNS> static vector_kernel vector_kernel_of(enum dtype type)
{
    switch (type) {
    case DTYPE_Q4_0: return matmul_vector_kernel<DTYPE_Q4_0, COLUMNS>;
    case DTYPE_Q4_1: return matmul_vector_kernel<DTYPE_Q4_1, COLUMNS>;
    case DTYPE_Q5_0: return matmul_vector_kernel<DTYPE_Q5_0, COLUMNS>;
    case DTYPE_Q5_1: return matmul_vector_kernel<DTYPE_Q5_1, COLUMNS>;
    case DTYPE_Q8_0: return matmul_vector_kernel<DTYPE_Q8_0, COLUMNS>;
    case DTYPE_Q4_K: return matmul_vector_kernel<DTYPE_Q4_K, COLUMNS>;
    case DTYPE_Q5_K: return matmul_vector_kernel<DTYPE_Q5_K, COLUMNS>;
    default: return matmul_vector_kernel<DTYPE_Q6_K, COLUMNS>;
    }
}

void cuda_matmul_vector(cudaStream_t stream, enum dtype type, struct cuda_products products)
{
    int32_t n_panels = cuda_products_place(&products, CUDA_PANEL);
    vector_kernel kernel = products.n_rows <= CUDA_VECTOR_ROWS / 2 ? vector_kernel_of<1>(type) : vector_kernel_of<2>(type);
    cuda_launch(kernel, dim3((unsigned)n_panels), dim3(32 * WARPS), 0, stream, products);
}
