/* Which table of inner loops an --isa name stands for. SPDX-License-Identifier: MIT */
#include <string.h>

#include "kernels/cpu/cpu_kernels.h"

typedef int (*init_fn)(struct cpu_kernels *table);

enum { MAX_INIT = 4 };

/* The steps are taken in order on top of the scalar table. `required` names how many of the first must succeed. */
struct isa_choice {
    const char *name;
    int n_required;
    init_fn steps[MAX_INIT]; /* ends with NULL when shorter */
    const char *needs;
};

static const struct isa_choice choices[] = {
    {"scalar", 0, {NULL}, ""},
    {"avx2", 1, {cpu_kernels_init_avx2}, "an x86-64 CPU with AVX2, FMA and F16C"},
    {"avx512novnni", 2, {cpu_kernels_init_avx2, cpu_kernels_init_avx512}, "an x86-64 CPU with AVX-512 F, BW, VL and DQ"},
    {"avx512",
     2,
     {cpu_kernels_init_avx2, cpu_kernels_init_avx512, cpu_kernels_init_avx512vnni},
     "an x86-64 CPU with AVX-512 F, BW, VL and DQ"},
    {"neon", 1, {cpu_kernels_init_neon}, "an AArch64 CPU with ASIMD and the dot product instructions"},
    {"auto", 0, {cpu_kernels_init_avx2, cpu_kernels_init_avx512, cpu_kernels_init_avx512vnni, cpu_kernels_init_neon}, ""},
};

int cpu_kernels_select(struct cpu_kernels *table, const char *isa, struct error *err)
{
    for (size_t c = 0; c < sizeof choices / sizeof *choices; c++) {
        const struct isa_choice *choice = &choices[c];
        if (strcmp(choice->name, isa) != 0) {
            continue;
        }
        cpu_kernels_init_ref(table);
        for (int s = 0; s < MAX_INIT && choice->steps[s]; s++) {
            if (!choice->steps[s](table) && s < choice->n_required) {
                return error_set(err, "--isa %s: this CPU (or its operating system) lacks it; needed: %s", isa, choice->needs);
            }
        }
        return 0;
    }
    return error_set(err, "--isa %s: unknown; expected auto, scalar, avx2, avx512, avx512novnni or neon", isa);
}
