/* A CPU backend with its threads, for tests. SPDX-License-Identifier: MIT */
#ifndef TESTS_KERNELS_MACHINE_H
#define TESTS_KERNELS_MACHINE_H

#include "kernels/backend.h"
#include "src/core/thread_pool.h"

enum { MACHINE_ROWS = 40 };

struct machine {
    struct thread_pool *pool;
    struct backend *backend;
};

/* Ends the test when it cannot. */
struct machine machine_create(const char *isa, int32_t n_threads);
struct machine machine_create_with(const char *isa, int32_t n_threads, int repack);
void machine_free(struct machine *m);

/* n values in [-1, 1); the caller frees them. */
float *random_floats(size_t n, uint64_t seed);

#endif
