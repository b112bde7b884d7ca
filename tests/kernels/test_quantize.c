/* Weight blocks to floats: hand-made blocks and, where there is test data, what ggml gives. SPDX-License-Identifier: MIT */
#include "kernels/quantize.h"

#include "tests/check.h"

enum { ROW = 512, N_ROWS = 2, MAX_ROW_BYTES = 4 * ROW };

static void check_floats(const char *what, const float *found, const float *expected, int n)
{
    for (int i = 0; i < n; i++) {
        CHECK_THAT(memcmp(&found[i], &expected[i], sizeof *found) == 0, "%s element %d is %.9g (%a), expected %.9g (%a)", what, i,
                   (double)found[i], (double)found[i], (double)expected[i], (double)expected[i]);
    }
}

static void check_element(const char *what, const float *values, int i, float expected)
{
    CHECK_THAT(values[i] == expected, "%s element %d is %.9g, expected %.9g", what, i, (double)values[i], (double)expected);
}

/* Halves used here: 0x3c00 = 1, 0x4000 = 2, 0x3800 = 0.5, 0xbc00 = -1. */
static void test_blocks_of_32(void)
{
    float y[32];
    uint8_t q4_0[18] = {0x00, 0x40, [2] = 0xf1, [17] = 0x08};
    dequantize_row(DTYPE_Q4_0, q4_0, 32, y);
    check_element("Q4_0", y, 0, 2 * (1 - 8));
    check_element("Q4_0", y, 16, 2 * (15 - 8));
    check_element("Q4_0", y, 15, 0);
    check_element("Q4_0", y, 31, -16);
    uint8_t q4_1[20] = {0x00, 0x38, 0x00, 0xbc, [4] = 0x30, [19] = 0x0f};
    dequantize_row(DTYPE_Q4_1, q4_1, 32, y);
    check_element("Q4_1", y, 0, -1);
    check_element("Q4_1", y, 16, 0.5f * 3 - 1);
    check_element("Q4_1", y, 15, 0.5f * 15 - 1);
    uint8_t q5_0[22] = {0x00, 0x3c, 0x02, 0x00, 0x01, 0x80, [6] = 0x21, [7] = 0x43, [21] = 0x70};
    dequantize_row(DTYPE_Q5_0, q5_0, 32, y);
    check_element("Q5_0", y, 0, 1 - 16);
    check_element("Q5_0", y, 1, 3 + 16 - 16);
    check_element("Q5_0", y, 16, 2 + 16 - 16);
    check_element("Q5_0", y, 17, 4 - 16);
    check_element("Q5_0", y, 31, 7 + 16 - 16);
    uint8_t q5_1[24] = {0x00, 0x3c, 0x00, 0x38, 0x00, 0x01, 0x00, 0x00, [8] = 0x21, [16] = 0x09};
    dequantize_row(DTYPE_Q5_1, q5_1, 32, y);
    check_element("Q5_1", y, 0, 1.5f);
    check_element("Q5_1", y, 16, 2.5f);
    check_element("Q5_1", y, 8, 9 + 16 + 0.5f);
    uint8_t q8_0[34] = {0x00, 0x38, [2] = 0x80, [3] = 0x7f, [33] = 0xff};
    dequantize_row(DTYPE_Q8_0, q8_0, 32, y);
    check_element("Q8_0", y, 0, -64);
    check_element("Q8_0", y, 1, 63.5f);
    check_element("Q8_0", y, 31, -0.5f);
}

