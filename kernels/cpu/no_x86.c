/* Stands in for the x86 tables on other architectures. SPDX-License-Identifier: MIT */
#include "kernels/cpu/cpu_kernels.h"

int cpu_kernels_init_avx2(struct cpu_kernels *table)
{
    (void)table;
    return 0;
}

int cpu_kernels_init_avx512(struct cpu_kernels *table)
{
    (void)table;
    return 0;
}

int cpu_kernels_init_avx512vnni(struct cpu_kernels *table)
{
    (void)table;
    return 0;
}
