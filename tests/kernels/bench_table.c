/* Speed of a table's inner loops on one thread. SPDX-License-Identifier: MIT
 * Inside the timed window: the kernel only, with weights that do not fit the second-level cache. Median of several runs. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/cpu/pack.h"
#include "src/core/clock.h"
#include "tests/kernels/check_kernels.h"
#include "tests/kernels/guarded.h"
#include "tests/kernels/random.h"

enum { K = 2048, N_COLS = 2048, MAX_BENCH_ROWS = 128, N_RUNS = 7, HEAD = 128 };

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *times)
{
    qsort(times, N_RUNS, sizeof *times, compare_doubles);
    return times[N_RUNS / 2];
}

static void pack_all(enum dtype type, size_t row_bytes, struct guarded *w)
{
    struct guarded packed = guarded_alloc(row_bytes * N_COLS, 64);
    for (size_t c = 0; c < N_COLS; c += PACK_ROWS) {
        pack_panel(type, (char *)w->data + c * row_bytes, row_bytes, K, (char *)packed.data + c * row_bytes);
    }
    guarded_free(w);
    *w = packed;
}

static void bench_matmul(const struct cpu_kernels *table, enum dtype type, int is_packed, const struct act_rows *rows, float *out)
{
    static const int32_t batches[] = {1, 2, 4, 8, 16, 128};
    uint64_t seed = 3;
    size_t row_bytes = dtype_row_bytes(type, K);
    struct guarded w = guarded_alloc(row_bytes * N_COLS, 64), scratch = guarded_alloc(table->matmul_scratch_bytes(K), 64);
    fill_weights(type, WEIGHTS_ORDINARY, (int64_t)K * N_COLS, w.data, &seed);
    if (is_packed) {
        pack_all(type, row_bytes, &w);
    }
    for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
        double times[N_RUNS], warm;
        for (int i = -1; i < N_RUNS; i++) {
            double start = clock_now_s();
            cpu_matmul_fn matmul = is_packed ? table->packed[type] : cpu_kernels_matmul(table, type, batches[b]);
            matmul(w.data, row_bytes, N_COLS, rows, batches[b], out, N_COLS, scratch.data);
            *(i < 0 ? &warm : &times[i]) = clock_now_s() - start;
        }
        double s = median(times);
        printf("%-10s %s %-5s %5d rows  %7.2f GB/s  %7.2f Gmac/s\n", table->isa, is_packed ? "packed" : "matmul",
               dtype_info(type)->name, batches[b], (double)row_bytes * N_COLS / s * 1e-9,
               (double)K * N_COLS * batches[b] / s * 1e-9);
    }
    guarded_free(&w);
    guarded_free(&scratch);
}

static void bench_attend(const struct cpu_kernels *table, enum kv_type type, int32_t n_queries)
{
    static const char *const names[KV_N_TYPES] = {"f32", "f16", "q8_0"};
    size_t page_bytes = KV_PAGE * backend_kv_row_bytes(HEAD, type);
    struct guarded k = guarded_alloc(page_bytes * KV_GROUP, 64), v = guarded_alloc(page_bytes * KV_GROUP, 64);
    struct guarded q = guarded_alloc((size_t)(n_queries * HEAD) * 4, 64),
                   o = guarded_alloc((size_t)(n_queries * (HEAD + 2)) * 4, 64);
    struct guarded scratch = guarded_alloc(table->attend_scratch_bytes(HEAD, HEAD, n_queries), 64);
    const float *rows[64];
    int32_t n_visible[64];
    const void *k_pages[KV_GROUP], *v_pages[KV_GROUP];
    uint64_t seed = 4;
    fill_weights(DTYPE_F16, WEIGHTS_ORDINARY, (int64_t)(page_bytes * KV_GROUP / 2), k.data, &seed);
    fill_weights(DTYPE_F16, WEIGHTS_ORDINARY, (int64_t)(page_bytes * KV_GROUP / 2), v.data, &seed);
    fill_weights(DTYPE_F32, WEIGHTS_ORDINARY, n_queries * HEAD, q.data, &seed);
    for (int32_t i = 0; i < n_queries; i++) {
        rows[i] = (float *)q.data + i * HEAD;
        n_visible[i] = KV_GROUP * KV_PAGE;
    }
    for (int p = 0; p < KV_GROUP; p++) {
        k_pages[p] = (char *)k.data + (size_t)p * page_bytes;
        v_pages[p] = (char *)v.data + (size_t)p * page_bytes;
    }
    float *results = o.data;
    struct attend_job job = {.q = rows,
                             .n_visible = n_visible,
                             .n_queries = n_queries,
                             .k_pages = k_pages,
                             .v_pages = v_pages,
                             .n_pages = KV_GROUP,
                             .k_dim = HEAD,
                             .v_dim = HEAD,
                             .k_type = type,
                             .v_type = type,
                             .scale = 0.1f,
                             .m = results,
                             .l = results + n_queries,
                             .o = results + 2 * n_queries,
                             .scratch = scratch.data};
    double times[N_RUNS], warm;
    for (int i = -1; i < N_RUNS; i++) {
        double start = clock_now_s();
        table->attend(&job);
        *(i < 0 ? &warm : &times[i]) = clock_now_s() - start;
    }
    double s = median(times);
    printf("%-10s attend %-5s %5d queries %5.2f GB/s  %7.2f Gmac/s\n", table->isa, names[type], n_queries,
           2.0 * (double)page_bytes * KV_GROUP / s * 1e-9, 2.0 * n_queries * HEAD * KV_GROUP * KV_PAGE / s * 1e-9);
    guarded_free(&k);
    guarded_free(&v);
    guarded_free(&q);
    guarded_free(&o);
    guarded_free(&scratch);
}

static void bench_rows(const struct cpu_kernels *table, const float *x, int8_t *q, float *d, float *sum, float *y)
{
    double times[3][N_RUNS], warm[3];
    int32_t n = K * 32;
    for (int i = -1; i < N_RUNS; i++) {
        double t0 = clock_now_s();
        table->quantize(x, n, q, d, sum);
        double t1 = clock_now_s();
        table->rms_norm(x, x, n, 1e-5f, y);
        double t2 = clock_now_s();
        table->silu_gate(x, x, n, y);
        double t3 = clock_now_s();
        double found[3] = {t1 - t0, t2 - t1, t3 - t2};
        for (int f = 0; f < 3; f++) {
            *(i < 0 ? &warm[f] : &times[f][i]) = found[f];
        }
    }
    static const char *const names[3] = {"quantize", "rms_norm", "silu_gate"};
    for (int f = 0; f < 3; f++) {
        printf("%-10s %-12s %30.3f Gvalues/s\n", table->isa, names[f], n / median(times[f]) * 1e-9);
    }
}

void bench_table(const struct cpu_kernels *table)
{
    uint64_t seed = 2;
    size_t n = (size_t)MAX_BENCH_ROWS * K;
    struct guarded x = guarded_alloc(n * 4, 64), q = guarded_alloc(n, 64), d = guarded_alloc(n / 8, 64),
                   sum = guarded_alloc(n / 8, 64);
    struct guarded out = guarded_alloc((size_t)MAX_BENCH_ROWS * N_COLS * 4, 64);
    fill_weights(DTYPE_F32, WEIGHTS_ORDINARY, (int64_t)n, x.data, &seed);
    table->quantize(x.data, (int32_t)n, q.data, d.data, sum.data);
    struct act_rows rows = {.x = x.data, .q = q.data, .d = d.data, .sum = sum.data, .k = K};
    for (int type = 0; type < DTYPE_COUNT; type++) {
        if (table->matmul[type]) {
            bench_matmul(table, (enum dtype)type, 0, &rows, out.data);
        }
        if (table->packed[type]) {
            bench_matmul(table, (enum dtype)type, 1, &rows, out.data);
        }
    }
    for (int type = 0; type < KV_N_TYPES; type++) {
        bench_attend(table, (enum kv_type)type, 1);
        bench_attend(table, (enum kv_type)type, table->attend_queries < 64 ? table->attend_queries : 64);
    }
    bench_rows(table, x.data, q.data, d.data, sum.data, out.data);
    guarded_free(&x);
    guarded_free(&q);
    guarded_free(&d);
    guarded_free(&sum);
    guarded_free(&out);
}
