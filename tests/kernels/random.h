/* Repeatable random numbers for tests of arithmetic. SPDX-License-Identifier: MIT */
#ifndef TESTS_KERNELS_RANDOM_H
#define TESTS_KERNELS_RANDOM_H

#include <stdint.h>

/* Source: Marsaglia, "Xorshift RNGs" (2003). The state must not be 0. */
static inline uint32_t random_u32(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

/* In [0, n). */
static inline int32_t random_below(uint64_t *state, int32_t n)
{
    return (int32_t)(random_u32(state) % (uint32_t)n);
}

/* In [-1, 1), about evenly. */
static inline float random_unit(uint64_t *state)
{
    return (float)(int32_t)random_u32(state) * 0x1p-31f;
}

#endif
