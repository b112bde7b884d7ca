/* The CPU's scalar reference, for a program whose CUDA side has structures of the same names. SPDX-License-Identifier: MIT */
#include "tests/cuda_host/check_cuda_rows.h"

#include <string.h>

#include "kernels/cpu/backend_cpu.h"
#include "kernels/cpu/math_ref.h"
#include "tests/check.h"
#include "tests/kernels/random.h"

void reference_sin_cos(double x, double *sine, double *cosine)
{
    sin_cos_ref(x, sine, cosine);
}

static void round_row(const struct cpu_kernels *kernels, int32_t cols, int forms, const struct case_act *out)
{
    if (forms & BACKEND_ACT_INT8) {
        kernels->quantize(out->x, cols, out->q, out->d, out->sum);
    }
}

void reference_norm(const float *in, const float *weight, float eps, int32_t cols, int forms, const struct case_act *out)
{
    struct cpu_kernels kernels;
    cpu_kernels_init_ref(&kernels);
    kernels.rms_norm(in, weight, cols, eps, out->x);
    round_row(&kernels, cols, forms, out);
}

void reference_gate(const float *gate, const float *up, int32_t cols, int forms, const struct case_act *out)
{
    struct cpu_kernels kernels;
    cpu_kernels_init_ref(&kernels);
    kernels.silu_gate(gate, up, cols, out->x);
    round_row(&kernels, cols, forms, out);
}

/* A CPU backend with a cache and an activation for the case. */
struct reference {
    struct thread_pool *pool;
    struct backend *backend;
    struct backend_kv *kv;
    struct backend_act *act;
    size_t k_bytes, v_bytes; /* of all pages */
};

static struct reference reference_create(const struct attention_case *c)
{
    struct reference r = {0};
    struct error err = {0};
    int status = thread_pool_init(&r.pool, 1, NULL, NULL, &err);
    status = status ? status : backend_cpu_create(&r.backend, "scalar", r.pool, CASE_ROWS, 0, &err);
    status = status ? status : r.backend->ops->kv_create(r.backend, &c->shape, 1, CASE_PAGES, c->k_type, c->v_type, &r.kv, &err);
    status = status ? status : r.backend->ops->act_create(r.backend, c->n_heads * c->shape.v_dim, c->forms, &r.act, &err);
    if (status) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    size_t heads = (size_t)CASE_PAGES * (size_t)c->shape.n_kv_heads;
    r.k_bytes = heads * r.kv->layers[0].k_page_bytes;
    r.v_bytes = heads * r.kv->layers[0].v_page_bytes;
    return r;
}

static void reference_free(struct reference *r)
{
    r->backend->ops->destroy(r->backend);
    thread_pool_free(r->pool);
}

static void store_history(const struct attention_case *c, const struct reference *r, int32_t slot, uint64_t *seed)
{
    float x[512];
    for (int32_t position = 0; position < c->history[slot]; position++) {
        int32_t page = c->pages[slot * CASE_MAX_PAGES + position / KV_PAGE];
        for (int32_t head = 0; head < c->shape.n_kv_heads; head++) {
            for (int32_t i = 0; i < c->shape.k_dim; i++) {
                x[i] = random_unit(seed);
            }
            cpu_kv_store_k(r->kv, 0, page, head, position, x);
            for (int32_t i = 0; i < c->shape.v_dim; i++) {
                x[i] = random_unit(seed) * c->v_size;
            }
            cpu_kv_store_v(r->kv, 0, page, head, position, x);
        }
    }
}

void reference_history(const struct attention_case *c, uint64_t seed, struct attention_data *data)
{
    struct reference r = reference_create(c);
    const struct cpu_kv_layer *layer = &r.kv->layers[0];
    memset(layer->k, 255, r.k_bytes);
    memset(layer->v, 255, r.v_bytes);
    for (int32_t slot = 0; slot < CASE_SLOTS; slot++) {
        store_history(c, &r, slot, &seed);
    }
    data->k_bytes = layer->k_page_bytes;
    data->v_bytes = layer->v_page_bytes;
    data->k_pages = malloc(r.k_bytes);
    data->v_pages = malloc(r.v_bytes);
    memcpy(data->k_pages, layer->k, r.k_bytes);
    memcpy(data->v_pages, layer->v, r.v_bytes);
    reference_free(&r);
}

void reference_attention(const struct attention_case *c, struct attention_data *data)
{
    struct reference r = reference_create(c);
    const struct backend_ops *ops = r.backend->ops;
    struct backend_rows rows = {
        .n_rows = c->n_rows, .positions = c->positions, .slots = c->slots, .pages = c->pages, .max_pages = CASE_MAX_PAGES};
    memcpy(r.kv->layers[0].k, data->k_pages, r.k_bytes);
    memcpy(r.kv->layers[0].v, data->v_pages, r.v_bytes);
    ops->step_begin(r.backend, &rows);
    struct rope_store_spec store = {.rope = c->rope, .kv = r.kv, .n_heads = c->n_heads, .q = data->q, .k = data->k, .v = data->v};
    ops->rope_store(r.backend, &store);
    struct attention_spec attention = {.kv = r.kv, .n_heads = c->n_heads, .scale = c->scale, .q = data->q};
    ops->attention(r.backend, &attention, r.act);
    memcpy(data->k_pages, r.kv->layers[0].k, r.k_bytes);
    memcpy(data->v_pages, r.kv->layers[0].v, r.v_bytes);
    size_t n = (size_t)c->n_rows * (size_t)r.act->cols, blocks = n / Q8_BLOCK;
    memcpy(data->out.x, r.act->x, n * sizeof(float));
    if (c->forms & BACKEND_ACT_INT8) {
        memcpy(data->out.q, r.act->q, n);
        memcpy(data->out.d, r.act->d, blocks * sizeof(float));
        memcpy(data->out.sum, r.act->sum, blocks * sizeof(float));
    }
    reference_free(&r);
}
