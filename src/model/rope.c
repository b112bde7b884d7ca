/* SPDX-License-Identifier: MIT */
#include "src/model/rope.h"

#include <math.h>
#include <stddef.h>

static const double LN2 = 0.693147180559945309417;

/* Natural logarithm of a positive normal number, to about 1e-16 relative of the result's scale: x = 2^e * m with m in [sqrt(1/2),
 * sqrt(2)), then the series of atanh. frexp and ldexp are exact. */
static double log_positive(double x)
{
    int e;
    double m = frexp(x, &e);
    if (m < 0.70710678118654752440) {
        m *= 2;
        e--;
    }
    double s = (m - 1) / (m + 1), s2 = s * s, sum = 0;
    for (int k = 25; k >= 1; k -= 2) {
        sum = sum * s2 + 1.0 / k;
    }
    return e * LN2 + 2 * s * sum;
}

/* exp of a moderate number: n ln2 + r with |r| <= ln2 / 2, Taylor to the 17th power. */
static double exp_moderate(double x)
{
    double n = floor(x / LN2 + 0.5), r = x - n * LN2, sum = 1;
    for (int k = 17; k >= 1; k--) {
        sum = 1 + sum * r / k;
    }
    return ldexp(sum, (int)n);
}

void rope_frequencies(int32_t n_rot, double base, double factor, const float *factors, double *freqs)
{
    double log_base = log_positive(base);
    for (int32_t i = 0; i < n_rot / 2; i++) {
        double f = factor * (factors ? (double)factors[i] : 1.0);
        freqs[i] = exp_moderate(-2.0 * i / n_rot * log_base) / f;
    }
}
