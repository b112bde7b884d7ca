/* The AVX2 table. SPDX-License-Identifier: MIT */
#include "kernels/cpu/avx2.h"

#include <cpuid.h>

/* Asked by hand: clang 14's __builtin_cpu_supports does not know the name. */
static int cpu_has_f16c(void)
{
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
}

static size_t matmul_scratch_bytes_avx2(int32_t k)
{
    size_t quantised = matmul_quantised_scratch_bytes_avx2(k), floats = matmul_float_scratch_bytes_avx2(k);
    return quantised > floats ? quantised : floats;
}

int cpu_kernels_init_avx2(struct cpu_kernels *table)
{
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !cpu_has_f16c()) {
        return 0;
    }
    table->isa = "avx2";
    matmul_set_avx2(table);
    packed_set_avx2(table);
    matmul_float_set_avx2(table);
    table->matmul_scratch_bytes = matmul_scratch_bytes_avx2;
    table->weight_rows = 16;
    table->quantize = quantize_avx2;
    table->rms_norm = rms_norm_avx2;
    table->silu_gate = silu_gate_avx2;
    table->attend = attend_avx2;
    table->attend_scratch_bytes = attend_scratch_bytes_avx2;
    table->attend_queries = 24;
    return 1;
}
