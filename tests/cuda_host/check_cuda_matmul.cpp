/* The CUDA backend's products against the scalar reference, and its panels against pack.c: bit for bit, for every type, odd
 * shapes, extreme weights, several matrices a call. SPDX-License-Identifier: MIT
 *
 * check_cuda_matmul [rounds [seed]]: the default is one round. */
#include "kernels/cuda/backend_cuda.h"
#include "tests/check.h"
#include "tests/cuda_host/device_array.h"
#include "tests/kernels/random.h"

extern "C" {
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/pack.h"
}

#include "cuda_host.h"

#include <deque>
#include <memory>
#include <vector>

static const enum dtype QUANTISED[] = {DTYPE_Q4_0, DTYPE_Q4_1, DTYPE_Q5_0, DTYPE_Q5_1,
                                       DTYPE_Q8_0, DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K};
static const enum dtype FLOATS[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
static const float GUARD_VALUE = 12345.0f;

/* -- random operands -- */

static float random_value(bool extreme, uint64_t *seed)
{
    static const float ends[7] = {3.0e38f, -3.0e38f, 0.0f, -0.0f, 1e-42f, 1.0f, -1e-30f};
    return extreme ? ends[random_below(seed, 7)] : random_unit(seed);
}

static uint16_t random_half(bool extreme, uint64_t *seed)
{
    static const uint16_t ends[8] = {0x7bff, 0xfbff, 0x0000, 0x8000, 0x0001, 0x83ff, 0x3c00, 0x0400};
    return extreme ? ends[random_below(seed, 8)] : half_from_float(random_unit(seed) * 0.1f);
}

/* Halves of a block: bytes 0 and, of types with a minimum, 2; Q6_K: 208. */
static void fill_blocks(enum dtype type, bool extreme, std::vector<uint8_t> *bytes, uint64_t *seed)
{
    static const uint8_t ends[4] = {0x80, 0xff, 0x00, 0x7f};
    const struct dtype_info *info = dtype_info(type);
    for (size_t at = 0; at < bytes->size(); at += (size_t)info->block_bytes) {
        uint8_t end = ends[random_below(seed, 4)];
        for (int i = 0; i < info->block_bytes; i++) {
            (*bytes)[at + (size_t)i] = extreme ? end : (uint8_t)random_u32(seed);
        }
        for (int i = 0; i < 1 + info->has_min; i++) {
            uint16_t bits = random_half(extreme, seed);
            memcpy(&(*bytes)[at + (type == DTYPE_Q6_K ? 208 : 0) + 2 * (size_t)i], &bits, sizeof bits);
        }
    }
}

static void fill_floats(enum dtype type, bool extreme, std::vector<uint8_t> *bytes, uint64_t *seed)
{
    size_t size = type == DTYPE_F32 ? 4 : 2;
    for (size_t at = 0; at < bytes->size(); at += size) {
        float value = random_value(extreme, seed);
        uint16_t narrow = type == DTYPE_F16 ? half_from_float(value) : bf16_from_float(value);
        memcpy(&(*bytes)[at], size == 4 ? (const void *)&value : (const void *)&narrow, size);
    }
}

struct activations {
    std::vector<float> x, d, sum;
    std::vector<int8_t> q;

    activations(int32_t cols, int32_t n_rows, bool extreme, uint64_t *seed)
    {
        size_t n = (size_t)cols * (size_t)n_rows;
        for (size_t i = 0; i < n; i++) {
            x.push_back(random_value(extreme, seed));
        }
        for (size_t b = 0; cols % CUDA_Q8_BLOCK == 0 && b < n / CUDA_Q8_BLOCK; b++) {
            int32_t total = 0, sign = random_below(seed, 2) ? 1 : -1;
            for (int i = 0; i < CUDA_Q8_BLOCK; i++) {
                q.push_back((int8_t)(extreme ? 127 * sign : random_below(seed, 255) - 127));
                total += q.back();
            }
            sum.push_back((float)total);
            d.push_back(random_below(seed, 8) ? random_unit(seed) * random_unit(seed) : 0.0f);
        }
        q.resize(q.size() + 16); /* nothing of no bytes */
        d.resize(d.size() + 1);
        sum.resize(sum.size() + 1);
    }
};

/* -- one matrix -- */

struct matrix {
    enum dtype type;
    int32_t rows, cols;
    size_t row_bytes;
    std::vector<uint8_t> raw;
    std::vector<float> bias, before;
    float scale;
    int add;

    matrix(enum dtype t, int32_t n, int32_t k, int32_t n_rows, bool extreme, uint64_t *seed)
        : type(t), rows(n), cols(k), row_bytes(dtype_row_bytes(t, k)), raw(row_bytes * (size_t)n),
          scale(random_below(seed, 2) ? 1.0f : 0.37f), add(random_below(seed, 2))
    {
        (dtype_info(type)->quantised ? fill_blocks : fill_floats)(type, extreme, &raw, seed);
        for (int32_t i = 0; i < rows && random_below(seed, 3) > 0; i = i + 1) {
            bias.resize((size_t)rows);
            bias[(size_t)i] = random_unit(seed);
        }
        for (int32_t i = 0; i < rows * n_rows; i++) {
            before.push_back(random_unit(seed));
        }
        before.resize(before.size() + 64, GUARD_VALUE);
    }

    std::vector<float> expected(const struct cpu_kernels *ref, const activations &in, int32_t n_rows) const
    {
        std::vector<float> out = before;
        std::vector<float> product((size_t)rows * (size_t)n_rows);
        std::vector<char> scratch(ref->matmul_scratch_bytes(cols) + 64);
        struct act_rows x = {in.x.data(), in.q.data(), in.d.data(), in.sum.data(), cols};
        ref->matmul[type](raw.data(), row_bytes, rows, &x, n_rows, product.data(), (size_t)rows,
                          scratch.data() + (64 - (uintptr_t)scratch.data() % 64));
        for (size_t i = 0; i < product.size(); i++) {
            float y = product[i];
            if (scale != 1) {
                y = y * scale;
            }
            if (!bias.empty()) {
                y = y + bias[i % (size_t)rows];
            }
            out[i] = add ? out[i] + y : y;
        }
        return out;
    }

    /* What the backend holds; panels are compared with pack.c. */
    std::unique_ptr<device_array<uint8_t>> import(void) const
    {
        auto file = std::make_unique<device_array<uint8_t>>(raw);
        if (!dtype_info(type)->quantised) {
            return file;
        }
        int32_t n_panels = (rows + CUDA_PANEL - 1) / CUDA_PANEL;
        size_t panel_bytes = CUDA_PANEL * row_bytes;
        std::vector<uint8_t> expected_panels(panel_bytes * (size_t)n_panels), padded(expected_panels.size());
        memcpy(padded.data(), raw.data(), raw.size());
        for (size_t p = 0; p < (size_t)n_panels; p++) {
            pack_panel(type, &padded[p * panel_bytes], row_bytes, cols, &expected_panels[p * panel_bytes]);
        }
        auto panels = std::make_unique<device_array<uint8_t>>(padded.size());
        cuda_pack(nullptr, type, file->data, rows, cols, n_panels, panels->data);
        CHECK_THAT(panels->download() == expected_panels, "panels of %s [%d, %d]", dtype_info(type)->name, rows, cols);
        return panels;
    }
};

/* -- cases -- */

static bool same(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b);
}

