/* One block of 32 weights of any quantised type as integers, scales and minimum. SPDX-License-Identifier: MIT */
#ifndef KERNELS_WEIGHT_BLOCK_H
#define KERNELS_WEIGHT_BLOCK_H

#include "src/core/dtype.h"

enum { WEIGHT_BLOCK = 32 };

/* Weight i is d[i / 16] * q[i] - m (kernels/README.md). d[0] == d[1] except in Q6_K; m is +0 where the type has none. */
struct weight_block {
    int8_t q[WEIGHT_BLOCK];
    float d[2];
    float m;
};

/* Block b, of 32 weights, of a row: elements [32 * b, 32 * b + 32). */
typedef void (*weight_block_fn)(const void *row, int64_t b, struct weight_block *out);

/* NULL for types that are not quantised or not known. */
weight_block_fn weight_block_unpacker(enum dtype type);

#endif
