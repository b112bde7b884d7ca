/* The contract's exp, sine and cosine, tree and int8 blocks for one thread, half a warp and one warp. SPDX-License-Identifier:
 * MIT
 *
 * kernels/README.md defines them; kernels/cpu/math_ref.c and src/core/math.c are the same operations in the same order. Built
 * with
 * --fmad=false, so that only fmaf is fused. */
#ifndef KERNELS_CUDA_CUDA_MATH_H
#define KERNELS_CUDA_CUDA_MATH_H

#include "kernels/cuda/backend_cuda.h"

enum { CUDA_WARP = 32, CUDA_LANES = 16 /* of the contract's sums */ };
#define CUDA_ALL_LANES 0xffffffffu

static __device__ __forceinline__ float cuda_half_to_float(uint16_t half)
{
    return __half2float(__ushort_as_half(half));
}

static __device__ __forceinline__ uint16_t cuda_half_from_float(float x)
{
    return __half_as_ushort(__float2half_rn(x));
}

/* Source: Cephes, expf.c (S. Moshier), as math_exp. */
static __device__ __forceinline__ float cuda_exp(float x)
{
    float clamped = fminf(fmaxf(x, -87.0f), 88.0f);
    float n = (clamped * 1.44269504f + 12582912.0f) - 12582912.0f;
    float r = fmaf(n, -0.693359375f, clamped);
    r = fmaf(n, 2.12194440e-4f, r);
    float p = 1.9875691500e-4f;
    p = fmaf(p, r, 1.3981999507e-3f);
    p = fmaf(p, r, 8.3334519073e-3f);
    p = fmaf(p, r, 4.1665795894e-2f);
    p = fmaf(p, r, 1.6666665459e-1f);
    p = fmaf(p, r, 5.0000001201e-1f);
    float y = fmaf(p, r * r, r) + 1.0f;
    y = __uint_as_float(__float_as_uint(y) + ((uint32_t)(int32_t)n << 23));
    y = x < -87.0f ? 0.0f : y;
    return x != x ? x : y;
}

/* As sin_cos_ref. Source of the parts of pi/2: fdlibm, e_rem_pio2.c. */
static __device__ __forceinline__ void cuda_sin_cos(double x, double *sine, double *cosine)
{
    const double s[8] = {1.0 / 355687428096000.0, -1.0 / 1307674368000.0, 1.0 / 6227020800.0, -1.0 / 39916800.0,
                         1.0 / 362880.0,          -1.0 / 5040.0,          1.0 / 120.0,        -1.0 / 6.0};
    const double c[8] = {1.0 / 20922789888000.0, -1.0 / 87178291200.0, 1.0 / 479001600.0, -1.0 / 3628800.0,
                         1.0 / 40320.0,          -1.0 / 720.0,         1.0 / 24.0,        -1.0 / 2.0};
    double n = rint(x * 0.63661977236758134308);
    double r = x - n * 1.57079632673412561417;
    r = r - n * 6.07710050630396597660e-11;
    r = r - n * 2.02226624879595063154e-21;
    double z = r * r, ps = s[0], pc = c[0];
#pragma unroll
    for (int i = 1; i < 8; i++) {
        ps = ps * z + s[i];
        pc = pc * z + c[i];
    }
    double sin_r = r + (r * z) * ps, cos_r = 1.0 + z * pc;
    int quadrant = (int)((long long)n & 3);
    double first = quadrant & 1 ? cos_r : sin_r, second = quadrant & 1 ? sin_r : cos_r;
    *sine = quadrant & 2 ? -first : first;
    *cosine = quadrant == 1 || quadrant == 2 ? -second : second;
}

/* The largest, and the contract's tree, of the 16 values of half a warp; every lane of the warp calls, every lane gets its half's
 * result (the two operands of a step are added in either order, which is the same). */
static __device__ __forceinline__ float cuda_half_warp_max(float x)
{
#pragma unroll
    for (int apart = CUDA_LANES / 2; apart > 0; apart /= 2) {
        x = fmaxf(x, __shfl_xor_sync(CUDA_ALL_LANES, x, apart));
    }
    return x;
}
static __device__ __forceinline__ float cuda_half_warp_sum(float x)
{
#pragma unroll
    for (int apart = CUDA_LANES / 2; apart > 0; apart /= 2) {
        x += __shfl_xor_sync(CUDA_ALL_LANES, x, apart);
    }
    return x;
}

