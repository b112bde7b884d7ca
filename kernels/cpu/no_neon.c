/* Stands in for the NEON table on other architectures. SPDX-License-Identifier: MIT */
#include "kernels/cpu/cpu_kernels.h"

int cpu_kernels_init_neon(struct cpu_kernels *table)
{
    (void)table;
    return 0;
}
