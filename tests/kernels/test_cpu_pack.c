/* Packed weights: the layout as kernels/README.md says it, and the CPU backend that keeps them. SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <sys/mman.h>

#include "kernels/cpu/pack.h"
#include "kernels/quantize.h"
#include "kernels/weight_block.h"
#include "tests/check.h"
#include "tests/kernels/machine.h"
#include "tests/kernels/random.h"

/* Column `column` of a block at q, row `row`: the bits as they are kept. */
static int packed_value(const struct pack_format *f, const uint8_t *q, int row, int column)
{
    int g = column / 4, i = column % 4;
    const uint8_t *lane = q + 4 * row + i; /* byte i of the row's lane of vector 0 */
    if (f->bits == PACK_8_BITS) {
        return (int8_t)lane[PACK_VECTOR * g];
    }
    int value = g < 4 ? lane[PACK_VECTOR * g] & 15 : lane[PACK_VECTOR * (g - 4)] >> 4;
    if (f->bits == PACK_5_BITS) {
        value |= (lane[PACK_VECTOR * 4] >> g & 1) << 4;
    } else if (f->bits == PACK_6_BITS) {
        value |= (lane[PACK_VECTOR * (4 + g / 4)] >> (2 * (g % 4)) & 3) << 4;
    }
    return value;
}

static void test_layout(enum dtype type, const struct pack_format *f, int offset)
{
    enum { UNITS = 3 };
    const struct dtype_info *info = dtype_info(type);
    weight_block_fn unpack = weight_block_unpacker(type);
    int64_t k = (int64_t)UNITS * info->block;
    size_t row_bytes = dtype_row_bytes(type, k), unit_bytes = (size_t)(f->unit_blocks * f->q_bytes + f->scale_bytes);
    uint8_t *rows = malloc(PACK_ROWS * row_bytes), *panel = malloc(PACK_ROWS * row_bytes);
    uint64_t seed = 1;
    for (size_t i = 0; i < PACK_ROWS * row_bytes; i++) {
        rows[i] = (uint8_t)random_u32(&seed);
    }
    CHECK_INT(unit_bytes, PACK_ROWS * info->block_bytes);
    pack_panel(type, rows, row_bytes, k, panel);
    for (int row = 0; row < PACK_ROWS; row++) {
        for (int b = 0; b < UNITS * f->unit_blocks; b++) {
            struct weight_block block;
            const uint8_t *q = panel + (size_t)(b / f->unit_blocks) * unit_bytes + (size_t)(b % f->unit_blocks * f->q_bytes);
            unpack(rows + (size_t)row * row_bytes, b, &block);
            for (int i = 0; i < 32; i++) {
                int found = packed_value(f, q, row, i) - offset;
                CHECK_THAT(found == block.q[i], "%s row %d block %d column %d is %d, expected %d", info->name, row, b, i, found,
                           block.q[i]);
            }
        }
    }
    /* The first number of the scales, and the last bytes: a half of the last row. */
    const uint8_t *scales = panel + (size_t)(f->unit_blocks * f->q_bytes), *last_row = rows + 15 * row_bytes;
    int is_k = f->unit_blocks > 1, first = !is_k ? 0 : type == DTYPE_Q6_K ? 192 : 4;
    int second = type == DTYPE_Q6_K ? 208 : info->has_min ? 2 : 0;
    CHECK_THAT(memcmp(scales, rows + first, is_k ? 4 : 2) == 0, "%s: other scales first", info->name);
    CHECK_THAT(memcmp(panel + unit_bytes - 2, last_row + second, 2) == 0, "%s: other half last", info->name);
    free(rows);
    free(panel);
}

enum { K = 256, ROWS = 20, COLS = 4096, ODD_COLS = 23, FLOATS = ROWS * (COLS + ODD_COLS) };

