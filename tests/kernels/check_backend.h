/* Compares a backend with the CPU backend's scalar reference through the operations, bit for bit. SPDX-License-Identifier: MIT */
#ifndef TESTS_KERNELS_CHECK_BACKEND_H
#define TESTS_KERNELS_CHECK_BACKEND_H

#include "kernels/backend.h"

enum { CHECK_MAX_ROWS = 40, CHECK_MAX_PAGES = 24 /* of one sequence */ };

/* A backend for steps of CHECK_MAX_ROWS rows and sequences of CHECK_MAX_PAGES pages; ends the program when there is none. */
typedef struct backend *(*check_make_fn)(void);

/* Prints the first difference of each kind; returns the number of kinds that differ. n_cases: so many random cases of a kind. */
int check_backend(check_make_fn make, int n_cases, uint64_t seed);

#endif
