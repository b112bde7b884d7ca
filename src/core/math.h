/* exp and log with the same bits on every machine; libm's differ between C libraries. SPDX-License-Identifier: MIT */
#ifndef SRC_CORE_MATH_H
#define SRC_CORE_MATH_H

#ifdef __cplusplus
extern "C" {
#endif

/* The exp of the numeric contract (kernels/README.md): 0 below -87, exp(88) above 88, NaN stays NaN. Within 2 units in the last
 * place. */
float math_exp(float x);

/* exp in f64 without fma, for long sums on machines whose fma is a call: relative error below 1e-13; 0 below -700, exp(700) above
 * 700, NaN stays NaN. */
double math_exp64(double x);

/* Natural logarithm within 1 unit in the last place; -infinity for 0, NaN for negative numbers and NaN, +infinity stays. */
double math_log(double x);

#ifdef __cplusplus
}
#endif
#endif
