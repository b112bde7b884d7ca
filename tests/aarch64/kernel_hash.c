/* One number for the results of every inner loop on fixed inputs, the same on every machine. SPDX-License-Identifier: MIT
 *
 * check_kernels compares the tables of one machine with that machine's scalar reference; this compares machines (and compilers):
 * the expected number is written here. It changes only with the numeric contract (kernels/README.md): then write the new one
 * here after an x86-64 and an aarch64 build agree on it.
 *
 * kernel_hash [ISA...], default scalar and auto. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/math_ref.h"
#include "kernels/quantize.h"
#include "src/core/math.h"
#include "tests/check.h"
#include "tests/kernels/random.h"

enum { K = 768, N_COLS = 13, N_ROWS = 7, HEAD = 80, N_QUERIES = 6, N_PAGES = 2 };
static const uint64_t expected_hash = UINT64_C(0x281719d23f679a03);

/* FNV-1a over the bytes of 32-bit words, lowest first. */
static void hash_words(uint64_t *hash, const void *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t word;
        memcpy(&word, (const char *)words + 4 * i, sizeof word);
        for (int shift = 0; shift < 32; shift += 8) {
            *hash = (*hash ^ (word >> shift & 255)) * UINT64_C(1099511628211);
        }
    }
}

static void *allocate(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    memset(p, 0, (bytes + 63) / 64 * 64);
    return p;
}

static float *random_floats(size_t n, uint64_t *seed)
{
    float *x = allocate(n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        x[i] = random_unit(seed) * 4.0f;
    }
    return x;
}

/* Any bits, but ordinary numbers for scales and floats. */
static uint8_t *random_weights(enum dtype type, size_t n, uint64_t *seed)
{
    const struct dtype_info *info = dtype_info(type);
    const size_t block_bytes = (size_t)info->block_bytes, n_blocks = n / (size_t)info->block;
    uint8_t *w = allocate(n_blocks * block_bytes);
    for (size_t b = 0; b < n_blocks; b++) {
        uint8_t *block = w + b * block_bytes;
        float value = random_unit(seed) * 0.1f;
        uint16_t half = type == DTYPE_BF16 ? bf16_from_float(value) : half_from_float(value);
        for (size_t i = 0; i < block_bytes; i++) {
            block[i] = (uint8_t)random_u32(seed);
        }
        if (type == DTYPE_F32) {
            memcpy(block, &value, sizeof value);
        } else {
            memcpy(block + (type == DTYPE_Q6_K ? 208 : 0), &half, sizeof half);
        }
        if (info->has_min) {
            memcpy(block + 2, &half, sizeof half);
        }
    }
    return w;
}

static void hash_matmul(const struct cpu_kernels *table, enum dtype type, uint64_t *hash, uint64_t *seed)
{
    uint8_t *w = random_weights(type, (size_t)K * N_COLS, seed);
    float *x = random_floats((size_t)K * N_ROWS, seed), *wide = allocate(K * sizeof *wide);
    float *out = allocate(sizeof(float) * N_ROWS * N_COLS);
    int8_t *q = allocate((size_t)K * N_ROWS);
    float *d = allocate(sizeof(float) * N_ROWS * K / Q8_BLOCK), *sum = allocate(sizeof(float) * N_ROWS * K / Q8_BLOCK);
    void *scratch = allocate(table->matmul_scratch_bytes(K));
    for (int r = 0; r < N_ROWS; r++) {
        table->quantize(x + (size_t)r * K, K, q + (size_t)r * K, d + r * K / Q8_BLOCK, sum + r * K / Q8_BLOCK);
    }
    const struct act_rows rows = {.x = x, .q = q, .d = d, .sum = sum, .k = K};
    for (int n = 1; n <= N_ROWS; n += N_ROWS - 1) { /* one row and many: two ways through most tables */
        table->matmul[type](w, dtype_row_bytes(type, K), N_COLS, &rows, n, out, N_COLS, scratch);
        hash_words(hash, out, (size_t)n * N_COLS);
    }
    dequantize_row(type, w, K, wide);
    hash_words(hash, wide, K);
    hash_words(hash, q, K * N_ROWS / 4);
    hash_words(hash, d, N_ROWS * K / Q8_BLOCK);
    hash_words(hash, sum, N_ROWS * K / Q8_BLOCK);
    void *all[] = {w, x, wide, out, q, d, sum, scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        free(all[i]);
    }
}

