/* Matmul of every weight type: random shapes, odd tails, extremes, guarded memory. SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/pack.h"
#include "tests/kernels/check_kernels.h"
#include "tests/kernels/guarded.h"
#include "tests/kernels/random.h"

enum { N_SHAPES = 24, N_PACKED_SHAPES = 2 * 70, MAX_ACT_ROWS = 70, MAX_WEIGHT_ROWS = 40 };

struct operands {
    struct guarded w, x, q, d, sum;
    struct act_rows rows;
    size_t row_bytes;
};

static void fill_blocks(const struct operands *in, int32_t n_blocks, enum weight_mode mode, uint64_t *seed)
{
    int8_t *q = in->q.data;
    for (int32_t b = 0; b < n_blocks; b++) {
        int32_t sum = 0, sign = random_below(seed, 2) ? 1 : -1;
        for (int i = 0; i < Q8_BLOCK; i++) {
            int32_t value = mode == WEIGHTS_EXTREME ? 127 * sign : random_below(seed, 255) - 127;
            q[b * Q8_BLOCK + i] = (int8_t)value;
            sum += value;
        }
        ((float *)in->sum.data)[b] = (float)sum;
        ((float *)in->d.data)[b] = random_below(seed, 8) ? random_unit(seed) * random_unit(seed) : 0.0f;
    }
}

static struct operands make_operands(enum dtype type, enum weight_mode mode, int32_t k, int32_t n_cols, int32_t n_rows,
                                     uint64_t *seed)
{
    struct operands in = {.row_bytes = dtype_row_bytes(type, k), .rows.k = k};
    in.w = guarded_alloc(in.row_bytes * (size_t)n_cols, 2);
    fill_weights(type, mode, (int64_t)k * n_cols, in.w.data, seed);
    size_t n = (size_t)n_rows * (size_t)k;
    if (dtype_info(type)->quantised) {
        in.q = guarded_alloc(n, 32);
        in.d = guarded_alloc(n / Q8_BLOCK * sizeof(float), sizeof(float));
        in.sum = guarded_alloc(n / Q8_BLOCK * sizeof(float), sizeof(float));
        fill_blocks(&in, (int32_t)(n / Q8_BLOCK), mode, seed);
        in.rows.q = in.q.data;
        in.rows.d = in.d.data;
        in.rows.sum = in.sum.data;
    } else {
        in.x = guarded_alloc(n * sizeof(float), sizeof(float));
        fill_floats(DTYPE_F32, mode == WEIGHTS_WILD ? WEIGHTS_ORDINARY : mode, (int64_t)n, in.x.data, seed);
        in.rows.x = in.x.data;
    }
    return in;
}

static void free_operands(struct operands *in)
{
    guarded_free(&in->w);
    guarded_free(&in->x);
    guarded_free(&in->q);
    guarded_free(&in->d);
    guarded_free(&in->sum);
}

/* The same weights packed, as the backend keeps them: at a multiple of 32 bytes. */
static struct guarded pack_weights(enum dtype type, const struct operands *in, int32_t n_cols)
{
    struct guarded packed = guarded_alloc(in->row_bytes * (size_t)n_cols, 32);
    for (int32_t c = 0; c < n_cols; c += PACK_ROWS) {
        size_t at = (size_t)c * in->row_bytes;
        pack_panel(type, (const char *)in->w.data + at, in->row_bytes, in->rows.k, (char *)packed.data + at);
    }
    return packed;
}

