/* Random weights, and what to compare results by. SPDX-License-Identifier: MIT */
#include <string.h>

#include "tests/kernels/check_kernels.h"
#include "tests/kernels/random.h"

int64_t first_difference(const float *found, const float *expected, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        int both_nan = found[i] != found[i] && expected[i] != expected[i];
        if (!both_nan && memcmp(&found[i], &expected[i], sizeof *found) != 0) {
            return i;
        }
    }
    return -1;
}

/* Where the halves of a block stand; -1: there is none. */
static void scale_offsets(enum dtype type, int *first, int *second)
{
    *first = type == DTYPE_Q6_K ? 208 : 0;
    *second = type == DTYPE_Q4_1 || type == DTYPE_Q5_1 || type == DTYPE_Q4_K || type == DTYPE_Q5_K ? 2 : -1;
}

static uint16_t random_half(enum weight_mode mode, uint64_t *seed)
{
    static const uint16_t extremes[8] = {0x7bff, 0xfbff, 0x0000, 0x8000, 0x0001, 0x83ff, 0x3c00, 0x0400};
    if (mode == WEIGHTS_EXTREME) {
        return extremes[random_below(seed, 8)];
    }
    return mode == WEIGHTS_WILD ? (uint16_t)random_u32(seed) : half_from_float(random_unit(seed) * 0.1f);
}

void fill_floats(enum dtype type, enum weight_mode mode, int64_t n, void *row, uint64_t *seed)
{
    static const float extremes[6] = {3.0e38f, -3.0e38f, 0.0f, -0.0f, 1e-42f, 1.0f};
    for (int64_t i = 0; i < n; i++) {
        float value = mode == WEIGHTS_EXTREME ? extremes[random_below(seed, 6)] : random_unit(seed);
        uint32_t bits = random_u32(seed);
        if (mode == WEIGHTS_WILD) {
            memcpy(&value, &bits, sizeof value);
        }
        uint16_t narrow = type == DTYPE_F16 ? half_from_float(value) : bf16_from_float(value);
        size_t size = type == DTYPE_F32 ? sizeof value : sizeof narrow;
        memcpy((char *)row + (size_t)i * size, type == DTYPE_F32 ? (const void *)&value : (const void *)&narrow, size);
    }
}

void fill_weights(enum dtype type, enum weight_mode mode, int64_t n, void *row, uint64_t *seed)
{
    const struct dtype_info *info = dtype_info(type);
    uint8_t *bytes = row;
    int offsets[2];
    if (!info->quantised) {
        fill_floats(type, mode, n, row, seed);
        return;
    }
    scale_offsets(type, &offsets[0], &offsets[1]);
    for (int64_t b = 0; b < n / info->block; b++, bytes += info->block_bytes) {
        static const uint8_t ends[4] = {0x80, 0xff, 0x00, 0x7f};
        uint8_t end = ends[random_below(seed, 4)];
        for (int i = 0; i < info->block_bytes; i++) {
            bytes[i] = mode == WEIGHTS_EXTREME ? end : (uint8_t)random_u32(seed);
        }
        for (int i = 0; i < 2 && offsets[i] >= 0; i++) {
            uint16_t half = random_half(mode, seed);
            memcpy(bytes + offsets[i], &half, sizeof half);
        }
    }
}
