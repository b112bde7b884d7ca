/* exp and log with the same bits on every machine; libm's differ between C libraries. SPDX-License-Identifier: MIT */
#ifndef SRC_CORE_MATH_H
#define SRC_CORE_MATH_H

#ifdef __cplusplus
extern "C" {
#endif

/* The exp of the numeric contract (kernels/README.md): 0 below -87, exp(88) above 88, NaN stays NaN. Within 2 units in the last place. */
float math_exp(float x);

/* Natural logarithm within 1 unit in the last place; -infinity for 0, NaN for negative numbers and NaN, +infinity stays. */
double math_log(double x);

#ifdef __cplusplus
}
#endif
#endif
