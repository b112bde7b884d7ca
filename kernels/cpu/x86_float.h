/* Sixteen-lane sums, exp and loads of float weights with AVX2. SPDX-License-Identifier: MIT */
#ifndef KERNELS_CPU_X86_FLOAT_H
#define KERNELS_CPU_X86_FLOAT_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

/* The contract's tree over lanes 0 .. 7 and 8 .. 15. */
static inline float sum_lanes_avx2(__m256 low, __m256 high)
{
    __m256 v8 = _mm256_add_ps(low, high);
    __m128 v4 = _mm_add_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
    __m128 v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
    return _mm_cvtss_f32(_mm_add_ss(v2, _mm_movehdup_ps(v2)));
}

/* e^x, kernels/README.md "exp". Source: Cephes, expf.c (S. Moshier). */
static inline __m256 exp_avx2(__m256 argument)
{
    __m256 x = _mm256_min_ps(_mm256_set1_ps(88.0f), argument);
    __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-0.693359375f), x);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(2.12194440e-4f), r);
    __m256 p = _mm256_set1_ps(1.9875691500e-4f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.3981999507e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.0000001201e-1f));
    __m256 y = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0f));
    __m256i bits = _mm256_add_epi32(_mm256_castps_si256(y), _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23));
    __m256 too_small = _mm256_cmp_ps(argument, _mm256_set1_ps(-87.0f), _CMP_LT_OQ);
    __m256 is_nan = _mm256_cmp_ps(argument, argument, _CMP_UNORD_Q);
    y = _mm256_andnot_ps(too_small, _mm256_castsi256_ps(bits));
    return _mm256_blendv_ps(y, argument, is_nan);
}

/* All bits set in the first n lanes of eight. */
static inline __m256i first_lanes_avx2(int32_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* Eight weights as f32. */
typedef __m256 (*load8_fn)(const void *p);

static inline __m256 load8_f32(const void *p)
{
    return _mm256_loadu_ps(p);
}

static inline __m256 load8_f16(const void *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128(p));
}

static inline __m256 load8_bf16(const void *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}

#endif
