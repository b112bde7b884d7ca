/* Parts of check_kernels: each compares one kind of inner loop of a table with the reference, bit for bit.
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_KERNELS_CHECK_KERNELS_H
#define TESTS_KERNELS_CHECK_KERNELS_H

#include "kernels/cpu/cpu_kernels.h"

/* Each prints the first difference and returns the number of kernels that failed. */
int check_matmul(const struct cpu_kernels *table, const struct cpu_kernels *ref, uint64_t seed);
int check_rows(const struct cpu_kernels *table, const struct cpu_kernels *ref, uint64_t seed);
int check_attend(const struct cpu_kernels *table, const struct cpu_kernels *ref, uint64_t seed);

/* Index of the first float whose bits differ (any two NaN are equal), or -1. */
int64_t first_difference(const float *found, const float *expected, int64_t n);

/* One line for each kernel and shape: GB/s of weights or cache read and Gmac/s, one thread. */
void bench_table(const struct cpu_kernels *table);

/* Random bytes for n_blocks weight blocks of a type, with scales that are ordinary numbers, or of an extreme kind. */
enum weight_mode {
    WEIGHTS_ORDINARY,
    WEIGHTS_EXTREME /* all quants at an end of their range */,
    WEIGHTS_WILD /* any bits */,
    WEIGHTS_N_MODES
};
void fill_weights(enum dtype type, enum weight_mode mode, int64_t n, void *row, uint64_t *seed);
/* The same for n elements of F32, F16 or BF16. */
void fill_floats(enum dtype type, enum weight_mode mode, int64_t n, void *row, uint64_t *seed);

#endif
