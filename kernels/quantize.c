/* SPDX-License-Identifier: MIT */
#include "kernels/quantize.h"

#include <assert.h>
#include <string.h>

#include "kernels/weight_block.h"

static void dequantize_blocks(weight_block_fn unpack, int has_min, const void *row, int64_t n, float *y)
{
    struct weight_block block;
    for (int64_t b = 0; b < n / WEIGHT_BLOCK; b++) {
        unpack(row, b, &block);
        for (int i = 0; i < WEIGHT_BLOCK; i++) {
            float product = block.d[i / 16] * (float)block.q[i];
            y[b * WEIGHT_BLOCK + i] = has_min ? product - block.m : product;
        }
    }
}

/* Rows of 2-byte floats may stand at odd addresses in a broken file, hence memcpy. */
static uint16_t load_u16(const void *row, int64_t i)
{
    uint16_t value;
    memcpy(&value, (const char *)row + 2 * i, sizeof value);
    return value;
}

void dequantize_row(enum dtype type, const void *row, int64_t n, float *y)
{
    const struct dtype_info *info = dtype_info(type);
    assert(info && info->known && n % info->block == 0);
    if (type == DTYPE_F32) {
        memcpy(y, row, (size_t)n * sizeof *y);
    } else if (type == DTYPE_F16) {
        for (int64_t i = 0; i < n; i++) {
            y[i] = half_to_float(load_u16(row, i));
        }
    } else if (type == DTYPE_BF16) {
        for (int64_t i = 0; i < n; i++) {
            y[i] = bf16_to_float(load_u16(row, i));
        }
    } else {
        dequantize_blocks(weight_block_unpacker(type), info->has_min, row, n, y);
    }
}
