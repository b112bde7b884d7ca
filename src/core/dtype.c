/* SPDX-License-Identifier: MIT */
#include "src/core/dtype.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

/* Types that are not known here have no scale_group and no has_min: nothing computes with them.
 * Source: ggml, docs/gguf.md and the block structures in ggml-common.h. */
/* clang-format off */
static const struct dtype_info infos[DTYPE_COUNT] = {
    /*                name      block bytes known quantised group min */
    [DTYPE_F32] =  {"F32",      1,    4,    1,    0,        0,    0},
    [DTYPE_F16] =  {"F16",      1,    2,    1,    0,        0,    0},
    [DTYPE_Q4_0] = {"Q4_0",     32,   18,   1,    1,        32,   0},
    [DTYPE_Q4_1] = {"Q4_1",     32,   20,   1,    1,        32,   1},
    [DTYPE_Q5_0] = {"Q5_0",     32,   22,   1,    1,        32,   0},
    [DTYPE_Q5_1] = {"Q5_1",     32,   24,   1,    1,        32,   1},
    [DTYPE_Q8_0] = {"Q8_0",     32,   34,   1,    1,        32,   0},
    [9] =          {"Q8_1",     32,   36,   0,    1,        0,    0},
    [10] =         {"Q2_K",     256,  84,   0,    1,        0,    0},
    [11] =         {"Q3_K",     256,  110,  0,    1,        0,    0},
    [DTYPE_Q4_K] = {"Q4_K",     256,  144,  1,    1,        32,   1},
    [DTYPE_Q5_K] = {"Q5_K",     256,  176,  1,    1,        32,   1},
    [DTYPE_Q6_K] = {"Q6_K",     256,  210,  1,    1,        16,   0},
    [15] =         {"Q8_K",     256,  292,  0,    1,        0,    0},
    [16] =         {"IQ2_XXS",  256,  66,   0,    1,        0,    0},
    [17] =         {"IQ2_XS",   256,  74,   0,    1,        0,    0},
    [18] =         {"IQ3_XXS",  256,  98,   0,    1,        0,    0},
    [19] =         {"IQ1_S",    256,  50,   0,    1,        0,    0},
    [20] =         {"IQ4_NL",   32,   18,   0,    1,        0,    0},
    [21] =         {"IQ3_S",    256,  110,  0,    1,        0,    0},
    [22] =         {"IQ2_S",    256,  82,   0,    1,        0,    0},
    [23] =         {"IQ4_XS",   256,  136,  0,    1,        0,    0},
    [24] =         {"I8",       1,    1,    0,    0,        0,    0},
    [25] =         {"I16",      1,    2,    0,    0,        0,    0},
    [26] =         {"I32",      1,    4,    0,    0,        0,    0},
    [27] =         {"I64",      1,    8,    0,    0,        0,    0},
    [28] =         {"F64",      1,    8,    0,    0,        0,    0},
    [29] =         {"IQ1_M",    256,  56,   0,    1,        0,    0},
    [DTYPE_BF16] = {"BF16",     1,    2,    1,    0,        0,    0},
    [34] =         {"TQ1_0",    256,  54,   0,    1,        0,    0},
    [35] =         {"TQ2_0",    256,  66,   0,    1,        0,    0},
    [39] =         {"MXFP4",    32,   17,   0,    1,        0,    0},
    [40] =         {"NVFP4",    64,   36,   0,    1,        0,    0},
    [41] =         {"Q1_0",     128,  18,   0,    1,        0,    0},
    [42] =         {"Q2_0",     64,   18,   0,    1,        0,    0},
};
/* clang-format on */

const struct dtype_info *dtype_info(uint32_t number)
{
    return number < DTYPE_COUNT && infos[number].name ? &infos[number] : NULL;
}

int dtype_from_name(const char *name)
{
    for (int i = 0; i < DTYPE_COUNT; i++) {
        if (infos[i].name && strcasecmp(infos[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

size_t dtype_row_bytes(enum dtype type, int64_t n)
{
    const struct dtype_info *info = dtype_info((uint32_t)type);
    assert(info && n >= 0 && n % info->block == 0);
    return (size_t)(n / info->block) * (size_t)info->block_bytes;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

uint16_t half_from_float(float x)
{
    uint32_t bits = bits_of(x);
    uint32_t sign = (bits >> 16) & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) { /* NaN: the upper payload bits stay, the quiet bit is set */
        return (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
    }
    if (magnitude >= 0x477ff000u) { /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    }
    if (magnitude >= 0x38800000u) { /* 2^-14: normal in both; a carry out of the mantissa raises the exponent as it should */
        uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
        return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
    }
    if (magnitude <= 0x33000000u) { /* 2^-25, half of the smallest subnormal, ties to even: zero */
        return (uint16_t)sign;
    }
    uint32_t shift = 126u - (magnitude >> 23); /* 14 .. 24 */
    uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    uint32_t kept = mantissa >> shift;
    uint32_t lost = mantissa & ((1u << shift) - 1u);
    uint32_t middle = 1u << (shift - 1u);
    if (lost > middle || (lost == middle && (kept & 1u))) {
        kept++;
    }
    return (uint16_t)(sign | kept);
}

float half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = (h >> 10) & 0x1fu;
    uint32_t mantissa = h & 0x3ffu;
    if (exponent == 0x1fu) {
        return float_of(sign | 0x7f800000u | (mantissa ? 0x400000u | (mantissa << 13) : 0u));
    }
    if (exponent == 0) { /* exact: every half subnormal is a normal float */
        return float_of(sign | bits_of((float)mantissa * 0x1p-24f));
    }
    return float_of(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

uint16_t bf16_from_float(float x)
{
    uint32_t bits = bits_of(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)((bits >> 16) | 0x40u);
    }
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float bf16_to_float(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    return float_of((bits & 0x7fffffffu) > 0x7f800000u ? bits | 0x400000u : bits);
}
