/* Eight neighbouring values of a page of keys or values, from memory to f32. SPDX-License-Identifier: MIT */
#ifndef KERNELS_CUDA_CUDA_KV_RUN_H
#define KERNELS_CUDA_CUDA_KV_RUN_H

#include "kernels/cuda/cuda_attention.h"

enum { CUDA_KV_RUN = 8 };

/* Eight neighbouring values of a page as they are kept: the bytes, for q8_0 with 8 half scales in b. */
struct cuda_kv_run {
    uint4 a, b;
};

static __device__ __forceinline__ void load_run(kv_type type, const char *page, int32_t element, struct cuda_kv_run *run)
{
    if (type == KV_F32) {
        const uint4 *from = (const uint4 *)(page + (size_t)element * 4);
        run->a = from[0];
        run->b = from[1];
    } else if (type == KV_F16) {
        run->a = *(const uint4 *)(page + (size_t)element * 2);
    } else {
        uint2 bytes = *(const uint2 *)(page + element);
        run->a.x = bytes.x;
        run->a.y = bytes.y;
    }
}

static __device__ __forceinline__ void cuda_load_key_run(const struct cuda_attention_view &view, const char *page,
                                                         int32_t element, struct cuda_kv_run *run)
{
    load_run(view.k_type, page, element, run);
    if (view.k_type == KV_Q8_0) {
        const uint16_t *scales = (const uint16_t *)(page + (size_t)view.layer.shape.k_dim * KV_PAGE);
        run->b = *(const uint4 *)(scales + element / (KV_PAGE * CUDA_Q8_BLOCK) * KV_PAGE + element % KV_PAGE);
    }
}

static __device__ __forceinline__ void cuda_load_value_run(const struct cuda_attention_view &view, const char *page,
                                                           int32_t element, struct cuda_kv_run *run)
{
    load_run(view.v_type, page, element, run);
    if (view.v_type == KV_Q8_0) {
        int32_t v_dim = view.layer.shape.v_dim, n_blocks = (v_dim + CUDA_Q8_BLOCK - 1) / CUDA_Q8_BLOCK;
        const uint16_t *scales = (const uint16_t *)(page + (size_t)v_dim * KV_PAGE);
        uint32_t scale = scales[element / v_dim * n_blocks + element % v_dim / CUDA_Q8_BLOCK];
        scale |= scale << 16;
        run->b = make_uint4(scale, scale, scale, scale);
    }
}

static __device__ __forceinline__ void widen_pair(uint32_t halves, float *x)
{
    x[0] = cuda_half_to_float((uint16_t)halves);
    x[1] = cuda_half_to_float((uint16_t)(halves >> 16));
}

static __device__ __forceinline__ void widen_halves(const uint4 &halves, float x[CUDA_KV_RUN])
{
    widen_pair(halves.x, x);
    widen_pair(halves.y, x + 2);
    widen_pair(halves.z, x + 4);
    widen_pair(halves.w, x + 6);
}

/* The run's values as f32 to shared memory. */
static __device__ __forceinline__ void cuda_store_run(kv_type type, const struct cuda_kv_run &run, float *to)
{
    float x[CUDA_KV_RUN];
    if (type == KV_F32) {
        *(uint4 *)to = run.a;
        *(uint4 *)(to + 4) = run.b;
        return;
    }
    if (type == KV_F16) {
        widen_halves(run.a, x);
    } else {
        widen_halves(run.b, x);
#pragma unroll
        for (int i = 0; i < CUDA_KV_RUN; i++) {
            x[i] = x[i] * (float)(int8_t)((i < 4 ? run.a.x : run.a.y) >> (8 * (i % 4)));
        }
    }
    cuda_store_floats<CUDA_KV_RUN>(x, to);
}

#endif
