/* The inner loops over one row: quantise, RMS norm, gate. SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "tests/kernels/check_kernels.h"
#include "tests/kernels/guarded.h"
#include "tests/kernels/random.h"

enum { N_LENGTHS = 120, N_SHORT = 70, MAX_LENGTH = 600, N_KINDS = 6 };

/* Ordinary, huge, tiny, below the smallest normal, ties of the rounding, and a mixture with zeros and the ends of exp's range. */
static float random_value(int kind, uint64_t *seed)
{
    static const float special[8] = {0.0f, -0.0f, 87.0f, -87.5f, 88.5f, -1000.0f, 1e30f, 127.0f};
    float x = random_unit(seed);
    switch (kind) {
    case 0: return x * 8;
    case 1: return x * 3.3e38f;
    case 2: return x * 1e-37f;
    case 3: return x * 1e-39f;
    case 4: return (float)(random_below(seed, 509) - 254) * 0.5f;
    default: return random_below(seed, 2) ? special[random_below(seed, 8)] : x * 100;
    }
}

static struct guarded random_row(int kind, int32_t n, uint64_t *seed)
{
    struct guarded row = guarded_alloc((size_t)n * sizeof(float), sizeof(float));
    for (int32_t i = 0; i < n; i++) {
        ((float *)row.data)[i] = random_value(kind, seed);
    }
    return row;
}

static int report(const struct cpu_kernels *table, const char *what, int32_t n, int kind, const struct guarded *found,
                  const struct guarded *expected)
{
    int64_t at = first_difference(found->data, expected->data, (int64_t)(found->bytes / sizeof(float)));
    if (at >= 0) {
        float a = ((float *)found->data)[at], b = ((float *)expected->data)[at];
        fprintf(stderr, "%s %s, n %d, kind %d: element %lld is %.9g (%a), expected %.9g (%a)\n", table->isa, what, n, kind,
                (long long)at, a, a, b, b);
        return 1;
    }
    if (!guarded_intact(found)) {
        fprintf(stderr, "%s %s, n %d: writes outside its output\n", table->isa, what, n);
        return 1;
    }
    return 0;
}

static int check_quantize(const struct cpu_kernels *table, const struct cpu_kernels *ref, int kind, int32_t n, uint64_t *seed)
{
    size_t blocks = (size_t)(n / Q8_BLOCK) * sizeof(float);
    struct guarded x = random_row(kind, n, seed), q = guarded_alloc((size_t)n, 32), q_ref = guarded_alloc((size_t)n, 32);
    struct guarded d = guarded_alloc(blocks, 4), d_ref = guarded_alloc(blocks, 4), sum = guarded_alloc(blocks, 4),
                   sum_ref = guarded_alloc(blocks, 4);
    table->quantize(x.data, n, q.data, d.data, sum.data);
    ref->quantize(x.data, n, q_ref.data, d_ref.data, sum_ref.data);
    int failed = report(table, "quantize (d)", n, kind, &d, &d_ref) || report(table, "quantize (sum)", n, kind, &sum, &sum_ref);
    const int8_t *a = q.data, *b = q_ref.data;
    for (int32_t i = 0; i < n && !failed; i++) {
        if (a[i] != b[i]) {
            fprintf(stderr, "%s quantize, n %d, kind %d: q[%d] is %d, expected %d\n", table->isa, n, kind, i, a[i], b[i]);
            failed = 1;
        }
    }
    if (!failed && !guarded_intact(&q)) {
        fprintf(stderr, "%s quantize, n %d: writes outside q\n", table->isa, n);
        failed = 1;
    }
    struct guarded *all[] = {&x, &q, &q_ref, &d, &d_ref, &sum, &sum_ref};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        guarded_free(all[i]);
    }
    return failed;
}

static int check_norm(const struct cpu_kernels *table, const struct cpu_kernels *ref, int kind, int32_t n, uint64_t *seed)
{
    struct guarded x = random_row(kind, n, seed), w = random_row(0, n, seed);
    struct guarded y = guarded_alloc(x.bytes, 4), y_ref = guarded_alloc(x.bytes, 4);
    table->rms_norm(x.data, w.data, n, 1e-5f, y.data);
    ref->rms_norm(x.data, w.data, n, 1e-5f, y_ref.data);
    int failed = report(table, "rms_norm", n, kind, &y, &y_ref);
    table->rms_norm(x.data, w.data, n, 1e-5f, x.data);
    failed = failed || report(table, "rms_norm in place", n, kind, &x, &y_ref);
    guarded_free(&x);
    guarded_free(&w);
    guarded_free(&y);
    guarded_free(&y_ref);
    return failed;
}

static int check_gate(const struct cpu_kernels *table, const struct cpu_kernels *ref, int kind, int32_t n, uint64_t *seed)
{
    struct guarded g = random_row(kind, n, seed), u = random_row(0, n, seed);
    struct guarded y = guarded_alloc(g.bytes, 4), y_ref = guarded_alloc(g.bytes, 4);
    ref->silu_gate(g.data, u.data, n, y_ref.data);
    table->silu_gate(g.data, u.data, n, y.data);
    int failed = report(table, "silu_gate", n, kind, &y, &y_ref);
    memcpy(y.data, u.data, u.bytes);
    table->silu_gate(g.data, u.data, n, u.data);
    failed = failed || report(table, "silu_gate onto u", n, kind, &u, &y_ref);
    table->silu_gate(g.data, y.data, n, g.data);
    failed = failed || report(table, "silu_gate onto g", n, kind, &g, &y_ref);
    guarded_free(&g);
    guarded_free(&u);
    guarded_free(&y);
    guarded_free(&y_ref);
    return failed;
}

int check_rows(const struct cpu_kernels *table, const struct cpu_kernels *ref, uint64_t seed)
{
    int quantize = 0, norm = 0, gate = 0;
    for (int i = 0; i < N_LENGTHS; i++) {
        int32_t n = i < N_SHORT ? 1 + i : 1 + random_below(&seed, MAX_LENGTH);
        quantize = quantize || check_quantize(table, ref, i % N_KINDS, (n / Q8_BLOCK + 1) * Q8_BLOCK, &seed);
        norm = norm || check_norm(table, ref, i % N_KINDS, n, &seed);
        gate = gate || check_gate(table, ref, i % N_KINDS, n, &seed);
    }
    return quantize + norm + gate;
}
