/* The contract's sum of 16 lanes, and its sine and cosine. SPDX-License-Identifier: MIT */
#ifndef KERNELS_CPU_MATH_REF_H
#define KERNELS_CPU_MATH_REF_H

/* Sum of 16 lanes by the contract's tree; overwrites them. */
float sum_lanes_ref(float *lane);

/* kernels/README.md "Rope"; for |x| up to 1e6 the error is below 3e-16. */
void sin_cos_ref(double x, double *sine, double *cosine);

#endif
