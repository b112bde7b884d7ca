/* The reference's attention, defined in its own file. SPDX-License-Identifier: MIT */
#ifndef KERNELS_CPU_REF_H
#define KERNELS_CPU_REF_H

#include "kernels/cpu/cpu_kernels.h"

void attend_ref(const struct attend_job *job);
size_t attend_scratch_bytes_ref(int32_t k_dim, int32_t v_dim, int32_t n_queries);

#endif
