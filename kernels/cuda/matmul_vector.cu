/* Products of up to eight activation rows with packed weights. SPDX-License-Identifier: MIT
 *
 * Bound by the weights' bytes. A block is one panel (sixteen weight rows); its four warps take stretches of eight blocks of 32
 * columns in turn, so that a panel has about 9 kB on their way from memory, and multiply them at once. Only the f32 steps of the
 * contract are in order: a warp keeps its exact integer sums until it has the accumulators from the warp before it, adds its own
 * steps and hands them on. grid: panels of all matrices; block: 128; shared: two stretches of activations a warp. */
#include "kernels/cuda/cuda_matmul.h"

enum {
    WARPS = 4,
    PIECES = 2, /* pieces a stretch */
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
static __device__ __forceinline__ void multiply_piece(const struct cuda_piece<T> *w, int32_t piece, const struct cuda_stage<1> *x,
                                                      int lane, struct piece_sums<T> *out)
{
#pragma unroll
    for (int j = 0; j < CUDA_PIECE; j++) {
        uint32_t a[4], b[2];
        cuda_fragment<T>(w, j, lane, a);
        cuda_stage_words(x, j, 0, lane, b);
        if constexpr (cuda_panel<T>::halves) {
            cuda_half_sums(a, b, 0, out->sums[j][0]);
            cuda_half_sums(a, b, 1, out->sums[j][1]);
        } else {
            cuda_sums(a, b, out->sums[j][0]);
        }
        cuda_scales_of<T>(w, piece, j, &out->scales[j]);
    }
}

template <enum dtype T>
static __device__ __forceinline__ void add_piece(const struct piece_sums<T> *sums, int n_blocks, const struct cuda_stage<1> *x,
                                                 int lane, float acc[4])
{
#pragma unroll
    for (int j = 0; j < CUDA_PIECE; j++) {
        if (j >= n_blocks) {
            return;
        }
        const float4 scales = cuda_stage_scales_of(x, j, 0, lane);
        for (int part = 0; part < (cuda_panel<T>::halves ? 2 : 1); part++) {
            cuda_add_sums(sums->scales[j].d[part], sums->sums[j][part], scales, acc);
        }
        if constexpr (cuda_panel<T>::has_min) {
            cuda_add_minimum(sums->scales[j].minus_m, scales, acc);
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

/* Begins to read stretch number `number`. */
template <enum dtype T>
static __device__ __forceinline__ void begin_stretch(const struct cuda_products *p, const uint8_t *panel, int32_t number,
                                                     int32_t n_blocks, int lane, struct stretch<T> *w, struct cuda_stage<1> *x)
{
#pragma unroll
    for (int i = 0; i < PIECES; i++) {
        cuda_piece_load<T>(panel, number * PIECES + i, n_blocks, lane, &w->pieces[i]);
        w->scales[i] = cuda_stage_begin<1>(p, 0, number * PIECES + i, lane, &x[i]);
    }
}

/* The blocks of a panel from its first to its last, by all warps; what is returned is the panel's in the warp that had the last
 * stretch, of which *last tells. */
template <enum dtype T>
static __device__ __forceinline__ bool multiply_panel(const struct cuda_products *p, const uint8_t *panel,
                                                      struct shared_panel *shared, float acc[4])
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int32_t n_blocks = p->cols / CUDA_Q8_BLOCK, n_stretches = (n_blocks + STRETCH - 1) / STRETCH;
    struct stretch<T> w = {
    };
    if (warp < n_stretches) {
        begin_stretch<T>(p, panel, warp, n_blocks, lane, &w, shared->stages[warp][0]);
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
            begin_stretch<T>(p, panel, s + WARPS, n_blocks, lane, &w, shared->stages[warp][i ^ 1]);
        }
        if (s > 0) {
            take_turn(shared->passed, warp, lane, acc);
        }
#pragma unroll
        for (int k = 0; k < PIECES; k++) {
            add_piece<T>(&sums[k], n_blocks - s * STRETCH - k * CUDA_PIECE, &x[k], lane, acc);
        }
        if (s + 1 == n_stretches) {
            return true;
        }
        pass_turn(shared->passed, (warp + 1) % WARPS, lane, acc);
    }
    return false;
}

template <enum dtype T> static __global__ void __launch_bounds__(32 * WARPS) matmul_vector_kernel(const struct cuda_products p)
{
    __shared__ struct shared_panel shared;
    const int lane = threadIdx.x % 32, which = cuda_product_of(&p, (int32_t)blockIdx.x);
    const int32_t panel = (int32_t)blockIdx.x - p.mats[which].first;
    const size_t panel_bytes = (size_t)(p.cols / CUDA_Q8_BLOCK / cuda_panel<T>::unit_blocks) * cuda_panel<T>::unit_bytes;
    float acc[4] = {0, 0, 0, 0};
    if (!multiply_panel<T>(&p, p.mats[which].data + (size_t)panel * panel_bytes, &shared, acc)) {
        return;
    }
#pragma unroll
    for (int c = 0; c < 4; c++) { /* c of cuda_mma_s8 */
        cuda_product_store(&p.mats[which], p.n_rows, lane % 4 * 2 + c % 2, panel * CUDA_PANEL + lane / 4 * 2 + c / 2, acc[c]);
    }
}

typedef void (*vector_kernel)(struct cuda_products);

static vector_kernel vector_kernel_of(enum dtype type)
{
    switch (type) {
    case DTYPE_Q4_0: return matmul_vector_kernel<DTYPE_Q4_0>;
    case DTYPE_Q4_1: return matmul_vector_kernel<DTYPE_Q4_1>;
    case DTYPE_Q5_0: return matmul_vector_kernel<DTYPE_Q5_0>;
    case DTYPE_Q5_1: return matmul_vector_kernel<DTYPE_Q5_1>;
    case DTYPE_Q8_0: return matmul_vector_kernel<DTYPE_Q8_0>;
    case DTYPE_Q4_K: return matmul_vector_kernel<DTYPE_Q4_K>;
    case DTYPE_Q5_K: return matmul_vector_kernel<DTYPE_Q5_K>;
    default: return matmul_vector_kernel<DTYPE_Q6_K>;
    }
}

void cuda_matmul_vector(cudaStream_t stream, enum dtype type, struct cuda_products products)
{
    int32_t n_panels = cuda_products_place(&products, CUDA_PANEL);
    cuda_launch(vector_kernel_of(type), dim3((unsigned)n_panels), dim3(32 * WARPS), 0, stream, products);
}
