/* The CPU backend's drivers: results do not depend on threads or batches and are what the operations say.
 * SPDX-License-Identifier: MIT */
#include <math.h>

#include "kernels/backend.h"
#include "kernels/cpu/math_ref.h"
#include "kernels/quantize.h"
#include "src/core/thread_pool.h"
#include "tests/check.h"
#include "tests/kernels/random.h"

enum { N_KV_HEADS = 2, N_HEADS = 4, N_POSITIONS = 1100, MAX_PAGES = 20, MAX_ROWS = 40, N_SLOTS = 2 };

struct machine {
    struct thread_pool *pool;
    struct backend *backend;
};

static struct machine machine_create(const char *isa, int32_t n_threads)
{
    struct machine m = {0};
    struct error err = {0};
    int status = thread_pool_init(&m.pool, n_threads, NULL, NULL, &err);
    status |= backend_cpu_create(&m.backend, isa, m.pool, MAX_ROWS, &err);
    CHECK_TEXT(err.text, "");
    if (status != 0) {
        exit(1);
    }
    return m;
}

static void machine_free(struct machine *m)
{
    m->backend->ops->destroy(m->backend);
    thread_pool_free(m->pool);
}

static float *random_floats(size_t n, uint64_t seed)
{
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        x[i] = random_unit(&seed);
    }
    return x;
}

/* -- rope, cache and attention -- */

struct attention_case {
    int32_t k_dim, v_dim, n_rot;
    enum rope_kind rope;
    enum kv_type k_type, v_type;
    double tolerance; /* of the cache's rounding: values and keys are below 1, the softmax's weights sum to 1 */
};

/* Position t of slot s lives in this page: an arbitrary but fixed order. */
static int32_t page_of(int32_t slot, int32_t index)
{
    return (index * 7 + slot * 3) % MAX_PAGES + slot * MAX_PAGES;
}

/* The positions whose results are looked at: around the ends of pages and groups. */
static int is_watched(int32_t position)
{
    return (position >= 60 && position < 70) || (position >= 508 && position < 516) || position >= N_POSITIONS - 3 ||
           position == 0;
}

static int watches_any(int32_t first, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        if (is_watched(first + i)) {
            return 1;
        }
    }
    return 0;
}

/* Attention outputs [N_POSITIONS, N_HEADS * v_dim] of slot 0 at watched positions, fed in chunks; slot 1 is a neighbour in every
 * batch. */