/* Two matrices, one of which can be packed, times ROWS rows; out: [FLOATS]. */
static void multiply(int repack, int32_t n_threads, const void *data, int is_file, float *out)
{
    struct machine m = machine_create_with("auto", n_threads, repack);
    const struct backend_ops *ops = m.backend->ops;
    struct error err = {0};
    size_t row_bytes = dtype_row_bytes(DTYPE_Q4_K, K);
    struct tensor even = {
        .data = data, .dtype = DTYPE_Q4_K, .rows = COLS, .cols = K, .row_bytes = row_bytes, .may_drop = is_file};
    struct tensor odd = even, table = even;
    odd.data = (const char *)data + COLS * row_bytes;
    odd.rows = ODD_COLS;
    struct backend_act *act;
    float *hidden, *product, *odd_product;
    int status = ops->import(m.backend, &table, BACKEND_ROWS, &err) | ops->import(m.backend, &odd, BACKEND_MATRIX, &err);
    status |= ops->import(m.backend, &even, BACKEND_MATRIX, &err);
    status |= ops->act_create(m.backend, K, BACKEND_ACT_INT8, &act, &err) | ops->alloc(m.backend, ROWS * K, &hidden, &err);
    status |= ops->alloc(m.backend, ROWS * COLS, &product, &err) | ops->alloc(m.backend, ROWS * ODD_COLS, &odd_product, &err);
    CHECK_INT(status, 0);
    CHECK_INT(table.layout, 0);
    CHECK_INT(odd.layout, 0);
    if (repack) { /* the scalar table takes no packed weights */
        CHECK_THAT(even.layout == 0 ? even.data == data : even.data != data && !even.may_drop, "layout %d", even.layout);
    } else {
        CHECK_THAT(even.layout == 0 && even.data == data, "layout %d though nothing may be packed", even.layout);
    }
    int32_t tokens[ROWS];
    for (int i = 0; i < ROWS; i++) {
        tokens[i] = i * 200;
    }
    struct backend_rows rows = {.n_rows = ROWS, .tokens = tokens};
    struct matmul_spec mats[2] = {{.weight = odd, .scale = 1, .out = odd_product}, {.weight = even, .scale = 1, .out = product}};
    for (int step = 0; step < 30; step++) { /* more rows than the backend keeps a table's pages for */
        ops->step_begin(m.backend, &rows);
        ops->embed(m.backend, &table, 1.0f, hidden);
        ops->gated(m.backend, GATE_SILU, hidden, hidden, K, act);
        ops->matmul(m.backend, act, mats, 2);
    }
    ops->download(m.backend, out, product, ROWS * COLS);
    ops->download(m.backend, out + ROWS * COLS, odd_product, ROWS * ODD_COLS);
    machine_free(&m);
}

static void test_backend(void)
{
    size_t row_bytes = dtype_row_bytes(DTYPE_Q4_K, K), n = (COLS + ODD_COLS) * row_bytes;
    float *expected = malloc(FLOATS * sizeof *expected), *found = malloc(FLOATS * sizeof *found);
    uint8_t *data = malloc(n);
    uint64_t seed = 2;
    FILE *file = tmpfile();
    for (size_t r = 0; r < COLS + ODD_COLS; r++) {
        for (size_t i = 0; i < row_bytes; i++) {
            data[r * row_bytes + i] = (uint8_t)random_u32(&seed);
        }
        uint16_t halves[2] = {half_from_float(0.01f), half_from_float(0.02f)};
        memcpy(data + r * row_bytes, halves, sizeof halves);
    }
    CHECK_THAT(file && fwrite(data, 1, n, file) == n && fflush(file) == 0, "no temporary file");
    void *map = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fileno(file), 0);
    CHECK_THAT(map != MAP_FAILED, "cannot map it");
    multiply(0, 1, data, 0, expected);
    for (int32_t n_threads = 1; n_threads <= 3; n_threads += 2) {
        for (int is_file = 0; is_file < 2; is_file++) {
            multiply(1, n_threads, is_file ? map : data, is_file, found);
            CHECK_THAT(memcmp(found, expected, FLOATS * sizeof *found) == 0, "%d threads, file %d: other bits", n_threads,
                       is_file);
            CHECK_THAT(memcmp(map, data, n) == 0, "what was mapped has changed");
        }
    }
    munmap(map, n);
    fclose(file);
    free(data);
    free(expected);
    free(found);
}

static void test_what_fits(void)
{
    struct tensor t = {.dtype = DTYPE_Q4_0, .rows = 32, .cols = 64, .row_bytes = 36};
    CHECK_INT(pack_fits(&t), 1);
    t.rows = 40;
    CHECK_INT(pack_fits(&t), 0);
    t.rows = 32;
    t.row_bytes = 40;
    CHECK_INT(pack_fits(&t), 0);
    struct tensor f = {.dtype = DTYPE_F16, .rows = 32, .cols = 64, .row_bytes = 128};
    CHECK_INT(pack_fits(&f), 0);
}

int main(void)
{
    test_layout(DTYPE_Q4_0, &pack_q4_0, 8);
    test_layout(DTYPE_Q4_1, &pack_q4_1, 0);
    test_layout(DTYPE_Q5_0, &pack_q5_0, 16);
    test_layout(DTYPE_Q5_1, &pack_q5_1, 0);
    test_layout(DTYPE_Q8_0, &pack_q8_0, 0);
    test_layout(DTYPE_Q4_K, &pack_q4_k, 0);
    test_layout(DTYPE_Q5_K, &pack_q5_k, 0);
    test_layout(DTYPE_Q6_K, &pack_q6_k, 32);
    test_what_fits();
    test_backend();
    return check_result();
}
