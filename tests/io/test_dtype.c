/* Block sizes, and half and bfloat16 against their definitions. SPDX-License-Identifier: MIT */
#include "src/core/dtype.h"

#include <math.h>

#include "tests/check.h"

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t to_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Round to nearest even into a format with that many stored mantissa bits: x = q * 2^(e - bits) with q rounded. All exact in
 * double. */
static double rounded(float x, int mantissa_bits, int min_exponent, double too_large)
{
    double a = fabs((double)x);
    if (isinf(x) || a == 0.0) {
        return (double)x;
    }
    int exponent;
    frexp(a, &exponent);
    exponent = exponent - 1 < min_exponent ? min_exponent : exponent - 1;
    double y = ldexp(nearbyint(ldexp(a, mantissa_bits - exponent)), exponent - mantissa_bits);
    return copysign(y >= too_large ? INFINITY : y, (double)x);
}

static void check_half(float x)
{
    uint16_t h = half_from_float(x);
    if (isnan(x)) {
        CHECK_THAT((h & 0x7e00) == 0x7e00 && (h >> 15) == (to_bits(x) >> 31), "NaN %08x became half %04x", to_bits(x), h);
        return;
    }
    double expected = rounded(x, 10, -14, 65536.0), found = (double)half_to_float(h);
    CHECK_THAT(found == expected && !signbit(found) == !signbit(expected), "%a became half %a, expected %a", (double)x, found,
               expected);
}

static void check_bf16(float x)
{
    uint16_t h = bf16_from_float(x);
    if (isnan(x)) {
        CHECK_THAT((h & 0x7fc0) == 0x7fc0 && (h >> 15) == (to_bits(x) >> 31), "NaN %08x became bf16 %04x", to_bits(x), h);
        return;
    }
    double expected = rounded(x, 7, -126, 0x1p128), found = (double)bf16_to_float(h);
    CHECK_THAT(found == expected && !signbit(found) == !signbit(expected), "%a became bf16 %a, expected %a", (double)x, found,
               expected);
}

static double half_by_definition(uint16_t h)
{
    int exponent = (h >> 10) & 31, mantissa = h & 1023;
    double x = exponent == 31 ? (mantissa ? NAN : INFINITY)
               : exponent     ? ldexp(1024 + mantissa, exponent - 25)
                              : ldexp(mantissa, -24);
    return h >> 15 ? -x : x;
}

static void test_all_halves(void)
{
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t h = (uint16_t)i;
        float x = half_to_float(h);
        double expected = half_by_definition(h);
        uint16_t quiet = (uint16_t)(isnan(expected) ? h | 0x200 : h);
        if (!isnan(expected)) {
            CHECK_THAT((double)x == expected, "half %04x is %a, expected %a", h, (double)x, expected);
        }
        CHECK_THAT(half_from_float(x) == quiet, "half %04x came back as %04x", h, half_from_float(x));
        float b = bf16_to_float(h);
        uint16_t quiet_b = (uint16_t)(isnan(b) ? h | 0x40 : h);
        CHECK_THAT(bf16_from_float(b) == quiet_b, "bf16 %04x came back as %04x", h, bf16_from_float(b));
        CHECK_THAT((to_bits(b) >> 16) == quiet_b, "bf16 %04x is %08x", h, to_bits(b));
    }
}

/* Around every tie between two neighbours, and where formats begin and end. */
static void test_ties(void)
{
    for (uint32_t h = 0; h < 0x7c00; h++) {
        float low = half_to_float((uint16_t)h), high = h == 0x7bff ? 65536.0f : half_to_float((uint16_t)(h + 1));
        float middle = (low + high) / 2; /* exact: one more bit than a half has */
        float values[] = {low, middle, nextafterf(middle, 0.0f), nextafterf(middle, INFINITY), nextafterf(low, INFINITY)};
        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
            check_half(values[i]);
            check_half(-values[i]);
        }
    }
    for (uint32_t h = 0; h < 0x7f80; h++) {
        for (uint32_t low = 0x7fff; low <= 0x8001; low++) {
            check_bf16(from_bits(h << 16 | low));
            check_bf16(from_bits(0x80000000u | h << 16 | low));
        }
    }
}

static void test_many(void)
{
    uint32_t bits = 12345;
    for (int i = 0; i < 500000; i++) {
        bits = bits * 1664525u + 1013904223u;
        check_half(from_bits(bits));
        check_bf16(from_bits(bits));
        check_half(from_bits((bits & 0x8fffffffu) | 0x30000000u)); /* the exponents that halves have */
    }
    const uint32_t edges[] = {0,          0x80000000u, 1,          0x33000000, 0x33000001, 0x32ffffff, 0x387fffff,
                              0x38800000, 0x477fefff,  0x477ff000, 0x477fffff, 0x7f7fffff, 0x7f800000, 0xff800000,
                              0x7f800001, 0xff800001,  0x7fc00000, 0x7fffffff, 0xffffffff};
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        check_half(from_bits(edges[i]));
        check_bf16(from_bits(edges[i]));
    }
}

static void test_table(void)
{
    int n_known = 0;
    for (uint32_t i = 0; i < DTYPE_COUNT; i++) {
        const struct dtype_info *info = dtype_info(i);
        if (info) {
            n_known += info->known;
            CHECK_THAT(info->block > 0 && info->block_bytes > 0, "type %u (%s) has a block of %d, %d bytes", i, info->name,
                       info->block, info->block_bytes);
            CHECK_INT(dtype_from_name(info->name), i);
        }
    }
    CHECK_INT(n_known, 11);
    const uint32_t absent[] = {4, 5, 31, 32, 33, 36, 37, 38, 43, UINT32_MAX};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        CHECK_THAT(!dtype_info(absent[i]), "type %u is there, expected none", absent[i]);
    }
    CHECK_INT(dtype_from_name("q4_k"), DTYPE_Q4_K);
    CHECK_INT(dtype_from_name("bf16"), DTYPE_BF16);
    CHECK_INT(dtype_from_name("Q4"), -1);
    CHECK_INT(dtype_from_name(""), -1);
    CHECK_INT(dtype_row_bytes(DTYPE_Q6_K, 4096), 4096 / 256 * 210);
    CHECK_INT(dtype_row_bytes(DTYPE_F16, 0), 0);
}

int main(void)
{
    test_table();
    test_all_halves();
    test_ties();
    test_many();
    return check_result();
}