static float *run_attention(const struct attention_case *c, const char *isa, int32_t n_threads, int32_t chunk)
{
    struct machine m = machine_create(isa, n_threads);
    const struct backend_ops *ops = m.backend->ops;
    struct error err = {0};
    struct kv_layer_shape shape = {N_KV_HEADS, c->k_dim, c->v_dim};
    struct backend_kv *kv;
    struct backend_act *act;
    int32_t cols = N_HEADS * c->v_dim;
    size_t q_row = (size_t)(N_HEADS * c->k_dim), k_row = (size_t)(N_KV_HEADS * c->k_dim), v_row = (size_t)(N_KV_HEADS * c->v_dim);
    float *q, *out, *identity = calloc((size_t)cols * (size_t)cols, sizeof *identity);
    double freqs[64];
    for (int i = 0; i < c->n_rot / 2; i++) {
        freqs[i] = pow(10000.0, -2.0 * i / c->n_rot);
    }
    int status = ops->kv_create(m.backend, &shape, 1, 2 * MAX_PAGES, c->k_type, c->v_type, &kv, &err);
    status |= ops->act_create(m.backend, cols, BACKEND_ACT_FLOAT, &act, &err);
    status |= ops->alloc(m.backend, MAX_ROWS * q_row, &q, &err) | ops->alloc(m.backend, (size_t)(MAX_ROWS * cols), &out, &err);
    for (int32_t i = 0; i < cols; i++) {
        identity[i * cols + i] = 1;
    }
    struct tensor weight = {.data = identity, .dtype = DTYPE_F32, .rows = cols, .cols = cols, .row_bytes = (size_t)cols * 4};
    status |= ops->import(m.backend, &weight, &err);
    CHECK_INT(status, 0);
    float *all_q = random_floats(N_POSITIONS * q_row, 1), *all_k = random_floats(N_POSITIONS * k_row, 2);
    float *all_v = random_floats(N_POSITIONS * v_row, 3), *result = calloc((size_t)(N_POSITIONS * cols), sizeof *result);
    int32_t pages[N_SLOTS * MAX_PAGES], slots[MAX_ROWS], positions[MAX_ROWS];
    for (int32_t i = 0; i < MAX_PAGES; i++) {
        pages[i] = page_of(0, i);
        pages[MAX_PAGES + i] = page_of(1, i);
    }
    for (int32_t first = 0; first < N_POSITIONS; first += chunk) {
        int32_t n = N_POSITIONS - first < chunk ? N_POSITIONS - first : chunk;
        for (int32_t r = 0; r <= n; r++) {
            slots[r] = r == n;
            positions[r] = r == n ? first / chunk : first + r;
        }
        struct backend_rows rows = {
            .n_rows = n + 1, .positions = positions, .slots = slots, .pages = pages, .max_pages = MAX_PAGES};
        float *k = malloc((size_t)(n + 1) * k_row * 4), *v = malloc((size_t)(n + 1) * v_row * 4);
        memcpy(k, all_k + (size_t)first * k_row, (size_t)n * k_row * 4);
        memcpy(v, all_v + (size_t)first * v_row, (size_t)n * v_row * 4);
        memcpy(k + (size_t)n * k_row, all_k, k_row * 4);
        memcpy(v + (size_t)n * v_row, all_v, v_row * 4);
        ops->step_begin(m.backend, &rows);
        ops->upload(m.backend, q, all_q + (size_t)first * q_row, (size_t)n * q_row);
        struct rope_store_spec store = {
            .rope = {c->rope, c->n_rot, freqs, 1.0f}, .kv = kv, .n_heads = N_HEADS, .q = q, .k = k, .v = v};
        ops->rope_store(m.backend, &store);
        free(k);
        free(v);
        if (!watches_any(first, n)) {
            continue;
        }
        struct attention_spec attention = {.kv = kv, .n_heads = N_HEADS, .scale = 1.0f / sqrtf((float)c->k_dim), .q = q};
        ops->attention(m.backend, &attention, act);
        struct matmul_spec mat = {.weight = weight, .scale = 1, .out = out};
        ops->matmul(m.backend, act, &mat, 1);
        for (int32_t r = 0; r < n; r++) {
            if (is_watched(first + r)) {
                ops->download(m.backend, result + (first + r) * cols, out + r * cols, (size_t)cols);
            }
        }
    }
    free(all_q);
    free(all_k);
    free(all_v);
    free(identity);
    machine_free(&m);
    return result;
}

/* x rotated for a position, in f64. */
static void rotate_f64(const struct attention_case *c, int32_t position, const float *x, double *y)
{
    for (int32_t i = 0; i < c->k_dim; i++) {
        y[i] = x[i];
    }
    for (int32_t i = 0; c->rope != ROPE_NONE && i < c->n_rot / 2; i++) {
        int32_t a = c->rope == ROPE_NORM ? 2 * i : i, b = c->rope == ROPE_NORM ? a + 1 : i + c->n_rot / 2;
        double angle = position * pow(10000.0, -2.0 * i / c->n_rot);
        y[a] = x[a] * cos(angle) - x[b] * sin(angle);
        y[b] = x[a] * sin(angle) + x[b] * cos(angle);
    }
}

