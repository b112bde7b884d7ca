/* Half precision: storage and conversions; the backend computes in f32. SPDX-License-Identifier: MIT
 *
 * Source: CUDA Math API Reference Manual, "Half Precision Intrinsics". */
#ifndef TESTS_CUDA_HOST_CUDA_FP16_H
#define TESTS_CUDA_HOST_CUDA_FP16_H

#include "cuda_host_math.h"
#include "vector_types.h"

struct __half {
    unsigned short bits;
};
struct alignas(4) __half2 {
    __half x, y;
};
typedef __half half;
typedef __half2 half2;

static inline __half __ushort_as_half(unsigned short bits)
{
    return {bits};
}

static inline unsigned short __half_as_ushort(__half h)
{
    return h.bits;
}

static inline float __half2float(__half h)
{
    uint32_t sign = (uint32_t)(h.bits & 0x8000) << 16, exponent = h.bits >> 10 & 31, fraction = h.bits & 0x3FF;
    if (exponent == 0) {
        float magnitude = (float)fraction * 0x1p-24f;
        return __uint_as_float(sign | __float_as_uint(magnitude));
    }
    exponent = exponent == 31 ? 255 : exponent + 112;
    return __uint_as_float(sign | exponent << 23 | fraction << 13);
}

/* To nearest, ties to even; every NaN becomes 0x7FFF, as on the device. */
static inline __half __float2half_rn(float x)
{
    uint32_t bits = __float_as_uint(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000) {
        return {0x7FFF};
    }
    if (magnitude >= 0x477FF000) { /* 65520, half way behind the greatest */
        return {(unsigned short)(sign | 0x7C00)};
    }
    if (magnitude < 0x38800000) { /* 2^-14: subnormal, the adder rounds */
        float scaled = __uint_as_float(magnitude) + 0.5f;
        return {(unsigned short)(sign | (__float_as_uint(scaled) - 0x3F000000))};
    }
    uint32_t rounded = magnitude + 0xFFF + (magnitude >> 13 & 1);
    return {(unsigned short)(sign | ((rounded - 0x38000000) >> 13))};
}

static inline __half __float2half(float x)
{
    return __float2half_rn(x);
}

static inline __half2 __halves2half2(__half x, __half y)
{
    return {x, y};
}

static inline __half2 __floats2half2_rn(float x, float y)
{
    return {__float2half_rn(x), __float2half_rn(y)};
}

static inline float2 __half22float2(__half2 h)
{
    return {__half2float(h.x), __half2float(h.y)};
}

static inline __half __low2half(__half2 h)
{
    return h.x;
}

static inline __half __high2half(__half2 h)
{
    return h.y;
}

static inline float __low2float(__half2 h)
{
    return __half2float(h.x);
}

static inline float __high2float(__half2 h)
{
    return __half2float(h.y);
}

#endif