static void hash_rows(const struct cpu_kernels *table, uint64_t *hash, uint64_t *seed)
{
    float *x = random_floats(K, seed), *w = random_floats(K, seed), *y = allocate(K * sizeof *y);
    table->rms_norm(x, w, K - 3, 1e-6f, y);
    hash_words(hash, y, K);
    for (int i = 0; i < K; i++) {
        x[i] *= 25.0f; /* both ends of exp */
    }
    table->silu_gate(x, w, K - 3, y);
    hash_words(hash, y, K);
    for (int i = 0; i < K; i++) {
        double sine, cosine;
        sin_cos_ref((double)x[i] * 1000.0, &sine, &cosine);
        const float values[4] = {(float)sine, (float)cosine, math_exp(x[i]), (float)math_log(1.0 + fabs((double)x[i]))};
        hash_words(hash, values, 4);
    }
    free(x);
    free(w);
    free(y);
}

/* A page of keys or values: floats, halves, or bytes and then half scales. */
static void *random_page(enum kv_type type, uint64_t *seed)
{
    const size_t n = (size_t)KV_PAGE * HEAD, n_scales = (size_t)KV_PAGE * ((HEAD + Q8_BLOCK - 1) / Q8_BLOCK);
    if (type == KV_F32) {
        return random_floats(n, seed);
    }
    uint8_t *page = allocate(2 * n + 2 * n_scales);
    const size_t first_half = type == KV_F16 ? 0 : n, n_halves = type == KV_F16 ? n : n_scales;
    for (size_t i = 0; i < first_half; i++) {
        page[i] = (uint8_t)random_u32(seed);
    }
    for (size_t i = 0; i < n_halves; i++) {
        uint16_t half = half_from_float(random_unit(seed) * (type == KV_F16 ? 2.0f : 0.02f));
        memcpy(page + first_half + 2 * i, &half, sizeof half);
    }
    return page;
}

static void hash_attend(const struct cpu_kernels *table, enum kv_type k_type, enum kv_type v_type, uint64_t *hash, uint64_t *seed)
{
    static const int32_t n_visible[N_QUERIES] = {128, 127, 65, 64, 17, 0};
    float *q = random_floats((size_t)HEAD * N_QUERIES, seed);
    float *results = allocate(sizeof(float) * N_QUERIES * (HEAD + 2));
    void *scratch = allocate(table->attend_scratch_bytes(HEAD, HEAD, N_QUERIES));
    void *k[N_PAGES], *v[N_PAGES];
    const void *k_pages[N_PAGES], *v_pages[N_PAGES];
    const float *queries[N_QUERIES];
    for (int i = 0; i < N_QUERIES; i++) {
        queries[i] = q + i * HEAD;
    }
    for (int p = 0; p < N_PAGES; p++) {
        k_pages[p] = k[p] = random_page(k_type, seed);
        v_pages[p] = v[p] = random_page(v_type, seed);
    }
    const struct attend_job job = {.q = queries,
                                   .n_visible = n_visible,
                                   .n_queries = N_QUERIES,
                                   .k_pages = k_pages,
                                   .v_pages = v_pages,
                                   .n_pages = N_PAGES,
                                   .k_dim = HEAD,
                                   .v_dim = HEAD,
                                   .k_type = k_type,
                                   .v_type = v_type,
                                   .scale = 0.11f,
                                   .m = results,
                                   .l = results + N_QUERIES,
                                   .o = results + 2 * N_QUERIES,
                                   .scratch = scratch};
    table->attend(&job);
    hash_words(hash, results, N_QUERIES * (HEAD + 2));
    for (int p = 0; p < N_PAGES; p++) {
        free(k[p]);
        free(v[p]);
    }
    free(q);
    free(results);
    free(scratch);
}

static uint64_t hash_table(const struct cpu_kernels *table)
{
    uint64_t hash = UINT64_C(14695981039346656037), seed = 7;
    for (int type = 0; type < DTYPE_COUNT; type++) {
        if (table->matmul[type]) {
            hash_matmul(table, (enum dtype)type, &hash, &seed);
        }
    }
    hash_rows(table, &hash, &seed);
    for (int pair = 0; pair < KV_N_TYPES * KV_N_TYPES; pair++) {
        hash_attend(table, (enum kv_type)(pair / KV_N_TYPES), (enum kv_type)(pair % KV_N_TYPES), &hash, &seed);
    }
    return hash;
}

int main(int argc, char **argv)
{
    static const char *const defaults[] = {"scalar", "auto"};
    const int n = argc > 1 ? argc - 1 : 2;
    for (int i = 0; i < n; i++) {
        const char *isa = argc > 1 ? argv[i + 1] : defaults[i];
        struct cpu_kernels table;
        struct error err = {0};
        if (cpu_kernels_select(&table, isa, &err) != 0) {
            fprintf(stderr, "%s\n", err.text);
            return 2;
        }
        const uint64_t found = hash_table(&table);
        printf("%-8s %016" PRIx64 " (runs as \"%s\")\n", isa, found, table.isa);
        CHECK_THAT(found == expected_hash, "%s gives %016" PRIx64 ", expected %016" PRIx64, isa, found, expected_hash);
    }
    return check_result();
}
