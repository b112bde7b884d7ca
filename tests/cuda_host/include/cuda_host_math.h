/* Intrinsics that only compute. SPDX-License-Identifier: MIT
 *
 * Source: CUDA Math API Reference Manual, "Single Precision Intrinsics", "Type Casting Intrinsics", "Integer Intrinsics". Only
 * those that round as IEEE 754 says: the fast approximations have no twin here, and no place in the backend. */
#ifndef TESTS_CUDA_HOST_CUDA_HOST_MATH_H
#define TESTS_CUDA_HOST_CUDA_HOST_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define CUDA_HOST_MIN_MAX(type)                      \
    static inline constexpr type min(type a, type b) \
    {                                                \
        return b < a ? b : a;                        \
    }                                                \
    static inline constexpr type max(type a, type b) \
    {                                                \
        return a < b ? b : a;                        \
    }
CUDA_HOST_MIN_MAX(int)
CUDA_HOST_MIN_MAX(unsigned int)
CUDA_HOST_MIN_MAX(long)
CUDA_HOST_MIN_MAX(unsigned long)
CUDA_HOST_MIN_MAX(long long)
CUDA_HOST_MIN_MAX(unsigned long long)
#undef CUDA_HOST_MIN_MAX

static inline float min(float a, float b)
{
    return fminf(a, b);
}

static inline float max(float a, float b)
{
    return fmaxf(a, b);
}

static inline double min(double a, double b)
{
    return fmin(a, b);
}

static inline double max(double a, double b)
{
    return fmax(a, b);
}

namespace cuda_host
{
template <typename To, typename From> static inline To bits(From from)
{
    static_assert(sizeof(To) == sizeof(From), "bits of another size");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

/* Saturates, NaN becomes 0. */
template <typename To, typename From> static inline To to_int(From whole)
{
    constexpr int n_bits = sizeof(To) * 8 - ((To)-1 < 0);
    constexpr To most = (To)((((To)1 << (n_bits - 1)) - 1) * 2 + 1), least = (To)-1 < 0 ? (To)(-most - 1) : 0;
    if (whole != whole) {
        return 0;
    }
    return whole >= ldexp((From)1, n_bits) ? most : whole <= (From)least ? least : (To)whole;
}
} // namespace cuda_host

/* -- bits -- */

static inline int __float_as_int(float x)
{
    return cuda_host::bits<int>(x);
}

static inline unsigned int __float_as_uint(float x)
{
    return cuda_host::bits<unsigned int>(x);
}

static inline float __int_as_float(int x)
{
    return cuda_host::bits<float>(x);
}

static inline float __uint_as_float(unsigned int x)
{
    return cuda_host::bits<float>(x);
}

static inline long long __double_as_longlong(double x)
{
    return cuda_host::bits<long long>(x);
}

static inline double __longlong_as_double(long long x)
{
    return cuda_host::bits<double>(x);
}

static inline int __popc(unsigned int x)
{
    return __builtin_popcount(x);
}

static inline int __popcll(unsigned long long x)
{
    return __builtin_popcountll(x);
}

static inline int __clz(int x)
{
    return x ? __builtin_clz((unsigned int)x) : 32;
}

static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}

static inline unsigned int __umulhi(unsigned int a, unsigned int b)
{
    return (unsigned int)((uint64_t)a * b >> 32);
}

static inline unsigned int __funnelshift_l(unsigned int low, unsigned int high, unsigned int shift)
{
    return (unsigned int)((((uint64_t)high << 32 | low) << (shift & 31)) >> 32);
}

static inline unsigned int __funnelshift_r(unsigned int low, unsigned int high, unsigned int shift)
{
    return (unsigned int)(((uint64_t)high << 32 | low) >> (shift & 31));
}

/* The sign-replicating mode of PRMT (bit 3 of a selector) included. */
static inline unsigned int __byte_perm(unsigned int a, unsigned int b, unsigned int selectors)
{
    uint64_t bytes = (uint64_t)b << 32 | a;
    unsigned int result = 0;
    for (int i = 0; i < 4; i++) {
        unsigned int selector = selectors >> 4 * i & 15, byte = bytes >> 8 * (selector & 7) & 255;
        if (selector & 8) {
            byte = byte & 128 ? 255 : 0;
        }
        result |= byte << 8 * i;
    }
    return result;
}

/* -- four bytes at a time -- */

static inline int __dp4a(int a, int b, int c)
{
    for (int i = 0; i < 32; i += 8) {
        c = (int)((unsigned int)c + (unsigned int)((int8_t)(a >> i) * (int8_t)(b >> i)));
    }
    return c;
}

static inline unsigned int __dp4a(unsigned int a, unsigned int b, unsigned int c)
{
    for (int i = 0; i < 32; i += 8) {
        c += (a >> i & 255) * (b >> i & 255);
    }
    return c;
}

static inline unsigned int __vadd4(unsigned int a, unsigned int b)
{
    return ((a & 0x7F7F7F7F) + (b & 0x7F7F7F7F)) ^ ((a ^ b) & 0x80808080);
}

static inline unsigned int __vsub4(unsigned int a, unsigned int b)
{
    return ((a | 0x80808080) - (b & 0x7F7F7F7F)) ^ ((a ^ ~b) & 0x80808080);
}

/* -- conversions -- */

static inline int __float2int_rn(float x)
{
    return cuda_host::to_int<int>(rintf(x));
}

static inline int __float2int_rz(float x)
{
    return cuda_host::to_int<int>(truncf(x));
}

static inline int __float2int_rd(float x)
{
    return cuda_host::to_int<int>(floorf(x));
}

static inline int __float2int_ru(float x)
{
    return cuda_host::to_int<int>(ceilf(x));
}

static inline unsigned int __float2uint_rn(float x)
{
    return cuda_host::to_int<unsigned int>(rintf(x));
}

static inline int __double2int_rn(double x)
{
    return cuda_host::to_int<int>(rint(x));
}

static inline long long __double2ll_rn(double x)
{
    return cuda_host::to_int<long long>(rint(x));
}

static inline float __double2float_rn(double x)
{
    return (float)x;
}

static inline float __int2float_rn(int x)
{
    return (float)x;
}

static inline float __uint2float_rn(unsigned int x)
{
    return (float)x;
}

static inline double __int2double_rn(int x)
{
    return x;
}

/* -- arithmetic, rounded to nearest even -- */

static inline float __fmaf_rn(float a, float b, float c)
{
    return fmaf(a, b, c);
}

static inline float __fadd_rn(float a, float b)
{
    return a + b;
}

static inline float __fsub_rn(float a, float b)
{
    return a - b;
}

static inline float __fmul_rn(float a, float b)
{
    return a * b;
}

static inline float __fdiv_rn(float a, float b)
{
    return a / b;
}

static inline float __frcp_rn(float a)
{
    return 1.0f / a;
}

static inline float __fsqrt_rn(float a)
{
    return sqrtf(a);
}

static inline double __fma_rn(double a, double b, double c)
{
    return fma(a, b, c);
}

static inline double __dadd_rn(double a, double b)
{
    return a + b;
}

static inline double __dmul_rn(double a, double b)
{
    return a * b;
}

/* -- loads and stores with a hint about caches -- */

template <typename T> static inline T __ldg(const T *at)
{
    return *at;
}

template <typename T> static inline T __ldcg(const T *at)
{
    return *at;
}

template <typename T> static inline T __ldcs(const T *at)
{
    return *at;
}

template <typename T> static inline void __stcg(T *at, T value)
{
    *at = value;
}

template <typename T> static inline void __stcs(T *at, T value)
{
    *at = value;
}

#endif
