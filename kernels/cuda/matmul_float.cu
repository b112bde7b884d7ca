/* Products with F32, F16 and BF16 weights. SPDX-License-Identifier: MIT
 *
 * The contract's sixteen lanes are the threads of half a warp, which keeps lane i mod 16 of C weight rows times R activation
 * rows: C + R loads for C * R steps. Half warps of a block lie in a grid of `across` groups of weight rows and 16 / across groups
 * of activation rows; what they share they find in L1. One row: bound by the weights' bytes, 16 loads a thread on their way;
 * many: by loads and fma (the tensor cores cannot keep the contract). grid: (groups of activation rows, of weight rows of all
 * matrices), block: 256, shared: 0. */
#include "kernels/cuda/cuda_matmul.h"

enum { LANES = 16, HALF_WARPS = 16 };

static __device__ __forceinline__ float widen(float w)
{
    return w;
}
static __device__ __forceinline__ float widen(__half w)
{
    return __half2float(w);
}
struct bf16 {
    uint16_t bits;
};
static __device__ __forceinline__ float widen(struct bf16 w)
{
    return __uint_as_float((uint32_t)w.bits << 16);
}

/* Lanes l and l + 8 are added, then l and l + 4, l + 2, l + 1. */
static __device__ __forceinline__ float add_lanes(float lane)
{
#pragma unroll
    for (int apart = LANES / 2; apart > 0; apart /= 2) {
        lane = lane + __shfl_xor_sync(0xffffffff, lane, apart);
    }
    return lane;
}

template <typename W, int C, int R, int UNROLL>
static __device__ __forceinline__ void multiply_lanes(const W *const w[C], const float *const x[R], int32_t cols, int lane,
                                                      float acc[C][R])
{
#pragma unroll UNROLL
    for (int32_t i = lane; i < cols; i += LANES) {
        float w_i[C];
#pragma unroll
        for (int c = 0; c < C; c++) {
            w_i[c] = widen(w[c][i]);
        }
#pragma unroll
        for (int r = 0; r < R; r++) {
            float x_i = x[r][i];
#pragma unroll
            for (int c = 0; c < C; c++) {
                acc[c][r] = fmaf(w_i[c], x_i, acc[c][r]);
            }
        }
    }
}

template <typename W, int C, int R, int ACROSS, int UNROLL>
static __global__ void __launch_bounds__(LANES *HALF_WARPS) matmul_float_kernel(const struct cuda_products p)
{
    const int lane = threadIdx.x % LANES, half_warp = threadIdx.x / LANES, which = cuda_product_of(&p, (int32_t)blockIdx.y);
    const int32_t rows = p.mats[which].rows;
    const int32_t w0 = (((int32_t)blockIdx.y - p.mats[which].first) * ACROSS + half_warp % ACROSS) * C;
    const int32_t x0 = ((int32_t)blockIdx.x * (HALF_WARPS / ACROSS) + half_warp / ACROSS) * R;
    const W *w[C];
    const float *x[R];
    float acc[C][R] = {};
    for (int c = 0; c < C; c++) {
        w[c] = (const W *)(const void *)p.mats[which].data + (size_t)min(w0 + c, rows - 1) * (size_t)p.cols;
    }
    for (int r = 0; r < R; r++) {
        x[r] = p.x + (size_t)min(x0 + r, p.n_rows - 1) * (size_t)p.cols;
    }
    multiply_lanes<W, C, R, UNROLL>(w, x, p.cols, lane, acc);
#pragma unroll
    for (int i = 0; i < C * R; i++) {
        float sum = add_lanes(acc[i % C][i / C]);
        if (lane == i % LANES) {
            cuda_product_store(&p.mats[which], p.n_rows, x0 + i / C, w0 + i % C, sum);
        }
    }
}

template <typename W, int C, int R, int ACROSS, int UNROLL>
static void launch_float(cudaStream_t stream, struct cuda_products *products)
{
    const int32_t x_rows = R * (HALF_WARPS / ACROSS);
    int32_t n_blocks = cuda_products_place(products, C * ACROSS);
    cuda_launch(matmul_float_kernel<W, C, R, ACROSS, UNROLL>,
                dim3((unsigned)((products->n_rows + x_rows - 1) / x_rows), (unsigned)n_blocks), dim3(LANES * HALF_WARPS), 0,
                stream, *products);
}

template <typename W> static void launch_rows(cudaStream_t stream, struct cuda_products *products)
{
    if (products->n_rows == 1) {
        launch_float<W, 2, 1, 16, 8>(stream, products);
    } else if (products->n_rows <= 4) {
        launch_float<W, 4, 4, 16, 2>(stream, products);
    } else {
        launch_float<W, 8, 8, 4, 1>(stream, products);
    }
}

void cuda_matmul_float(cudaStream_t stream, enum dtype type, struct cuda_products products)
{
    if (type == DTYPE_F32) {
        launch_rows<float>(stream, &products);
    } else if (type == DTYPE_F16) {
        launch_rows<__half>(stream, &products);
    } else {
        launch_rows<struct bf16>(stream, &products);
    }
}
