/* Quantisation of activations, RMS norm and the gate with AVX2. Limits: memory, division. SPDX-License-Identifier: MIT */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/avx2.h"
#include "kernels/cpu/x86_float.h"

static float largest_of(__m256 v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

static int32_t sum_words(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

static void quantize_block(const float *x, int8_t *q, float *d, float *sum)
{
    const __m256 no_sign = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    __m256 v[4], amax = _mm256_setzero_ps();
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_loadu_ps(x + 8 * i);
        amax = _mm256_max_ps(_mm256_and_ps(v[i], no_sign), amax); /* a NaN leaves amax as it is */
    }
    *d = largest_of(amax) / 127.0f;
    __m256 id = _mm256_set1_ps(*d >= FLT_MIN ? 1.0f / *d : 0.0f);
    __m256i n[4];
    for (int i = 0; i < 4; i++) {
        /* Clamped before it is rounded: the same value, and the conversion never overflows. */
        __m256 scaled = _mm256_max_ps(_mm256_mul_ps(v[i], id), _mm256_set1_ps(-127.0f));
        n[i] = _mm256_cvtps_epi32(_mm256_min_ps(scaled, _mm256_set1_ps(127.0f)));
    }
    __m256i total = _mm256_add_epi32(_mm256_add_epi32(n[0], n[1]), _mm256_add_epi32(n[2], n[3]));
    *sum = (float)sum_words(total);
    __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(n[0], n[1]), _mm256_packs_epi32(n[2], n[3]));
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)q, bytes);
}

void quantize_avx2(const float *x, int32_t n, int8_t *q, float *d, float *sum)
{
    for (int32_t b = 0; b < n / Q8_BLOCK; b++) {
        quantize_block(x + b * Q8_BLOCK, q + b * Q8_BLOCK, d + b, sum + b);
    }
}

static float sum_of_squares(const float *x, int32_t n)
{
    __m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps();
    int32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + 8);
        low = _mm256_fmadd_ps(a, a, low);
        high = _mm256_fmadd_ps(b, b, high);
    }
    if (i < n) { /* squares are never -0, so zeros behind the end change nothing */
        __m256 a = _mm256_maskload_ps(x + i, first_lanes_avx2(n - i));
        low = _mm256_fmadd_ps(a, a, low);
        if (n - i > 8) {
            __m256 b = _mm256_maskload_ps(x + i + 8, first_lanes_avx2(n - i - 8));
            high = _mm256_fmadd_ps(b, b, high);
        }
    }
    return sum_lanes_avx2(low, high);
}

void rms_norm_avx2(const float *x, const float *w, int32_t n, float eps, float *y)
{
    float s = 1.0f / sqrtf(sum_of_squares(x, n) / (float)n + eps);
    __m256 scale = _mm256_set1_ps(s);
    int32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i), scale), _mm256_loadu_ps(w + i)));
    }
    for (; i < n; i++) {
        y[i] = (x[i] * s) * w[i];
    }
}

static __m256 gate8(__m256 g, __m256 u)
{
    __m256 e = exp_avx2(_mm256_xor_ps(g, _mm256_set1_ps(-0.0f)));
    return _mm256_mul_ps(_mm256_div_ps(g, _mm256_add_ps(_mm256_set1_ps(1.0f), e)), u);
}

void silu_gate_avx2(const float *g, const float *u, int32_t n, float *y)
{
    int32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(y + i, gate8(_mm256_loadu_ps(g + i), _mm256_loadu_ps(u + i)));
    }
    if (i < n) {
        __m256i in = first_lanes_avx2(n - i);
        _mm256_maskstore_ps(y + i, in, gate8(_mm256_maskload_ps(g + i, in), _mm256_maskload_ps(u + i, in)));
    }
}
