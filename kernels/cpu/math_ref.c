/* SPDX-License-Identifier: MIT */
#include "kernels/cpu/math_ref.h"

#include <math.h>
#include <stdint.h>

float sum_lanes_ref(float *lane)
{
    for (int width = 8; width > 0; width /= 2) {
        for (int l = 0; l < width; l++) {
            lane[l] += lane[l + width];
        }
    }
    return lane[0];
}

/* Source of the parts of pi/2: fdlibm, e_rem_pio2.c (33 bits each,
 * so that n times a part is exact); the polynomials are Taylor's. */
void sin_cos_ref(double x, double *sine, double *cosine)
{
    static const double s[8] = {1.0 / 355687428096000.0, -1.0 / 1307674368000.0, 1.0 / 6227020800.0, -1.0 / 39916800.0,
                                1.0 / 362880.0,          -1.0 / 5040.0,          1.0 / 120.0,        -1.0 / 6.0};
    static const double c[8] = {1.0 / 20922789888000.0, -1.0 / 87178291200.0, 1.0 / 479001600.0, -1.0 / 3628800.0,
                                1.0 / 40320.0,          -1.0 / 720.0,         1.0 / 24.0,        -1.0 / 2.0};
    double n = rint(x * 0.63661977236758134308);
    double r = x - n * 1.57079632673412561417;
    r = r - n * 6.07710050630396597660e-11;
    r = r - n * 2.02226624879595063154e-21;
    double z = r * r, ps = s[0], pc = c[0];
    for (int i = 1; i < 8; i++) {
        ps = ps * z + s[i];
        pc = pc * z + c[i];
    }
    double sin_r = r + (r * z) * ps, cos_r = 1.0 + z * pc;
    int64_t quadrant = (int64_t)n & 3;
    double first = quadrant & 1 ? cos_r : sin_r, second = quadrant & 1 ? sin_r : cos_r;
    *sine = quadrant & 2 ? -first : first;
    *cosine = quadrant == 1 || quadrant == 2 ? -second : second;
}