static void compare(const matrix &m, int32_t n_rows, const std::vector<float> &found, const std::vector<float> &expected)
{
    size_t n_wrong = 0, first = 0;
    for (size_t i = found.size(); i-- > 0;) {
        if (!same(found[i], expected[i])) {
            n_wrong++;
            first = i;
        }
    }
    CHECK_THAT(n_wrong == 0, "%s [%d, %d] times %d rows: %zu wrong, first row %zu column %zu: %.9g, expected %.9g",
               dtype_info(m.type)->name, m.rows, m.cols, n_rows, n_wrong, first / (size_t)m.rows, first % (size_t)m.rows,
               (double)found[first], (double)expected[first]);
}

/* One call with those types. */
static void check_call(const struct cpu_kernels *ref, const std::vector<enum dtype> &types, int32_t cols, int32_t n_rows,
                       bool extreme, uint64_t *seed)
{
    activations in(cols, n_rows, extreme, seed);
    device_array<float> x(in.x), d(in.d), sum(in.sum);
    device_array<int8_t> q(in.q);
    std::deque<matrix> matrices;
    std::vector<std::unique_ptr<device_array<uint8_t>>> weights;
    std::deque<device_array<float>> biases, outs;
    std::vector<struct cuda_matmul> calls;
    for (enum dtype type : types) {
        int32_t rows = 1 + random_below(seed, 100);
        matrices.emplace_back(type, rows, cols, n_rows, extreme, seed);
        const matrix &m = matrices.back();
        weights.push_back(m.import());
        biases.emplace_back(m.bias.empty() ? std::vector<float>(1) : m.bias);
        outs.emplace_back(m.before);
        int32_t padded = (rows + CUDA_PANEL - 1) / CUDA_PANEL * CUDA_PANEL;
        calls.push_back({{type, weights.back()->data, rows, cols, padded},
                         m.bias.empty() ? nullptr : biases.back().data,
                         m.scale,
                         m.add,
                         outs.back().data});
    }
    struct backend_act act = {cols, BACKEND_ACT_FLOAT | BACKEND_ACT_INT8, x.data, q.data, d.data, sum.data};
    cuda_matmul_launch(nullptr, &act, n_rows, calls.data(), (int32_t)calls.size());
    CHECK_INT(cudaGetLastError(), cudaSuccess);
    for (size_t i = 0; i < types.size(); i++) {
        compare(matrices[i], n_rows, outs[i].download(), matrices[i].expected(ref, in, n_rows));
    }
}

