/* The AVX2 table's functions, each defined in the file of its kind. SPDX-License-Identifier: MIT */
#ifndef KERNELS_CPU_AVX2_H
#define KERNELS_CPU_AVX2_H

#include "kernels/cpu/cpu_kernels.h"

/* avx2_matmul.c, avx2_packed.c, avx2_matmul_float.c: set their types' entries; scratch that the first and the last want for k
 * columns. */
void matmul_set_avx2(struct cpu_kernels *table);
void packed_set_avx2(struct cpu_kernels *table);
void matmul_float_set_avx2(struct cpu_kernels *table);
size_t matmul_quantised_scratch_bytes_avx2(int32_t k);
size_t matmul_float_scratch_bytes_avx2(int32_t k);

/* avx2_vector.c */
void quantize_avx2(const float *x, int32_t n, int8_t *q, float *d, float *sum);
void rms_norm_avx2(const float *x, const float *w, int32_t n, float eps, float *y);
void silu_gate_avx2(const float *g, const float *u, int32_t n, float *y);

/* avx2_attend.c */
void attend_avx2(const struct attend_job *job);
size_t attend_scratch_bytes_avx2(int32_t k_dim, int32_t v_dim, int32_t n_queries);

#endif
