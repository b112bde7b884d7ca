/* The CUDA kernels that work row by row against the CPU's scalar reference, bit for bit: norm and gate here, rope, cache and
 * attention in check_cuda_attention.cpp. SPDX-License-Identifier: MIT
 *
 * check_cuda_rows [CASES [SEED]] */
#include "tests/cuda_host/check_cuda_rows.h"

#include <math.h>

#include <vector>

#include "kernels/cuda/cuda_math.h"
#include "src/core/math.h"
#include "tests/check.h"
#include "tests/cuda_host/device_array.h"
#include "tests/kernels/random.h"

/* A float, double or byte, by its size. */
static double element_value(const char *element, size_t bytes)
{
    float single;
    double value;
    if (bytes == sizeof single) {
        memcpy(&single, element, bytes);
        return (double)single;
    }
    if (bytes == sizeof value) {
        memcpy(&value, element, bytes);
        return value;
    }
    return *element;
}

int check_same(const char *what, int number, const void *found, const void *expected, size_t n, size_t element)
{
    const char *a = (const char *)found, *b = (const char *)expected;
    for (size_t i = 0; i < n; i += element) {
        if (memcmp(a + i, b + i, element) != 0) {
            double x = element_value(a + i, element), y = element_value(b + i, element);
            fprintf(stderr, "case %d, %s: element %zu of %zu is %.17g (%a), expected %.17g (%a)\n", number, what, i / element,
                    n / element, x, x, y, y);
            return 1;
        }
    }
    return 0;
}

enum { MATH_VALUES = 20000, MATH_THREADS = 100 };

/* Grid: MATH_VALUES / MATH_THREADS. */
static __global__ void math_values(const float *x, const double *angles, float *exps, double *sines, double *cosines)
{
    unsigned i = blockIdx.x * MATH_THREADS + threadIdx.x;
    exps[i] = cuda_exp(x[i]);
    cuda_sin_cos(angles[i], &sines[i], &cosines[i]);
}

int check_math(uint64_t seed)
{
    static const float ends[] = {0.0f, -0.0f, -87.0f, -87.00001f, 88.0f, 88.00001f, 1e38f, -1e38f, INFINITY, -INFINITY, NAN};
    std::vector<float> x(MATH_VALUES), exps(MATH_VALUES);
    std::vector<double> angles(MATH_VALUES), sines(MATH_VALUES), cosines(MATH_VALUES);
    for (int i = 0; i < MATH_VALUES; i++) {
        x[i] = i < (int)(sizeof ends / sizeof *ends) ? ends[i] : random_unit(&seed) * (i % 2 ? 90.0f : 1.0f);
        exps[i] = math_exp(x[i]);
        angles[i] = (double)random_below(&seed, 1000001) * (i % 4 ? (double)random_unit(&seed) : 1.0);
        reference_sin_cos(angles[i], &sines[i], &cosines[i]);
    }
    device_array<float> x_device(x), exps_device(MATH_VALUES);
    device_array<double> angles_device(angles), sines_device(MATH_VALUES), cosines_device(MATH_VALUES);
    cuda_launch<const float *, const double *, float *, double *, double *>(
        math_values, dim3(MATH_VALUES / MATH_THREADS), dim3(MATH_THREADS), 0, 0, x_device.data, angles_device.data,
        exps_device.data, sines_device.data, cosines_device.data);
    return check_same("exp", 0, exps_device.download().data(), exps.data(), MATH_VALUES * 4, 4) +
           check_same("sine", 0, sines_device.download().data(), sines.data(), MATH_VALUES * 8, 8) +
           check_same("cosine", 0, cosines_device.download().data(), cosines.data(), MATH_VALUES * 8, 8);
}

/* Ordinary, huge, tiny, below the smallest normal, ties of the rounding, and the ends of exp's range. */
static float random_value(int kind, uint64_t *seed)
{
    static const float special[8] = {0.0f, -0.0f, 87.0f, -87.5f, 88.5f, -1000.0f, 1e30f, 127.0f};
    float x = random_unit(seed);
    switch (kind) {
    case 0: return x * 8;
    case 1: return x * 1e18f;
    case 2: return x * 1e-37f;
    case 3: return x * 1e-39f;
    case 4: return (float)(random_below(seed, 509) - 254) * 0.5f;
    default: return random_below(seed, 2) ? special[random_below(seed, 8)] : x * 100;
    }
}

static std::vector<float> random_values(size_t n, int kind, uint64_t *seed)
{
    std::vector<float> x(n);
    for (float &value : x) {
        value = random_value(kind, seed);
    }
    return x;
}

/* An activation on the device, and what the reference makes of the same. */
struct act_pair {
    int32_t cols, n_rows;
    device_array<float> x, d, sum;
    device_array<int8_t> q;
    std::vector<float> x_ref, d_ref, sum_ref;
    std::vector<int8_t> q_ref;
    struct backend_act act;