static int32_t random_cols(enum dtype type, uint64_t *seed)
{
    const struct dtype_info *info = dtype_info(type);
    return info->quantised ? info->block * (1 + random_below(seed, info->block == 32 ? 40 : 4)) : 1 + random_below(seed, 300);
}

/* Few rows often, up to 40 each in its turn, now and then more than a tile. */
static int32_t random_rows(int turn, uint64_t *seed)
{
    static const int32_t more[4] = {64, 65, 97, 130};
    switch (turn % 4) {
    case 0: return 1 + random_below(seed, 8);
    case 1: return 9 + random_below(seed, 8);
    case 2: return 17 + random_below(seed, 24);
    default: return random_below(seed, 4) ? 1 + random_below(seed, 40) : more[random_below(seed, 4)];
    }
}

static void check_round(const struct cpu_kernels *ref, uint64_t *seed)
{
    for (int turn = 0; turn < 8; turn++) {
        for (enum dtype type : QUANTISED) {
            check_call(ref, {type}, random_cols(type, seed), random_rows(turn, seed), turn >= 6, seed);
        }
        for (enum dtype type : FLOATS) {
            check_call(ref, {type, type}, random_cols(type, seed), random_rows(turn, seed), turn >= 6, seed);
        }
        const enum dtype a = QUANTISED[random_below(seed, 8)], b = QUANTISED[random_below(seed, 8)],
                         c = FLOATS[random_below(seed, 3)];
        check_call(ref, {a, b, a}, 256 * (1 + random_below(seed, 2)), random_rows(turn, seed), false, seed);
        check_call(ref, {b, c, a}, 256, random_rows(turn, seed), false, seed);
    }
}

int main(int argc, char **argv)
{
    struct cpu_kernels ref;
    cpu_kernels_init_ref(&ref);
    int n_rounds = argc > 1 ? atoi(argv[1]) : 1;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 20251;
    for (int i = 0; i < n_rounds; i++) {
        cuda_host_seed(seed);
        check_round(&ref, &seed);
    }
    return check_result();
}