/* n floats, 4 n bytes aligned (16 for n > 4). */
template <int n> static __device__ __forceinline__ void cuda_load_floats(const float *from, float *to)
{
    if constexpr (n % 4 == 0) {
#pragma unroll
        for (int i = 0; i < n; i += 4) {
            float4 four = *(const float4 *)(from + i);
            to[i] = four.x, to[i + 1] = four.y, to[i + 2] = four.z, to[i + 3] = four.w;
        }
    } else if constexpr (n == 2) {
        float2 two = *(const float2 *)from;
        to[0] = two.x, to[1] = two.y;
    } else {
#pragma unroll
        for (int i = 0; i < n; i++) {
            to[i] = from[i];
        }
    }
}
template <int n> static __device__ __forceinline__ void cuda_store_floats(const float *from, float *to)
{
    if constexpr (n % 4 == 0) {
#pragma unroll
        for (int i = 0; i < n; i += 4) {
            *(float4 *)(to + i) = make_float4(from[i], from[i + 1], from[i + 2], from[i + 3]);
        }
    } else {
#pragma unroll
        for (int i = 0; i < n; i++) {
            to[i] = from[i];
        }
    }
}

/* 1 / d of a block's scale, 0 where that would be infinite. */
static __device__ __forceinline__ float cuda_block_inverse(float d)
{
    return d >= 0x1p-126f ? 1.0f / d : 0.0f;
}
static __device__ __forceinline__ int32_t cuda_block_round(float x, float inverse)
{
    return (int32_t)fminf(fmaxf(rintf(x * inverse), -127.0f), 127.0f);
}

/* Columns [col, col + Width) of a row, y, in the forms of the activation; the lanes of a warp hold neighbouring columns beginning
 * at a multiple of 32. Every lane of the warp calls, those with col >= out.cols write nothing. Width: 1, or 4 where cols is a
 * multiple of 4.
 */
template <int Width>
static __device__ __forceinline__ void cuda_store_act(const struct backend_act &out, int32_t row, int32_t col,
                                                      const float y[Width])
{
    enum { LANES = CUDA_Q8_BLOCK / Width };
    int inside = col < out.cols;
    size_t place = (size_t)row * (size_t)out.cols + (size_t)col;
    if ((out.forms & BACKEND_ACT_FLOAT) && inside) {
        cuda_store_floats<Width>(y, out.x + place);
    }
    if (!(out.forms & BACKEND_ACT_INT8)) {
        return;
    }
    float amax = 0;
#pragma unroll
    for (int i = 0; i < Width; i++) {
        amax = fmaxf(amax, inside ? fabsf(y[i]) : 0.0f);
    }
#pragma unroll
    for (int apart = LANES / 2; apart > 0; apart /= 2) {
        amax = fmaxf(amax, __shfl_xor_sync(CUDA_ALL_LANES, amax, apart));
    }
    float d = amax / 127.0f, inverse = cuda_block_inverse(d);
    int32_t sum = 0;
    uint32_t bytes = 0;
#pragma unroll
    for (int i = 0; i < Width; i++) {
        int32_t q = inside ? cuda_block_round(y[i], inverse) : 0;
        sum += q;
        bytes |= ((uint32_t)q & 0xffu) << (8 * i);
    }
#pragma unroll
    for (int apart = LANES / 2; apart > 0; apart /= 2) {
        sum += __shfl_xor_sync(CUDA_ALL_LANES, sum, apart);
    }
    if (!inside) {
        return;
    }
    if constexpr (Width == 4) {
        *(uint32_t *)(out.q + place) = bytes;
    } else {
        out.q[place] = (int8_t)bytes;
    }
    if (col % CUDA_Q8_BLOCK == 0) {
        out.d[place / CUDA_Q8_BLOCK] = d;
        out.sum[place / CUDA_Q8_BLOCK] = (float)sum;
    }
}

#endif
