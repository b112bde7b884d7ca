/* The NEON table: quantising, norm and gate; matmul and attention have files of their own. SPDX-License-Identifier: MIT */
#include <asm/hwcap.h>
#include <float.h>
#include <math.h>
#include <sys/auxv.h>

#include "kernels/cpu/math_ref.h"
#include "kernels/cpu/neon_common.h"
#include "src/core/math.h"

static void quantize_neon(const float *x, int32_t n_values, int8_t *q, float *d, float *sum)
{
    for (int32_t b = 0; b < n_values / Q8_BLOCK; b++, x += Q8_BLOCK, q += Q8_BLOCK) {
        float32x4_t v[8];
        float32x4_t top = vdupq_n_f32(0);
        NEON_UNROLL
        for (int i = 0; i < 8; i++) {
            v[i] = vld1q_f32(x + 4 * i);
            top = vmaxnmq_f32(top, vabsq_f32(v[i]));
        }
        d[b] = vmaxnmvq_f32(top) / 127.0f;
        const float id = d[b] >= FLT_MIN ? 1.0f / d[b] : 0.0f;
        int32x4_t total = vdupq_n_s32(0);
        NEON_UNROLL
        for (int i = 0; i < 2; i++) {
            int32x4_t n[4];
            NEON_UNROLL
            for (int j = 0; j < 4; j++) {
                n[j] = vcvtnq_s32_f32(vmaxnmq_f32(vmulq_n_f32(v[4 * i + j], id), vdupq_n_f32(-127.0f))); /* NaN: -127 */
            }
            int16x8_t low = vqmovn_high_s32(vqmovn_s32(n[0]), n[1]), high = vqmovn_high_s32(vqmovn_s32(n[2]), n[3]);
            int8x16_t bytes = vqmovn_high_s16(vqmovn_s16(low), high);
            vst1q_s8(q + 16 * i, bytes);
            total = vdotq_s32(total, bytes, vdupq_n_s8(1));
        }
        sum[b] = (float)vaddvq_s32(total);
    }
}

/* By the contract's lanes and tree. */
static float sum_squares(const float *x, int32_t n)
{
    float lane[16];
    float32x4_t acc[4];
    int32_t i = 0;
    acc[0] = acc[1] = acc[2] = acc[3] = vdupq_n_f32(0);
    for (; i + 16 <= n; i += 16) {
        NEON_UNROLL
        for (int v = 0; v < 4; v++) {
            float32x4_t xv = vld1q_f32(x + i + 4 * v);
            acc[v] = vfmaq_f32(acc[v], xv, xv);
        }
    }
    for (int v = 0; v < 4; v++) {
        vst1q_f32(lane + 4 * v, acc[v]);
    }
    for (int l = 0; i < n; i++, l++) {
        lane[l] = fmaf(x[i], x[i], lane[l]);
    }
    return sum_lanes_ref(lane);
}

static void rms_norm_neon(const float *x, const float *w, int32_t n, float eps, float *y)
{
    const float s = 1.0f / sqrtf(sum_squares(x, n) / (float)n + eps);
    int32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        vst1q_f32(y + i, vmulq_f32(vmulq_n_f32(vld1q_f32(x + i), s), vld1q_f32(w + i)));
    }
    for (; i < n; i++) {
        y[i] = (x[i] * s) * w[i];
    }
}

static void silu_gate_neon(const float *g, const float *u, int32_t n, float *y)
{
    int32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t gate = vld1q_f32(g + i);
        float32x4_t below = vaddq_f32(vdupq_n_f32(1.0f), exp_neon(vnegq_f32(gate)));
        vst1q_f32(y + i, vmulq_f32(vdivq_f32(gate, below), vld1q_f32(u + i)));
    }
    for (; i < n; i++) {
        y[i] = (g[i] / (1.0f + math_exp(-g[i]))) * u[i];
    }
}

int cpu_kernels_init_neon(struct cpu_kernels *table)
{
    if (!(getauxval(AT_HWCAP) & HWCAP_ASIMDDP)) {
        return 0;
    }
    table->isa = "neon";
    table->quantize = quantize_neon;
    table->rms_norm = rms_norm_neon;
    table->silu_gate = silu_gate_neon;
    neon_matmul_init(table);
    neon_packed_init(table);
    neon_matmul_float_init(table);
    neon_attend_init(table);
    return 1;
}