static void test_blocks_of_256(void)
{
    float y[256];
    /* d 1, dmin 0.5; group 0: scale 63, minimum 2; group 4: scale 3 | 2 << 4, minimum 5 | 1 << 4. */
    uint8_t q4_k[144] = {0x00, 0x3c, 0x00, 0x38, [4] = 63 | 2 << 6, [8] = 2 | 1 << 6, [12] = 0x53, [16] = 0xa1, [80] = 0x0c};
    dequantize_row(DTYPE_Q4_K, q4_k, 256, y);
    check_element("Q4_K", y, 0, 63 * 1 - 1.0f);
    check_element("Q4_K", y, 1, -1.0f);
    check_element("Q4_K", y, 32, 0);
    check_element("Q4_K", y, 128, 35 * 12 - 0.5f * 21);
    /* The same scales; bit 0 of qh[0] belongs to group 0, bit 4 to group 4. */
    uint8_t q5_k[176] = {
        0x00, 0x3c, 0x00, 0x38, [4] = 63 | 2 << 6, [8] = 2 | 1 << 6, [12] = 0x53, [16] = 0x11, [48] = 0xa1, [112] = 0x0c};
    dequantize_row(DTYPE_Q5_K, q5_k, 256, y);
    check_element("Q5_K", y, 0, 63 * 17 - 1.0f);
    check_element("Q5_K", y, 1, -1.0f);
    check_element("Q5_K", y, 128, 35 * 28 - 0.5f * 21);
    /* Second half: ql from 64, qh from 32 of qh, scales from 8. Element 128 + 96 + 16: high nibble of ql[64 + 32 + 16], bits 6-7.
     */
    uint8_t q6_k[210] = {[0] = 0x25,        [112] = 0xc0, [128] = 0x02, [128 + 32 + 16] = 0xc0, [192] = 2, [193] = 1,
                         [192 + 15] = 0xfd, [208] = 0x00, [209] = 0x40};
    dequantize_row(DTYPE_Q6_K, q6_k, 256, y);
    check_element("Q6_K", y, 0, 2 * 2 * (5 + 32 - 32));
    check_element("Q6_K", y, 16, 2 * 1 * -32);
    check_element("Q6_K", y, 64, 0);
    check_element("Q6_K", y, 240, 2 * -3 * (12 + 48 - 32));
}

static void test_floats(void)
{
    uint8_t bytes[8] = {0x00, 0x3c, 0x01, 0x00, 0x80, 0x3f, 0x00, 0xc0};
    float y[2], expected[2] = {1.0f, 0x1p-24f}, brain[2] = {1.0f, -2.0f}, plain[2] = {-0.0f, 3.5f};
    dequantize_row(DTYPE_F16, bytes, 2, y);
    check_floats("F16", y, expected, 2);
    dequantize_row(DTYPE_BF16, bytes + 4, 2, y);
    check_floats("BF16", y, brain, 2);
    dequantize_row(DTYPE_F32, plain, 2, y);
    check_floats("F32", y, plain, 2);
}

static FILE *open_golden(const char *folder, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/golden/%s", folder, name);
    FILE *f = fopen(path, "rb");
    CHECK_THAT(f, "cannot read %s", path);
    return f;
}

/* The last column of a line: both rows' bytes in hex. */
static size_t parse_hex(const char *line, uint8_t *out, size_t max)
{
    const char *hex = strrchr(line, '\t') + 1;
    size_t n = 0;
    for (unsigned byte; n < max && sscanf(hex + 2 * n, "%2x", &byte) == 1; n++) {
        out[n] = (uint8_t)byte;
    }
    return n;
}

static void test_golden(const char *folder)
{
    FILE *blocks = open_golden(folder, "quant_blocks.tsv"), *values = open_golden(folder, "quant_dequant_f32.bin");
    char line[2 * N_ROWS * MAX_ROW_BYTES];
    int n_checked = 0;
    while (blocks && values && fgets(line, sizeof line, blocks)) {
        float expected[N_ROWS * ROW], found[N_ROWS * ROW];
        uint8_t bytes[N_ROWS * MAX_ROW_BYTES];
        if (line[0] == '#') {
            continue;
        }
        CHECK_INT(fread(expected, sizeof *expected, N_ROWS * ROW, values), N_ROWS * ROW);
        const struct dtype_info *info = dtype_info((uint32_t)atoi(line));
        if (!info || !info->known) {
            continue;
        }
        enum dtype type = (enum dtype)atoi(line);
        size_t row_bytes = dtype_row_bytes(type, ROW);
        CHECK_INT(parse_hex(line, bytes, sizeof bytes), N_ROWS * row_bytes);
        dequantize_row(type, bytes, ROW, found);
        dequantize_row(type, bytes + row_bytes, ROW, found + ROW);
        check_floats(info->name, found, expected, N_ROWS * ROW);
        n_checked++;
    }
    CHECK_INT(n_checked, 8);
    if (blocks) {
        fclose(blocks);
    }
    if (values) {
        fclose(values);
    }
}

int main(void)
{
    test_blocks_of_32();
    test_blocks_of_256();
    test_floats();
    if (check_failures) {
        return check_result();
    }
    test_golden(check_shared_data());
    return check_result();
}
