/* RMS norm and the gated activation, each with the rounding of its result to int8 blocks. SPDX-License-Identifier: MIT
 *
 * Both are limited by the latency of a launch for few rows and by memory for many. Width columns a thread: 4, or 1 where rows are
 * not a multiple of 4 floats. */
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_math.h"
#include "kernels/cuda/cuda_ptx.h"

enum {
    NORM_THREADS = 256,
    NORM_PIECE = 4096, /* columns in shared memory at a time */
    LINE_FLOATS = 32,  /* of a line of the caches */
    GATE_THREADS = 128
};

/* Sum of squares of a row by the contract: 16 chains, one a thread, through shared memory so that they wait for nothing else.
 * Every thread of the block calls and gets it. piece: shared, [NORM_PIECE]; total: shared. */
template <int Width> static __device__ float sum_of_squares(const float *x, int32_t n, float *piece, float *total)
{
    float lane = 0;
    int32_t t = (int32_t)threadIdx.x;
    for (int32_t first = 0; first < n; first += NORM_PIECE) {
        int32_t length = n - first < NORM_PIECE ? n - first : (int32_t)NORM_PIECE;
#pragma unroll 4
        for (int32_t i = t * Width; i < length; i += NORM_THREADS * Width) {
            float values[Width];
            cuda_load_floats<Width>(x + first + i, values);
            cuda_store_floats<Width>(values, piece + i);
        }
        __syncthreads();
        if (t < CUDA_LANES) {
#pragma unroll 16
            for (int32_t i = t; i < length; i += CUDA_LANES) {
                lane = fmaf(piece[i], piece[i], lane);
            }
        }
        __syncthreads();
    }
    if (t < CUDA_WARP) {
        float sum = cuda_half_warp_sum(lane);
        if (t == 0) {
            *total = sum;
        }
    }
    __syncthreads();
    return *total;
}

/* Grid: a block a row. The weights come from memory while the sum is made. */
template <int Width>
static __global__ void __launch_bounds__(NORM_THREADS)
    norm_rows(const float *in, const float *weight, float eps, struct backend_act out)
{
    __shared__ __align__(16) float piece[NORM_PIECE];
    __shared__ float total;
    int32_t row = (int32_t)blockIdx.x;
    const float *x = in + (size_t)row * (size_t)out.cols;
    for (int32_t i = (int32_t)threadIdx.x * LINE_FLOATS; i < out.cols; i += NORM_THREADS * LINE_FLOATS) {
        cuda_prefetch(weight + i);
    }
    float ss = sum_of_squares<Width>(x, out.cols, piece, &total);
    float s = 1.0f / sqrtf(ss / (float)out.cols + eps);
    for (int32_t first = 0; first < out.cols; first += NORM_THREADS * Width) { /* whole warps go on together */
        int32_t col = first + (int32_t)threadIdx.x * Width;
        float y[Width] = {}, w[Width] = {};
        if (col < out.cols) {
            cuda_load_floats<Width>(x + col, y);
            cuda_load_floats<Width>(weight + col, w);
        }
#pragma unroll
        for (int i = 0; i < Width; i++) {
            y[i] = (y[i] * s) * w[i];
        }
        cuda_store_act<Width>(out, row, col, y);
    }
}

/* Grid: [rows, pieces of a row]: only the first may be more than 65535. */
template <int Width>
static __global__ void __launch_bounds__(GATE_THREADS) gate_rows(const float *gate, const float *up, struct backend_act out)
{
    int32_t row = (int32_t)blockIdx.x, col = ((int32_t)blockIdx.y * GATE_THREADS + (int32_t)threadIdx.x) * Width;
    size_t place = (size_t)row * (size_t)out.cols + (size_t)col;
    float g[Width] = {}, u[Width] = {}, y[Width];
    if (col < out.cols) {
        cuda_load_floats<Width>(gate + place, g);
        cuda_load_floats<Width>(up + place, u);
    }
#pragma unroll
    for (int i = 0; i < Width; i++) {
        y[i] = (g[i] / (1.0f + cuda_exp(-g[i]))) * u[i];
    }
    cuda_store_act<Width>(out, row, col, y);
}

void cuda_norm_launch(cudaStream_t stream, const float *in, const float *weight, float eps, int32_t n_rows,
                      const struct backend_act *out)
{
    if (n_rows > 0) {
        cuda_launch(out->cols % 4 == 0 ? norm_rows<4> : norm_rows<1>, dim3((unsigned)n_rows), dim3(NORM_THREADS), 0, stream, in,
                    weight, eps, *out);
    }
}

void cuda_gate_launch(cudaStream_t stream, const float *gate, const float *up, int32_t n_rows, const struct backend_act *out)
{
    int32_t width = out->cols % 4 == 0 ? 4 : 1, columns = GATE_THREADS * width;
    if (n_rows > 0) {
        dim3 grid((unsigned)n_rows, (unsigned)((out->cols + columns - 1) / columns));
        cuda_launch(width == 4 ? gate_rows<4> : gate_rows<1>, grid, dim3(GATE_THREADS), 0, stream, gate, up, *out);
    }
}
