/* Rope, cache and attention of the CUDA backend against the CPU backend's scalar kernels, bit for bit, on random shapes and
 * batches. SPDX-License-Identifier: MIT */
#include <math.h>

#include "kernels/cuda/backend_cuda.h"
#include "tests/check.h"
#include "tests/cuda_host/check_cuda_rows.h"
#include "tests/cuda_host/device_array.h"
#include "tests/kernels/random.h"

enum { MOST_ROT = 256 };

static double freqs[MOST_ROT / 2];

static int32_t pick(const int32_t *from, int32_t n, uint64_t *seed)
{
    return from[random_below(seed, n)];
}

/* Rows of a slot at neighbouring positions, and the pages for them. next_page counts pages given away. */
static void add_rows(struct attention_case *c, int32_t slot, int32_t first, int32_t n, int32_t *next_page)
{
    for (int32_t i = 0; i < n && c->n_rows < CASE_ROWS; i++) {
        c->slots[c->n_rows] = slot;
        c->positions[c->n_rows++] = first + i;
    }
    c->history[slot] = first;
    for (int32_t i = 0; i <= (first + n - 1) / KV_PAGE; i++) {
        c->pages[slot * CASE_MAX_PAGES + i] = (*next_page)++ * 7 % CASE_PAGES; /* 7: pages of a slot lie apart */
    }
}

/* Kinds of batches: single rows of several slots; a few rows of two slots; a chunk of a prompt; chunks and single rows together.
 */
static void fill_rows(struct attention_case *c, int kind, uint64_t *seed)
{
    static const int32_t places[] = {0, 1, 62, 63, 64, 65, 300, 447, 510, 511, 512, 513, 1023, 1500, 3000};
    static const int32_t starts[] = {0, 1, 40, 490, 500, 505, 1010};
    int32_t next_page = 0, n_places = sizeof places / sizeof *places, n_starts = sizeof starts / sizeof *starts;
    int32_t slots[CASE_SLOTS] = {5, 2, 7, 0, 1, 6, 3, 4}, n_slots = 1 + random_below(seed, 6);
    memset(c->pages, 255, sizeof c->pages);
    if (kind == 0) {
        for (int32_t i = 0; i < n_slots; i++) {
            add_rows(c, slots[i], pick(places, n_places, seed), 1, &next_page);
        }
    } else if (kind == 4) {
        for (int32_t i = 0; i < 6; i++) {
            add_rows(c, slots[i], i == 0 ? 3000 : places[i], 1, &next_page);
        }
    } else if (kind == 1) {
        add_rows(c, slots[0], pick(places, n_places - 1, seed), 1 + random_below(seed, 15), &next_page);
        add_rows(c, slots[1], pick(starts, n_starts, seed), 1 + random_below(seed, 15), &next_page);
    } else if (kind == 2) {
        add_rows(c, slots[0], pick(starts, n_starts, seed), 40 + random_below(seed, 40), &next_page);
    } else {
        add_rows(c, slots[0], pick(places, n_places - 1, seed), 1, &next_page);
        add_rows(c, slots[1], pick(starts, n_starts, seed), 5 + random_below(seed, 30), &next_page);
        add_rows(c, slots[2], pick(starts, n_starts, seed), 5 + random_below(seed, 30), &next_page);
        add_rows(c, slots[3], pick(places, n_places, seed), 1, &next_page);
        add_rows(c, slots[4], pick(places, n_places - 1, seed), 1, &next_page);
    }
    c->n_all = c->n_rows + random_below(seed, 5);
    c->n_all = c->n_all < CASE_ROWS ? c->n_all : (int32_t)CASE_ROWS;
    for (int32_t r = c->n_rows; r < c->n_all; r++) {
        c->slots[r] = -1;
        c->positions[r] = 0;
    }
}

