/* SPDX-License-Identifier: MIT */
#include "src/model/layer.h"

#include <string.h>

int layer_act_form(enum dtype type)
{
    return dtype_info(type)->quantised ? BACKEND_ACT_INT8 : BACKEND_ACT_FLOAT;
}

static int32_t larger(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

int layer_buffers_init(struct layer_buffers *buffers, const struct model_config *config, const struct slice *slice, int32_t first,
                       int32_t end, int32_t max_rows, struct backend *backend, struct error *err)
{
    int normed = 0, attended = 0, gated = 0;
    int32_t n_heads = 1, n_kv_heads = 1, ffn_dim = 1;
    memset(buffers, 0, sizeof *buffers);
    for (int32_t i = first; i < end; i++) {
        const struct layer_weights *w = &slice->layers[i - slice->range.layer_first];
        normed |= layer_act_form(w->q.weight.dtype) | layer_act_form(w->k.weight.dtype) | layer_act_form(w->v.weight.dtype) |
                  layer_act_form(w->gate.weight.dtype) | layer_act_form(w->up.weight.dtype);
        attended |= layer_act_form(w->output.weight.dtype);
        gated |= layer_act_form(w->down.weight.dtype);
        n_heads = larger(n_heads, config->layers[i].n_heads);
        n_kv_heads = larger(n_kv_heads, config->layers[i].n_kv_heads);
        ffn_dim = larger(ffn_dim, config->layers[i].ffn_dim);
    }
    const struct backend_ops *ops = backend->ops;
    size_t rows = (size_t)max_rows;
    if (ops->act_create(backend, config->dim, normed, &buffers->normed, err) ||
        ops->act_create(backend, n_heads * config->v_dim, attended, &buffers->attended, err) ||
        ops->act_create(backend, ffn_dim, gated, &buffers->gated, err) ||
        ops->alloc(backend, rows * (size_t)n_heads * (size_t)config->k_dim, &buffers->q, err) ||
        ops->alloc(backend, rows * (size_t)n_kv_heads * (size_t)config->k_dim, &buffers->k, err) ||
        ops->alloc(backend, rows * (size_t)n_kv_heads * (size_t)config->v_dim, &buffers->v, err) ||
        ops->alloc(backend, rows * (size_t)ffn_dim, &buffers->gate, err) ||
        ops->alloc(backend, rows * (size_t)ffn_dim, &buffers->up, err)) {
        return -1;
    }
    return 0;
}

static struct matmul_spec spec_of(const struct linear *l, float *out, int add)
{
    struct matmul_spec spec = {.weight = l->weight, .bias = l->bias, .scale = l->scale, .add = add, .out = out};
    return spec;
}

struct norm_spec layer_norm_spec(const struct model_config *config, struct tensor weight)
{
    struct norm_spec spec = {.kind = config->arch->norm, .weight = weight, .eps = config->norm_eps};
    return spec;
}

void layer_forward(struct backend *backend, const struct model_config *config, const struct layer_weights *weights, int32_t layer,
                   struct backend_kv *kv, int32_t kv_layer, const struct layer_buffers *buffers, float *hidden)
{
    const struct backend_ops *ops = backend->ops;
    const struct layer_shape *shape = &config->layers[layer];

    /* Attention: hidden += Wo attend(rope(Wq n), rope(Wk n), Wv n), n = norm(hidden) */
    struct norm_spec attn_norm = layer_norm_spec(config, weights->attn_norm);
    ops->norm(backend, &attn_norm, hidden, buffers->normed);
    struct matmul_spec qkv[] = {spec_of(&weights->q, buffers->q, 0), spec_of(&weights->k, buffers->k, 0),
                                spec_of(&weights->v, buffers->v, 0)};
    ops->matmul(backend, buffers->normed, qkv, 3);
    struct rope_store_spec store = {.rope = config->rope,
                                    .kv = kv,
                                    .layer = kv_layer,
                                    .n_heads = shape->n_heads,
                                    .q = buffers->q,
                                    .k = buffers->k,
                                    .v = buffers->v};
    ops->rope_store(backend, &store);
    struct attention_spec attention = {
        .kv = kv, .layer = kv_layer, .n_heads = shape->n_heads, .scale = config->attention_scale, .q = buffers->q};
    ops->attention(backend, &attention, buffers->attended);
    struct matmul_spec output = spec_of(&weights->output, hidden, 1);
    ops->matmul(backend, buffers->attended, &output, 1);

    /* Feed-forward: hidden += Wdown (act(Wgate n) * Wup n), n = norm(hidden) */
    struct norm_spec ffn_norm = layer_norm_spec(config, weights->ffn_norm);
    ops->norm(backend, &ffn_norm, hidden, buffers->normed);
    struct matmul_spec gate_up[] = {spec_of(&weights->gate, buffers->gate, 0), spec_of(&weights->up, buffers->up, 0)};
    ops->matmul(backend, buffers->normed, gate_up, 2);
    ops->gated(backend, config->arch->gate, buffers->gate, buffers->up, shape->ffn_dim, buffers->gated);
    struct matmul_spec down = spec_of(&weights->down, hidden, 1);
    ops->matmul(backend, buffers->gated, &down, 1);
}
