/* What the NEON files share: loop unrolling, widening, transposes, the contract's tree and exp on vectors.
 * SPDX-License-Identifier: MIT */
#ifndef KERNELS_CPU_NEON_COMMON_H
#define KERNELS_CPU_NEON_COMMON_H

#include <arm_neon.h>

#include "kernels/cpu/cpu_kernels.h"

/* The generic loops are written once and become one function a type because every caller passes constants. */
#define NEON_INLINE static inline __attribute__((always_inline))

/* Arrays of vectors stay in registers only when the loops over them are unrolled. */
#ifdef __clang__
#define NEON_UNROLL _Pragma("unroll")
#else
#define NEON_UNROLL _Pragma("GCC unroll 16")
#endif

/* The parts of the table that live in files of their own. */
void neon_matmul_init(struct cpu_kernels *table);       /* quantised types, weight_rows, matmul_scratch_bytes */
void neon_packed_init(struct cpu_kernels *table);       /* packed weights; scratch: that of neon_matmul_init */
void neon_matmul_float_init(struct cpu_kernels *table); /* F32 F16 BF16 */
void neon_attend_init(struct cpu_kernels *table);

NEON_INLINE float32x4_t half4_to_float(uint16x4_t h)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(h));
}

NEON_INLINE float32x4_t half4_high_to_float(uint16x8_t h)
{
    return vcvt_high_f32_f16(vreinterpretq_f16_u16(h));
}

/* The contract's tree over 16 lanes, lane l in element l mod 4 of vector l / 4. */
NEON_INLINE float sum_lanes_neon(const float32x4_t lane[4])
{
    float32x4_t four = vaddq_f32(vaddq_f32(lane[0], lane[2]), vaddq_f32(lane[1], lane[3]));
    float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

/* v[i][j] becomes v[j][i]. */
NEON_INLINE void transpose4_neon(uint32x4_t v[4])
{
    uint64x2_t t0 = vreinterpretq_u64_u32(vtrn1q_u32(v[0], v[1]));
    uint64x2_t t1 = vreinterpretq_u64_u32(vtrn2q_u32(v[0], v[1]));
    uint64x2_t t2 = vreinterpretq_u64_u32(vtrn1q_u32(v[2], v[3]));
    uint64x2_t t3 = vreinterpretq_u64_u32(vtrn2q_u32(v[2], v[3]));
    v[0] = vreinterpretq_u32_u64(vtrn1q_u64(t0, t2));
    v[1] = vreinterpretq_u32_u64(vtrn1q_u64(t1, t3));
    v[2] = vreinterpretq_u32_u64(vtrn2q_u64(t0, t2));
    v[3] = vreinterpretq_u32_u64(vtrn2q_u64(t1, t3));
}

/* e^x, kernels/README.md "exp". Source: Cephes, expf.c (S. Moshier). */
NEON_INLINE float32x4_t exp_neon(float32x4_t x)
{
    static const float c[6] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                               4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
    float32x4_t capped = vminq_f32(x, vdupq_n_f32(88.0f));
    float32x4_t n = vrndnq_f32(vmulq_n_f32(capped, 1.44269504f));
    float32x4_t r = vfmaq_n_f32(capped, n, -0.693359375f);
    r = vfmaq_n_f32(r, n, 2.12194440e-4f);
    float32x4_t p = vdupq_n_f32(c[0]);
    NEON_UNROLL
    for (int i = 1; i < 6; i++) {
        p = vfmaq_f32(vdupq_n_f32(c[i]), p, r);
    }
    float32x4_t y = vaddq_f32(vfmaq_f32(r, p, vmulq_f32(r, r)), vdupq_n_f32(1.0f));
    int32x4_t bits = vaddq_s32(vreinterpretq_s32_f32(y), vshlq_n_s32(vcvtq_s32_f32(n), 23));
    uint32x4_t tiny = vcltq_f32(x, vdupq_n_f32(-87.0f));
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_s32(bits), tiny));
}

#endif