/* One output value of plain attention in f64. */
static void check_attention_f64(const struct attention_case *c, const float *result, int32_t position, int32_t head)
{
    size_t q_row = (size_t)(N_HEADS * c->k_dim), k_row = (size_t)(N_KV_HEADS * c->k_dim), v_row = (size_t)(N_KV_HEADS * c->v_dim);
    float *all_q = random_floats(N_POSITIONS * q_row, 1), *all_k = random_floats(N_POSITIONS * k_row, 2);
    float *all_v = random_floats(N_POSITIONS * v_row, 3);
    int32_t kv_head = head / (N_HEADS / N_KV_HEADS);
    double q[128], k[128], out[128] = {0}, total = 0;
    rotate_f64(c, position, all_q + (size_t)position * q_row + head * c->k_dim, q);
    for (int32_t t = 0; t <= position; t++) {
        double score = 0;
        rotate_f64(c, t, all_k + (size_t)t * k_row + kv_head * c->k_dim, k);
        for (int32_t i = 0; i < c->k_dim; i++) {
            score += q[i] * k[i];
        }
        double weight = exp(score / sqrt(c->k_dim));
        total += weight;
        for (int32_t d = 0; d < c->v_dim; d++) {
            out[d] += weight * all_v[(size_t)t * v_row + (size_t)(kv_head * c->v_dim + d)];
        }
    }
    for (int32_t d = 0; d < c->v_dim; d++) {
        double found = result[(position * N_HEADS + head) * c->v_dim + d], expected = out[d] / total;
        CHECK_THAT(fabs(found - expected) <= c->tolerance, "k_dim %d position %d head %d dim %d: %.9g, expected %.9g", c->k_dim,
                   position, head, d, found, expected);
    }
    free(all_q);
    free(all_k);
    free(all_v);
}