    act_pair(int32_t n_cols, int32_t rows, int forms)
        : cols(n_cols), n_rows(rows), x(size()), d(size() / 32 + 1), sum(size() / 32 + 1), q(size()), x_ref(size()),
          d_ref(size() / 32 + 1), sum_ref(size() / 32 + 1), q_ref(size())
    {
        act = {cols, forms, forms & BACKEND_ACT_FLOAT ? x.data : NULL, q.data, d.data, sum.data};
    }
    size_t size() const
    {
        return (size_t)cols * (size_t)n_rows;
    }
    struct case_act row(int32_t r)
    {
        size_t first = (size_t)r * (size_t)cols;
        return {&x_ref[first], &d_ref[first / 32], &sum_ref[first / 32], &q_ref[first]};
    }
    int differs(const char *what, int number)
    {
        int failed = 0;
        if (act.forms & BACKEND_ACT_FLOAT) {
            failed += check_same(what, number, x.download().data(), x_ref.data(), size() * 4, 4);
        }
        if (act.forms & BACKEND_ACT_INT8) {
            failed += check_same(what, number, d.download().data(), d_ref.data(), size() / 32 * 4, 4);
            failed += check_same(what, number, sum.download().data(), sum_ref.data(), size() / 32 * 4, 4);
            failed += check_same(what, number, q.download().data(), q_ref.data(), size(), 1);
        }
        return failed;
    }
};

int check_norm_and_gate(uint64_t seed, int n_cases)
{
    int failed = 0;
    for (int i = 0; i < n_cases && !failed; i++) {
        int forms = 1 + i % 3, kind = i % 6;
        int32_t most = i % 7 == 0 ? 9000 : 700, n_rows = 1 + random_below(&seed, 5);
        int32_t cols = forms == BACKEND_ACT_FLOAT ? 1 + random_below(&seed, most) : 32 * (1 + random_below(&seed, most / 32));
        act_pair norm(cols, n_rows, forms), gate(cols, n_rows, forms);
        std::vector<float> in = random_values(norm.size(), kind, &seed), up = random_values(norm.size(), 0, &seed);
        std::vector<float> weight = random_values((size_t)cols, 0, &seed);
        device_array<float> in_device(in), up_device(up), weight_device(weight);
        cuda_norm_launch(0, in_device.data, weight_device.data, 1e-5f, n_rows, &norm.act);
        cuda_gate_launch(0, in_device.data, up_device.data, n_rows, &gate.act);
        for (int32_t r = 0; r < n_rows; r++) {
            const float *row = in.data() + (size_t)r * (size_t)cols;
            struct case_act norm_row = norm.row(r), gate_row = gate.row(r);
            reference_norm(row, weight.data(), 1e-5f, cols, forms, &norm_row);
            reference_gate(row, up.data() + (size_t)r * (size_t)cols, cols, forms, &gate_row);
        }
        failed += norm.differs("norm", i) + gate.differs("gate", i);
    }
    return failed;
}

/* More rows than the second dimension of a grid has: the launches are recorded, not run. */
static int check_many_rows(void)
{
    enum { ROWS = 70000, COLS = 256 };
    device_array<char> memory(1 << 20);
    float *x = (float *)(void *)memory.data;
    struct cuda_kv_layer layer = {{2, 64, 64, 4}, memory.data, memory.data, 64, 64};
    struct backend_kv kv = {&layer, 1, 1, KV_F16, KV_F16};
    struct cuda_rows rows = {};
    rows.n = ROWS;
    rows.positions = rows.slots = rows.pages = (int32_t *)(void *)memory.data;
    rows.max_pages = 1;
    struct attention_spec spec = {};
    spec.kv = &kv;
    spec.n_heads = 4;
    spec.q = x;
    struct backend_act act = {COLS, BACKEND_ACT_FLOAT | BACKEND_ACT_INT8, x, (int8_t *)memory.data, x, x};
    struct cuda_matmul mat = {};
    mat.weight = {DTYPE_Q4_0, memory.data, COLS, COLS, COLS};
    mat.out = x;
    struct cuda_matmul floats = mat;
    floats.weight.dtype = DTYPE_F16;
    cudaStream_t stream;
    cudaGraph_t graph;
    device_check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    device_check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    cuda_norm_launch(stream, x, x, 1e-5f, ROWS, &act);
    cuda_gate_launch(stream, x, x, ROWS, &act);
    cuda_attention_launch(stream, &rows, &spec, KV_PAGE, memory.data, &act);
    cuda_matmul_launch(stream, &act, ROWS, &mat, 1);
    cuda_matmul_launch(stream, &act, ROWS, &floats, 1);
    cudaError_t status = cudaGetLastError();
    cudaStreamEndCapture(stream, &graph);
    if (status != cudaSuccess) {
        fprintf(stderr, "%d rows: %s\n", ROWS, cudaGetErrorString(status));
    }
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
    return status != cudaSuccess;
}

int main(int argc, char **argv)
{
    int n_cases = argc > 1 ? atoi(argv[1]) : 16;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    int failed = check_math(seed) + check_norm_and_gate(seed, 3 * n_cases) + check_attention(seed, n_cases) + check_many_rows();
    return failed ? 1 : 0;
}