static struct attention_case random_case(int number, uint64_t *seed)
{
    static const int32_t dims[] = {8, 40, 64, 64, 80, 96, 128, 128, 128, 192, 256, 20, 34};
    static const int32_t n_dims = sizeof dims / sizeof *dims;
    struct attention_case c = {};
    int many = number % 16 == 15 || number % 16 == 8;
    int32_t heads = many ? 37 : 1 + random_below(seed, 8);
    c.shape.n_kv_heads = number % 16 == 8 ? 3 : 1 + random_below(seed, 3);
    c.shape.k_dim = number % 16 == 7 ? 20 : pick(dims, n_dims, seed); /* 20: many rows, and no tiles for such heads */
    c.shape.v_dim = random_below(seed, 2) ? c.shape.k_dim : pick(dims, n_dims, seed);
    c.n_heads = heads * c.shape.n_kv_heads;
    c.k_type = (enum kv_type)(number % 3);
    c.v_type = (enum kv_type)(number / 3 % 3);
    c.rope.kind = (enum rope_kind)random_below(seed, 3);
    c.rope.n_rot = random_below(seed, 2) ? c.shape.k_dim : c.shape.k_dim / 4 * 2;
    c.rope.freqs = freqs;
    c.rope.attn_factor = random_below(seed, 2) ? 1.0f : 0.9f;
    c.scale = 1.0f / sqrtf((float)c.shape.k_dim);
    c.q_size = random_below(seed, 3) ? 1.0f : 60.0f;
    c.v_size = random_below(seed, 4) ? 1.0f : 1e-37f;
    c.forms = c.n_heads * c.shape.v_dim % 32 == 0 ? 1 + random_below(seed, 3) : (int)BACKEND_ACT_FLOAT;
    fill_rows(&c, number % 16 == 8 ? 4 : number % 4, seed);
    return c;
}

static std::vector<float> random_rows(int32_t n_rows, int32_t cols, float size, uint64_t *seed)
{
    std::vector<float> x((size_t)n_rows * (size_t)cols);
    for (float &value : x) {
        value = random_unit(seed) * size;
    }
    return x;
}

/* The device's arrays of a case. */
struct device_case {
    device_array<float> q, k, v, x, d, sum;
    device_array<char> k_pages, v_pages, scratch;
    device_array<int8_t> rounded;
    device_array<int32_t> positions, slots, pages;
    device_array<double> freqs;
};

static int compare(const struct attention_case &c, int number, const device_case &device, const struct attention_data &data,
                   const std::vector<float> &q)
{
    size_t n = (size_t)c.n_rows * (size_t)(c.n_heads * c.shape.v_dim), q_n = (size_t)(c.n_rows * c.n_heads * c.shape.k_dim);
    int failed = check_same("q", number, device.q.download().data(), q.data(), q_n * 4, 4);
    failed += check_same("keys", number, device.k_pages.download().data(), data.k_pages, device.k_pages.n, 1);
    failed += check_same("values", number, device.v_pages.download().data(), data.v_pages, device.v_pages.n, 1);
    if (c.forms & BACKEND_ACT_FLOAT) {
        failed += check_same("attention", number, device.x.download().data(), data.out.x, n * 4, 4);
    }
    if (c.forms & BACKEND_ACT_INT8) {
        failed += check_same("attention d", number, device.d.download().data(), data.out.d, n / 32 * 4, 4);
        failed += check_same("attention sum", number, device.sum.download().data(), data.out.sum, n / 32 * 4, 4);
        failed += check_same("attention q", number, device.rounded.download().data(), data.out.q, n, 1);
    }
    if (failed) {
        fprintf(
            stderr,
            "case %d: %d of %d kv heads, k_dim %d v_dim %d, types %d %d, rope %d n_rot %d, rows %d of %d, first position %d\n",
            number, c.n_heads, c.shape.n_kv_heads, c.shape.k_dim, c.shape.v_dim, c.k_type, c.v_type, c.rope.kind, c.rope.n_rot,
            c.n_rows, c.n_all, c.positions[0]);
    }
    return failed;
}

