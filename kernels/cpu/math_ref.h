/* The contract's elementary operations on single values, for the scalar reference and for tails. SPDX-License-Identifier: MIT */
#ifndef KERNELS_CPU_MATH_REF_H
#define KERNELS_CPU_MATH_REF_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* e^x, kernels/README.md "exp". Source: Cephes, expf.c (S. Moshier). */
static inline float exp_ref(float x)
{
    static const float c[6] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                               4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
    if (x != x) {
        return x;
    }
    if (x < -87.0f) {
        return 0.0f;
    }
    if (x > 88.0f) {
        x = 88.0f;
    }
    float n = rintf(x * 1.44269504f);
    float r = fmaf(n, -0.693359375f, x);
    r = fmaf(n, 2.12194440e-4f, r);
    float p = c[0];
    for (int i = 1; i < 6; i++) {
        p = fmaf(p, r, c[i]);
    }
    float y = fmaf(p, r * r, r) + 1.0f;
    int32_t bits;
    memcpy(&bits, &y, sizeof bits);
    bits += (int32_t)n * (1 << 23);
    memcpy(&y, &bits, sizeof y);
    return y;
}

/* Sum of 16 lanes by the contract's tree; overwrites them. */
static inline float sum_lanes_ref(float *lane)
{
    for (int width = 8; width > 0; width /= 2) {
        for (int l = 0; l < width; l++) {
            lane[l] += lane[l + width];
        }
    }
    return lane[0];
}

#endif