/* 0, or 1 with the first difference printed. is_packed: the table's product with packed weights, n_cols a multiple of 16. */
static int compare_shape(const struct cpu_kernels *table, const struct cpu_kernels *ref, enum dtype type, enum weight_mode mode,
                         int32_t k, int32_t n_cols, int32_t n_rows, int is_packed, uint64_t *seed)
{
    /* By turns what the backend calls, and the table's own loops even where it calls others. */
    cpu_matmul_fn matmul = random_below(seed, 2) ? cpu_kernels_matmul(table, type, n_rows) : table->matmul[type];
    struct operands in = make_operands(type, mode, k, n_cols, n_rows, seed);
    struct guarded packed = {0};
    const void *w = in.w.data;
    if (is_packed) {
        matmul = table->packed[type];
        packed = pack_weights(type, &in, n_cols);
        w = packed.data;
    }
    size_t stride = (size_t)(n_cols + random_below(seed, 5)), n = (size_t)(n_rows - 1) * stride + (size_t)n_cols;
    struct guarded found = guarded_alloc(n * sizeof(float), sizeof(float)),
                   expected = guarded_alloc(n * sizeof(float), sizeof(float));
    struct guarded scratch = guarded_alloc(table->matmul_scratch_bytes(k), 64),
                   scratch_ref = guarded_alloc(ref->matmul_scratch_bytes(k), 64);
    matmul(w, in.row_bytes, n_cols, &in.rows, n_rows, found.data, stride, scratch.data);
    ref->matmul[type](in.w.data, in.row_bytes, n_cols, &in.rows, n_rows, expected.data, stride, scratch_ref.data);
    /* What lies between the rows keeps its pattern, a NaN with bits that no result has. */
    int failed = memcmp(found.data, expected.data, n * sizeof(float)) != 0;
    int64_t at = failed ? first_difference(found.data, expected.data, (int64_t)n) : -1;
    failed = at >= 0;
    if (failed) {
        float a = ((float *)found.data)[at], b = ((float *)expected.data)[at];
        fprintf(stderr,
                "%s matmul %s%s mode %d, k %d, %d weight rows, %d rows: row %lld column %lld is %.9g (%a), expected %.9g (%a)\n",
                table->isa, dtype_info(type)->name, is_packed ? " packed" : "", mode, k, n_cols, n_rows,
                (long long)(at / (int64_t)stride), (long long)(at % (int64_t)stride), a, a, b, b);
    }
    if (!guarded_intact(&found) || !guarded_intact(&scratch)) {
        fprintf(stderr, "%s matmul %s, k %d, %d weight rows, %d rows: writes outside its %s\n", table->isa,
                dtype_info(type)->name, k, n_cols, n_rows, guarded_intact(&found) ? "scratch" : "output");
        failed = 1;
    }
    guarded_free(&found);
    guarded_free(&expected);
    guarded_free(&scratch);
    guarded_free(&scratch_ref);
    guarded_free(&packed);
    free_operands(&in);
    return failed;
}

int check_matmul(const struct cpu_kernels *table, const struct cpu_kernels *ref, uint64_t seed)
{
    int n_failed = 0;
    for (int type = 0; type < DTYPE_COUNT; type++) {
        const struct dtype_info *info = dtype_info((uint32_t)type);
        int failed = 0;
        if (!info || !info->known) {
            continue;
        }
        if (!table->matmul[type]) {
            fprintf(stderr, "%s matmul %s: missing\n", table->isa, info->name);
            n_failed++;
            continue;
        }
        for (int s = 0; s < N_SHAPES && !failed; s++) {
            int32_t blocks = 1 + random_below(&seed, info->quantised ? 512 / info->block : 1);
            int32_t k = info->quantised ? info->block * blocks : 1 + 13 * s; /* every remainder of 16 */
            int32_t n_cols = 1 + random_below(&seed, MAX_WEIGHT_ROWS);
            int32_t n_rows = s % 4 == 0 ? 1 : s % 4 == 1 ? 1 + random_below(&seed, MAX_ACT_ROWS) : 1 + random_below(&seed, 12);
            failed = compare_shape(table, ref, (enum dtype)type, (enum weight_mode)(s % WEIGHTS_N_MODES), k, n_cols, n_rows, 0,
                                   &seed);
        }
        for (int s = 0; table->packed[type] && s < N_PACKED_SHAPES && !failed; s++) {
            int32_t most = s % 8 ? 512 : 4096, k = info->block * (1 + random_below(&seed, most / info->block));
            int32_t n_cols = PACK_ROWS * (1 + random_below(&seed, 5)), n_rows = 1 + s % MAX_ACT_ROWS; /* each number of rows */
            failed = compare_shape(table, ref, (enum dtype)type, (enum weight_mode)(s % WEIGHTS_N_MODES), k, n_cols, n_rows, 1,
                                   &seed);
        }
        n_failed += failed;
    }
    return n_failed;
}