static void run_device(const struct attention_case &c, const struct attention_data &data, const device_case &device)
{
    struct cuda_kv_layer layer = {c.shape, device.k_pages.data, device.v_pages.data, data.k_bytes, data.v_bytes};
    struct backend_kv kv = {&layer, 1, CASE_PAGES, c.k_type, c.v_type};
    struct cuda_rows rows = {c.n_all, device.positions.data, device.slots.data, device.pages.data, CASE_MAX_PAGES};
    struct rope_store_spec store = {c.rope, &kv, 0, c.n_heads, device.q.data, device.k.data, device.v.data};
    struct attention_spec attention = {&kv, 0, c.n_heads, c.scale, device.q.data};
    struct backend_act out = {c.n_heads * c.shape.v_dim, c.forms,       c.forms & BACKEND_ACT_FLOAT ? device.x.data : NULL,
                              device.rounded.data,       device.d.data, device.sum.data};
    cuda_rope_store_launch(0, &rows, &store, device.freqs.data);
    cuda_attention_launch(0, &rows, &attention, CASE_MAX_PAGES * KV_PAGE, device.scratch.data, &out);
}

static int check_case(int number, uint64_t *seed)
{
    struct attention_case c = random_case(number, seed);
    struct attention_data data = {};
    int32_t q_cols = c.n_heads * c.shape.k_dim, out_cols = c.n_heads * c.shape.v_dim, n_kv_heads = c.shape.n_kv_heads;
    size_t n_out = (size_t)c.n_all * (size_t)out_cols, n_heads = (size_t)CASE_PAGES * (size_t)n_kv_heads;
    std::vector<float> q = random_rows(c.n_all, q_cols, c.q_size, seed);
    std::vector<float> k = random_rows(c.n_all, n_kv_heads * c.shape.k_dim, 1, seed);
    std::vector<float> v = random_rows(c.n_all, n_kv_heads * c.shape.v_dim, c.v_size, seed);
    std::vector<float> x(n_out), d(n_out / 32 + 1), sum(n_out / 32 + 1);
    std::vector<int8_t> rounded(n_out);
    reference_history(&c, (uint64_t)number + 1, &data);
    struct cuda_kv_layer layer = {c.shape, NULL, NULL, data.k_bytes, data.v_bytes};
    size_t scratch_bytes = cuda_attention_scratch_bytes(&layer, c.n_heads, c.n_all, CASE_MAX_PAGES);
    device_case device = {device_array<float>(q),
                          device_array<float>(k),
                          device_array<float>(v),
                          device_array<float>(n_out),
                          device_array<float>(n_out / 32 + 1),
                          device_array<float>(n_out / 32 + 1),
                          device_array<char>(data.k_pages, n_heads * data.k_bytes),
                          device_array<char>(data.v_pages, n_heads * data.v_bytes),
                          device_array<char>(scratch_bytes),
                          device_array<int8_t>(n_out),
                          device_array<int32_t>(c.positions, (size_t)c.n_all),
                          device_array<int32_t>(c.slots, (size_t)c.n_all),
                          device_array<int32_t>(c.pages, CASE_SLOTS * CASE_MAX_PAGES),
                          device_array<double>(freqs, MOST_ROT / 2)};
    run_device(c, data, device);
    data.q = q.data(), data.k = k.data(), data.v = v.data();
    data.out = {x.data(), d.data(), sum.data(), rounded.data()};
    reference_attention(&c, &data);
    int failed = compare(c, number, device, data, q);
    free(data.k_pages);
    free(data.v_pages);
    return failed;
}

int check_attention(uint64_t seed, int n_cases)
{
    int failed = 0;
    for (int i = 0; i < MOST_ROT / 2; i++) {
        freqs[i] = pow(10000.0, -i / 64.0);
    }
    for (int i = 0; i < n_cases && failed < 10; i++) {
        failed += check_case(i, &seed);
    }
    return failed;
}