static void test_attention(void)
{
    static const struct attention_case cases[] = {
        {8, 8, 8, ROPE_NORM, KV_F32, KV_F32, 2e-6},
        {40, 40, 40, ROPE_NEOX, KV_F16, KV_F16, 2e-3},
        {80, 24, 40, ROPE_NEOX, KV_Q8_0, KV_Q8_0, 2e-2},
        {16, 48, 16, ROPE_NONE, KV_F16, KV_Q8_0, 2e-2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct attention_case *c = &cases[i];
        size_t bytes = (size_t)(N_POSITIONS * N_HEADS * c->v_dim) * sizeof(float);
        float *base = run_attention(c, "scalar", 1, 39);
        for (int32_t head = 0; head < N_HEADS; head += 3) {
            check_attention_f64(c, base, 0, head);
            check_attention_f64(c, base, 69, head);
            check_attention_f64(c, base, N_POSITIONS - 1, head);
        }
        static const struct {
            const char *isa;
            int32_t n_threads, chunk;
        } others[] = {{"scalar", 3, 39}, {"scalar", 5, 1}, {"auto", 1, 1}, {"auto", 2, 17}, {"auto", 7, 39}};
        for (size_t o = 0; o < sizeof others / sizeof *others; o++) {
            float *other = run_attention(c, others[o].isa, others[o].n_threads, others[o].chunk);
            CHECK_THAT(memcmp(base, other, bytes) == 0, "attention k_dim %d differs: isa %s, %d threads, chunks of %d", c->k_dim,
                       others[o].isa, others[o].n_threads, others[o].chunk);
            free(other);
        }
        free(base);
    }
}

/* -- the other operations -- */

static void test_sin_cos(void)
{
    uint64_t seed = 5;
    for (int i = 0; i < 20000; i++) {
        double x = i < 4 ? i * 0.25 : (double)random_unit(&seed) * pow(10.0, i % 7), sine, cosine;
        sin_cos_ref(x, &sine, &cosine);
        CHECK_THAT(fabs(sine - sin(x)) < 4e-16, "sin(%.17g) is %.17g, expected %.17g", x, sine, sin(x));
        CHECK_THAT(fabs(cosine - cos(x)) < 4e-16, "cos(%.17g) is %.17g, expected %.17g", x, cosine, cos(x));
    }
}

static void test_matmul(int32_t n_threads)
{
    enum { ROWS = 5, K = 64, COLS_A = 100, COLS_B = 3 };
    struct machine m = machine_create("auto", n_threads);
    const struct backend_ops *ops = m.backend->ops;
    struct error err = {0};
    float *a = random_floats(COLS_A * K, 1), *b = random_floats(COLS_B * K, 2), *x = random_floats(ROWS * K, 3);
    float *ones = malloc(K * sizeof *ones), *bias = random_floats(COLS_A, 4), *in, *out_a, *out_b;
    struct backend_act *act;
    for (int i = 0; i < K; i++) {
        ones[i] = 1;
    }
    struct tensor weight_a = {.data = a, .dtype = DTYPE_F32, .rows = COLS_A, .cols = K, .row_bytes = K * 4};
    struct tensor weight_b = {.data = b, .dtype = DTYPE_F32, .rows = COLS_B, .cols = K, .row_bytes = K * 4};
    int status = ops->import(m.backend, &weight_a, &err) | ops->import(m.backend, &weight_b, &err);
    status |= ops->act_create(m.backend, K, BACKEND_ACT_FLOAT, &act, &err) | ops->alloc(m.backend, ROWS * K, &in, &err);
    status |= ops->alloc(m.backend, ROWS * COLS_A, &out_a, &err) | ops->alloc(m.backend, ROWS * COLS_B, &out_b, &err);
    CHECK_INT(status, 0);
    struct backend_rows rows = {.n_rows = ROWS};
    ops->step_begin(m.backend, &rows);
    ops->upload(m.backend, in, x, ROWS * K);
    struct norm_spec norm = {NORM_RMS, {.data = ones, .dtype = DTYPE_F32, .rows = 1, .cols = K, .row_bytes = K * 4}, 1e-5f};
    ops->norm(m.backend, &norm, in, act);
    for (int i = 0; i < ROWS * COLS_A; i++) {
        out_a[i] = 1;
    }
    struct matmul_spec mats[2] = {
        {weight_a, {.data = bias, .dtype = DTYPE_F32, .rows = 1, .cols = COLS_A, .row_bytes = COLS_A * 4}, 0.5f, 1, out_a},
        {.weight = weight_b, .scale = 1, .out = out_b}};
    ops->matmul(m.backend, act, mats, 2);
    for (int r = 0; r < ROWS; r++) {
        double ss = 0;
        for (int i = 0; i < K; i++) {
            ss += (double)x[r * K + i] * x[r * K + i];
        }
        for (int c = 0; c < COLS_A + COLS_B; c++) {
            const float *w = c < COLS_A ? a + c * K : b + (c - COLS_A) * K;
            double dot = 0;
            for (int i = 0; i < K; i++) {
                dot += x[r * K + i] / sqrt(ss / K + 1e-5) * w[i];
            }
            double expected = c < COLS_A ? 1 + (dot * 0.5 + bias[c]) : dot;
            double found = c < COLS_A ? out_a[r * COLS_A + c] : out_b[r * COLS_B + c - COLS_A];
            CHECK_THAT(fabs(found - expected) < 1e-5, "row %d column %d is %.9g, expected %.9g", r, c, found, expected);
        }
    }
    free(a);
    free(b);
    free(x);
    free(ones);
    free(bias);
    machine_free(&m);
}

/* Embeds from Q8_0, gates, multiplies by Q8_0 weights: the int8 forms. */
static void test_quantised_chain(void)
{
    enum { K = 2112, VOCAB = 5, ROWS = 3, COLS = 7, BLOCK = 34 };
    float *reference = NULL;
    for (int32_t n_threads = 1; n_threads <= 4; n_threads += 3) {
        struct machine m = machine_create(n_threads == 1 ? "scalar" : "auto", n_threads);
        const struct backend_ops *ops = m.backend->ops;
        struct error err = {0};
        uint64_t seed = 9;
        uint8_t *data = malloc(VOCAB * K / 32 * BLOCK + COLS * K / 32 * BLOCK);
        for (int b = 0; b < (VOCAB + COLS) * K / 32; b++) {
            uint16_t d = half_from_float(0.01f + 0.005f * random_unit(&seed));
            memcpy(data + b * BLOCK, &d, 2);
            for (int i = 2; i < BLOCK; i++) {
                data[b * BLOCK + i] = (uint8_t)random_u32(&seed);
            }
        }
        size_t row_bytes = K / 32 * BLOCK;
        struct tensor table = {.data = data, .dtype = DTYPE_Q8_0, .rows = VOCAB, .cols = K, .row_bytes = row_bytes};
        struct tensor weight = {
            .data = data + VOCAB * row_bytes, .dtype = DTYPE_Q8_0, .rows = COLS, .cols = K, .row_bytes = row_bytes};
        struct backend_act *act;
        float *hidden, *out, *values = malloc(K * sizeof *values);
        int status = ops->import(m.backend, &table, &err) | ops->import(m.backend, &weight, &err);
        status |= ops->act_create(m.backend, K, BACKEND_ACT_INT8, &act, &err);
        status |= ops->alloc(m.backend, ROWS * K, &hidden, &err) | ops->alloc(m.backend, ROWS * COLS, &out, &err);
        CHECK_INT(status, 0);
        int32_t tokens[ROWS] = {4, 0, 2};
        struct backend_rows rows = {.n_rows = ROWS, .tokens = tokens};
        ops->step_begin(m.backend, &rows);
        ops->embed(m.backend, &table, 2.0f, hidden);
        dequantize_row(DTYPE_Q8_0, data + 4 * row_bytes, K, values);
        for (int i = 0; i < K; i++) {
            CHECK_THAT(hidden[i] == 2 * values[i], "embedding %d is %g, expected %g", i, hidden[i], 2 * values[i]);
        }
        ops->gated(m.backend, GATE_SILU, hidden, hidden, K, act);
        struct matmul_spec mat = {.weight = weight, .scale = 1, .out = out};
        ops->matmul(m.backend, act, &mat, 1);
        double expected = 0, size = 0;
        dequantize_row(DTYPE_Q8_0, weight.data, K, values);
        for (int i = 0; i < K; i++) {
            double g = hidden[i], y = g / (1 + exp(-g)) * g * values[i];
            expected += y;
            size += fabs(y);
        }
        /* int8 steps of 1/127 of the block's largest, half of one at most, random in sign. */
        CHECK_THAT(fabs(out[0] - expected) < 0.004 * size, "gated product %g, expected %g", out[0], expected);
        if (!reference) {
            reference = malloc(ROWS * COLS * sizeof *reference);
            memcpy(reference, out, ROWS * COLS * sizeof *reference);
        }
        CHECK_THAT(memcmp(reference, out, ROWS * COLS * sizeof *out) == 0, "%d threads: other bits", n_threads);
        free(data);
        free(values);
        machine_free(&m);
    }
    free(reference);
}

static void test_sizes_and_errors(void)
{
    struct machine m = machine_create("scalar", 1);
    struct error err = {0};
    struct backend *backend;
    struct backend_act *act;
    struct kv_layer_shape shapes[2] = {{2, 40, 40}, {1, 64, 32}};
    CHECK_INT(backend_kv_row_bytes(40, KV_F32), 160);
    CHECK_INT(backend_kv_row_bytes(40, KV_F16), 80);
    CHECK_INT(backend_kv_row_bytes(40, KV_Q8_0), 44);
    CHECK_INT(backend_kv_bytes(shapes, 2, 3, KV_F16, KV_Q8_0), 3 * 64 * (2 * (80 + 44) + (128 + 34)));
    CHECK_INT(backend_cpu_create(&backend, "sse9", m.pool, 1, &err), -1);
    CHECK_TEXT(err.text, "--isa sse9: unknown; expected auto, scalar, avx2, avx512, avx512novnni or neon");
    CHECK_INT(m.backend->ops->act_create(m.backend, 40, BACKEND_ACT_INT8, &act, &err), -1);
    CHECK_TEXT(err.text, "40 columns for quantised weights; expected a multiple of 32");
    struct tensor t = {.dtype = (enum dtype)16, .rows = 1, .cols = 256};
    CHECK_INT(m.backend->ops->import(m.backend, &t, &err), -1);
    CHECK_TEXT(err.text, "weights of type IQ2_XXS are not supported");
    struct backend_kv *kv;
    struct kv_layer_shape huge = {INT32_MAX, INT32_MAX, 1};
    CHECK_INT(m.backend->ops->kv_create(m.backend, &huge, 1, INT32_MAX, KV_F32, KV_F32, &kv, &err), -1);
    machine_free(&m);
}

int main(void)
{
    test_sin_cos();
    test_matmul(1);
    test_matmul(3);
    test_quantised_chain();
    test_sizes_and_errors();
    test_attention();
    return check_result();
}
