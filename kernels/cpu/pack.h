/* Weights in panels: sixteen rows interleaved so that a lane of a vector is a row. SPDX-License-Identifier: MIT
 *
 * The layout, the same for every instruction set, is in kernels/README.md ("Packed weights"). */
#ifndef KERNELS_CPU_PACK_H
#define KERNELS_CPU_PACK_H

#include <stddef.h>
#include <stdint.h>

#include "src/core/tensor.h"

enum {
    PACK_ROWS = 16,   /* weight rows a panel */
    PACK_VECTOR = 64, /* four bytes of each of them */
    PACK_LAYOUT = 1,  /* struct tensor's layout of packed matrices */
    PACK_MAX_UNIT = 8
};

enum pack_bits { PACK_4_BITS = 4, PACK_5_BITS = 5, PACK_6_BITS = 6, PACK_8_BITS = 8 };

/* A panel: for each of its units the quants of the unit's blocks of 32 columns, then their scales. */
struct pack_format {
    enum pack_bits bits;
    int q_bytes;     /* of a block, sixteen rows: eight bytes for each bit and row */
    int unit_blocks; /* blocks that have their scales together: 1, or PACK_MAX_UNIT in K types */
    int scale_bytes; /* of a unit, sixteen rows */
};

static const struct pack_format pack_q4_0 = {PACK_4_BITS, 256, 1, 32};
static const struct pack_format pack_q4_1 = {PACK_4_BITS, 256, 1, 64};
static const struct pack_format pack_q5_0 = {PACK_5_BITS, 320, 1, 32};
static const struct pack_format pack_q5_1 = {PACK_5_BITS, 320, 1, 64};
static const struct pack_format pack_q8_0 = {PACK_8_BITS, 512, 1, 32};
static const struct pack_format pack_q4_k = {PACK_4_BITS, 256, 8, 256};
static const struct pack_format pack_q5_k = {PACK_5_BITS, 320, 8, 256};
static const struct pack_format pack_q6_k = {PACK_6_BITS, 384, 8, 288};

/* 1: a matrix of that type and shape can be packed. */
int pack_fits(const struct tensor *t);

/* Packs PACK_ROWS rows of `cols` weights, row_bytes apart; out: PACK_ROWS * row_bytes of that many columns. The type has a
 * packed form. */
void pack_panel(enum dtype type, const void *rows, size_t row_bytes, int64_t cols, void *out);

#endif
