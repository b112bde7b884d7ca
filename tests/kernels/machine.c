/* SPDX-License-Identifier: MIT */
#include "tests/kernels/machine.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/kernels/random.h"

struct machine machine_create(const char *isa, int32_t n_threads)
{
    return machine_create_with(isa, n_threads, 1);
}

struct machine machine_create_with(const char *isa, int32_t n_threads, int repack)
{
    struct machine m = {0};
    struct error err = {0};
    int status = thread_pool_init(&m.pool, n_threads, NULL, NULL, &err);
    status |= backend_cpu_create(&m.backend, isa, m.pool, MACHINE_ROWS, repack, &err);
    if (status != 0) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    return m;
}

void machine_free(struct machine *m)
{
    m->backend->ops->destroy(m->backend);
    thread_pool_free(m->pool);
}

float *random_floats(size_t n, uint64_t seed)
{
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        x[i] = random_unit(&seed);
    }
    return x;
}
