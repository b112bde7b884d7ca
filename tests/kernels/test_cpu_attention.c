/* Rope, cache and attention of the CPU backend: plain attention in f64, and the same bits for any threads and chunks.
 * SPDX-License-Identifier: MIT */
#include <math.h>

#include "tests/check.h"
#include "tests/kernels/machine.h"

enum { N_KV_HEADS = 2, N_HEADS = 4, N_POSITIONS = 1100, MAX_PAGES = 20, N_SLOTS = 2 };

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
    struct kv_layer_shape shape = {N_KV_HEADS, c->k_dim, c->v_dim, N_HEADS};
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
    status |= ops->alloc(m.backend, MACHINE_ROWS * q_row, &q, &err) |
              ops->alloc(m.backend, (size_t)(MACHINE_ROWS * cols), &out, &err);
    for (int32_t i = 0; i < cols; i++) {
        identity[i * cols + i] = 1;
    }
    struct tensor weight = {.data = identity, .dtype = DTYPE_F32, .rows = cols, .cols = cols, .row_bytes = (size_t)cols * 4};
    status |= ops->import(m.backend, &weight, BACKEND_MATRIX, &err);
    CHECK_INT(status, 0);
    float *all_q = random_floats(N_POSITIONS * q_row, 1), *all_k = random_floats(N_POSITIONS * k_row, 2);
    float *all_v = random_floats(N_POSITIONS * v_row, 3), *result = calloc((size_t)(N_POSITIONS * cols), sizeof *result);
    int32_t pages[N_SLOTS * MAX_PAGES], slots[MACHINE_ROWS], positions[MACHINE_ROWS];
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

/* One row far behind the first page: enough groups that two threads need several waves of them. */
static float *run_long_context(int32_t n_threads)
{
    enum { N_POSITIONS_LONG = 5000, HEADS = 5, DIM = 8, PAGES = (N_POSITIONS_LONG + KV_PAGE - 1) / KV_PAGE };
    struct machine m = machine_create("scalar", n_threads);
    const struct backend_ops *ops = m.backend->ops;
    struct error err = {0};
    struct kv_layer_shape shape = {HEADS, DIM, DIM, HEADS};
    struct backend_kv *kv;
    struct backend_act *act;
    int32_t pages[PAGES], positions[MACHINE_ROWS], slots[MACHINE_ROWS] = {0};
    float ones[HEADS * DIM], *out = calloc(HEADS * DIM, sizeof *out), *q = random_floats(HEADS * DIM, 7);
    int status = ops->kv_create(m.backend, &shape, 1, PAGES, KV_F32, KV_F32, &kv, &err);
    status |= ops->act_create(m.backend, HEADS * DIM, BACKEND_ACT_FLOAT, &act, &err);
    CHECK_INT(status, 0);
    for (int32_t p = 0; p < PAGES; p++) {
        pages[p] = PAGES - 1 - p;
    }
    struct backend_rows rows = {.positions = positions, .slots = slots, .pages = pages, .max_pages = PAGES};
    for (int32_t first = 0; first < N_POSITIONS_LONG; first += rows.n_rows) {
        rows.n_rows = N_POSITIONS_LONG - first < MACHINE_ROWS ? N_POSITIONS_LONG - first : MACHINE_ROWS;
        for (int32_t r = 0; r < rows.n_rows; r++) {
            positions[r] = first + r;
        }
        float *k = random_floats((size_t)rows.n_rows * HEADS * DIM, (uint64_t)first + 1);
        struct rope_store_spec store = {.rope = {.kind = ROPE_NONE}, .kv = kv, .n_heads = HEADS, .q = q, .k = k, .v = k};
        ops->step_begin(m.backend, &rows);
        ops->rope_store(m.backend, &store);
        free(k);
    }
    rows.n_rows = 1;
    positions[0] = N_POSITIONS_LONG - 1;
    ops->step_begin(m.backend, &rows);
    struct attention_spec attention = {.kv = kv, .n_heads = HEADS, .scale = 1, .q = q};
    ops->attention(m.backend, &attention, act);
    /* Each weight row picks one output value. */
    for (int32_t i = 0; i < HEADS * DIM; i++) {
        memset(ones, 0, sizeof ones);
        ones[i] = 1;
        struct tensor weight = {.data = ones, .dtype = DTYPE_F32, .rows = 1, .cols = HEADS * DIM, .row_bytes = sizeof ones};
        struct matmul_spec mat = {.weight = weight, .scale = 1, .out = &out[i]};
        CHECK_INT(ops->import(m.backend, &weight, BACKEND_MATRIX, &err), 0);
        ops->matmul(m.backend, act, &mat, 1);
    }
    free(q);
    machine_free(&m);
    return out;
}

static void test_waves(void)
{
    float *base = run_long_context(1);
    CHECK_THAT(base[0] != 0 && base[0] == base[0], "value 0 is %g", base[0]);
    for (int32_t n_threads = 2; n_threads <= 4; n_threads++) {
        float *other = run_long_context(n_threads);
        for (int i = 0; i < 40; i++) {
            CHECK_THAT(base[i] == other[i], "%d threads: value %d is %.9g, expected %.9g", n_threads, i, other[i], base[i]);
        }
        free(other);
    }
    free(base);
}

int main(void)
{
    test_attention();
    test_waves();
    return check_result();
}
