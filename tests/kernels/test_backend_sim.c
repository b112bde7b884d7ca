/* The account of a step, operation by operation, and that nobody is early. SPDX-License-Identifier: MIT */
#include <math.h>

#include "kernels/sim/backend_sim.h"
#include "kernels/sim/pace.h"
#include "src/core/clock.h"
#include "tests/check.h"

enum { MAX_ROWS = 8, DIM = 64, OUT = 128 };

/* Round numbers: 1 GB/s, 1 Gop/s, 1 ms a step, 10 us an operation. */
static const struct board board = {
    .name = "test", .bytes_per_s = 1e9, .ops_per_s = 1e9, .step_s = 1e-3, .launch_s = 10e-6, .memory_bytes = 1};

static struct backend *backend;
static double before_s;

/* What the operations since the last call took, without their launches, must be bytes or ops at 1e9 a second. */
static void expect(const char *what, int n_launches, double bytes_or_ops)
{
    double found_s = backend_sim_account_s(backend) - before_s, expected_s = n_launches * 10e-6 + bytes_or_ops * 1e-9;
    CHECK_THAT(fabs(found_s - expected_s) < 1e-12, "%s: %.9g s, expected %.9g", what, found_s, expected_s);
    before_s = backend_sim_account_s(backend);
}

static void begin(int32_t n_rows, const int32_t *positions, const int32_t *slots)
{
    static const int32_t zeros[MAX_ROWS];
    struct backend_rows rows = {.n_rows = n_rows, .tokens = zeros, .positions = positions, .slots = slots, .pages = zeros};
    backend->ops->step_begin(backend, &rows);
    before_s = 0;
    expect("step", 0, 1e6);
}

static struct matmul_spec matrix(enum dtype type)
{
    struct matmul_spec m = {.scale = 1};
    m.weight = (struct tensor){.dtype = type, .rows = OUT, .cols = DIM, .row_bytes = dtype_row_bytes(type, DIM)};
    return m;
}

static void test_matmul(void)
{
    const struct backend_ops *ops = backend->ops;
    struct error err = {{0}};
    struct backend_act *act;
    CHECK_INT(ops->act_create(backend, DIM, BACKEND_ACT_INT8, &act, &err), 0);
    struct matmul_spec two[2] = {matrix(DTYPE_Q8_0), matrix(DTYPE_Q8_0)}, wide = matrix(DTYPE_F16);
    CHECK_INT(ops->import(backend, &two[0].weight, BACKEND_MATRIX, &err), 0);
    begin(1, NULL, NULL);
    ops->matmul(backend, act, two, 1);
    expect("one row: operations", 1, 2 * OUT * DIM);
    ops->matmul(backend, act, two, 2);
    expect("two matrices", 1, 2 * 2 * OUT * DIM);
    ops->matmul(backend, act, &wide, 1);
    expect("floats at half the rate", 1, 2 * 2 * OUT * DIM);

    /* A board that computes at once shows the bytes: weights once, activations, results. */
    struct board fast = board;
    struct backend *other, *kept = backend;
    fast.ops_per_s = 1e18;
    CHECK_INT(backend_sim_create(&other, &fast, MAX_ROWS, &err), 0);
    backend = other;
    begin(3, NULL, NULL);
    ops->matmul(backend, act, two, 1);
    expect("three rows: bytes", 1, OUT * (DIM + DIM / 32 * 2) + 3 * (DIM + OUT * 4));
    backend->ops->destroy(other);
    backend = kept;
}

static void test_attention(void)
{
    const struct backend_ops *ops = backend->ops;
    struct error err = {{0}};
    struct backend_act *act;
    struct backend_kv *kv;
    struct kv_layer_shape shape = {.n_kv_heads = 2, .k_dim = 32, .v_dim = 16, .n_heads = 4};
    CHECK_INT(ops->act_create(backend, 4 * 16, BACKEND_ACT_INT8, &act, &err), 0);
    CHECK_INT(ops->kv_create(backend, &shape, 1, 1 << 30, KV_F16, KV_F16, &kv, &err), 0); /* takes no memory */
    struct attention_spec spec = {.kv = kv, .n_heads = 4, .scale = 1};
    static const int32_t positions[] = {9, 10, 11, 99}, slots[] = {1, 1, 1, 0};
    begin(4, positions, slots);
    ops->attention(backend, &spec, act);
    /* per position and head 2 * (32 + 16) operations, twice as dear as int8 */
    expect("attention: operations", 1, (10 + 11 + 12 + 100) * 4 * 2 * (32 + 16) * 2.0);

    struct board fast = board;
    struct backend *other, *kept = backend;
    fast.ops_per_s = 1e18;
    CHECK_INT(backend_sim_create(&other, &fast, MAX_ROWS, &err), 0);
    backend = other;
    begin(4, positions, slots);
    ops->attention(backend, &spec, act);
    /* keys and values of one position: 2 heads * (32 + 16) halves; the three rows of slot 1 share what they read */
    expect("attention: bytes", 1, (12 + 100) * 2 * (32 + 16) * 2 + 4 * 64 * 8);
    backend->ops->destroy(other);
    backend = kept;
}

static void test_never_early(void)
{
    struct error err = {{0}};
    float *buffer;
    CHECK_INT(backend->ops->alloc(backend, 1000000, &buffer, &err), 0);
    CHECK_THAT(buffer[0] == 0 && buffer[999999] == 0, "memory is not zeroed");
    for (int i = 0; i < 20; i++) {
        double start_s = clock_now_s();
        begin(1, NULL, NULL);
        backend->ops->download(backend, buffer, buffer, (size_t)i * 25000); /* up to 2 ms */
        double took_s = clock_now_s() - start_s, least_s = 1e-3 + i * 100e-6;
        CHECK_THAT(took_s >= least_s, "%g s, expected at least %g", took_s, least_s);
    }
    double past_s = clock_now_s() - 1;
    pace_until(past_s); /* returns */
    double until_s = clock_now_s() + 0.01;
    pace_until(until_s);
    CHECK_THAT(clock_now_s() >= until_s, "%g s too early", until_s - clock_now_s());
}

int main(void)
{
    struct error err = {{0}};
    CHECK_INT(backend_sim_create(&backend, &board, MAX_ROWS, &err), 0);
    CHECK_INT(backend->ops->computes, 0);
    test_matmul();
    test_attention();
    test_never_early();
    backend->ops->destroy(backend);
    return check_result();
}
