/* SPDX-License-Identifier: MIT */
#include "src/core/math.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Source: Cephes, expf.c (S. Moshier): coefficients and the two-part ln 2. */
float math_exp(float x)
{
    if (isnan(x)) {
        return x;
    }
    if (x < -87.0f) {
        return 0.0f;
    }
    x = x > 88.0f ? 88.0f : x;
    /* Adding and taking away 1.5 * 2^23 rounds to nearest even, as rint does, without a call. */
    float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
    float r = fmaf(n, -0.693359375f, x);
    r = fmaf(n, 2.12194440e-4f, r);
    float p = 1.9875691500e-4f;
    p = fmaf(p, r, 1.3981999507e-3f);
    p = fmaf(p, r, 8.3334519073e-3f);
    p = fmaf(p, r, 4.1665795894e-2f);
    p = fmaf(p, r, 1.6666665459e-1f);
    p = fmaf(p, r, 5.0000001201e-1f);
    float y = fmaf(p, r * r, r) + 1.0f;
    uint32_t bits;
    memcpy(&bits, &y, sizeof bits);
    bits += (uint32_t)(int32_t)n << 23;
    memcpy(&y, &bits, sizeof y);
    return y;
}

/* x = n ln 2 + r with |r| <= ln(2) / 2, then the Taylor series up to r^12 / 12!. */
double math_exp64(double x)
{
    if (isnan(x)) {
        return x;
    }
    if (x < -700.0) {
        return 0.0;
    }
    x = x > 700.0 ? 700.0 : x;
    double n = (x * 1.44269504088896338700e+00 + 0x1.8p52) - 0x1.8p52;
    double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    double r2 = r * r, r4 = r2 * r2; /* in short chains: the order of the operations is part of the result */
    double low = (1.0 + r) + r2 * (0.5 + r * (1.0 / 6));
    double mid = (1.0 / 24 + r * (1.0 / 120)) + r2 * (1.0 / 720 + r * (1.0 / 5040));
    double high = (1.0 / 40320 + r * (1.0 / 362880)) + r2 * (1.0 / 3628800 + r * (1.0 / 39916800)) + r4 * (1.0 / 479001600);
    double p = low + r4 * (mid + r4 * high);
    uint64_t bits;
    memcpy(&bits, &p, sizeof bits);
    bits += (uint64_t)(int64_t)n << 52;
    memcpy(&p, &bits, sizeof p);
    return p;
}

/* Source: fdlibm, e_log.c (Sun Microsystems): x = 2^k * (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), s = f / (2 + f),
 * log(1 + f) = f - (f*f/2 - s * (f*f/2 + R(s*s))). */
double math_log(double x)
{
    if (isnan(x) || x < 0) {
        return NAN;
    }
    if (x == 0) {
        return -INFINITY;
    }
    if (isinf(x)) {
        return x;
    }
    int k = 0;
    if (x < 0x1p-1022) { /* a subnormal has no leading one to find */
        x *= 0x1p54;
        k = -54;
    }
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    k += (int)(bits >> 52) - 1023;
    bits = (bits & 0x000fffffffffffffu) | 0x3ff0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        k++;
    }
    double f = m - 1.0;
    double s = f / (2.0 + f);
    double z = s * s;
    double w = z * z;
    double even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
    double odd = z * (6.666666666666735130e-01 +
                      w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
    double half = 0.5 * f * f;
    double low = s * (half + (even + odd)) + k * 1.90821492927058770002e-10;
    return k * 6.93147180369123816490e-01 - ((half - low) - f);
}
