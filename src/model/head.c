/* SPDX-License-Identifier: MIT */
#include "src/model/head.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "src/model/layer.h"

int head_takes_packed(enum dtype head_type)
{
    const struct dtype_info *info = dtype_info(head_type);
    return info && info->known && info->quantised;
}

size_t head_row_bytes(enum dtype head_type, int32_t dim)
{
    return head_takes_packed(head_type) ? backend_act_row_bytes(dim) : (size_t)dim * sizeof(float);
}

int head_init(struct head *h, const struct model_config *config, const struct slice *slice, struct backend *backend,
              struct error *err)
{
    memset(h, 0, sizeof *h);
    h->backend = backend;
    h->config = config;
    h->slice = slice;
    h->n_vocab = slice->range.vocab_end - slice->range.vocab_first;
    size_t n_logits = (size_t)HEAD_MAX_ROWS * (size_t)h->n_vocab;
    h->host = calloc(n_logits, sizeof(float));
    if (!h->host) {
        return error_set(err, "out of memory for the logits of %d rows", (int)HEAD_MAX_ROWS);
    }
    const struct backend_ops *ops = backend->ops;
    if (ops->act_create(backend, config->dim, layer_act_form(slice->head.weight.dtype), &h->normed, err) ||
        (!head_takes_packed(slice->head_type) &&
         ops->alloc(backend, (size_t)HEAD_MAX_ROWS * (size_t)config->dim, &h->hidden, err)) ||
        ops->alloc(backend, n_logits, &h->logits, err)) {
        head_free(h);
        return -1;
    }
    return 0;
}

void head_free(struct head *h)
{
    free(h->host);
    memset(h, 0, sizeof *h);
}

const float *head_forward(struct head *h, const void *rows, int32_t n)
{
    assert(n >= 1 && n <= HEAD_MAX_ROWS);
    const struct backend_ops *ops = h->backend->ops;
    struct backend_rows step = {.n_rows = n};
    ops->step_begin(h->backend, &step);
    int replayed = ops->replay && ops->replay(h->backend, h);
    if (h->hidden) {
        ops->upload(h->backend, h->hidden, rows, (size_t)n * (size_t)h->config->dim);
    } else {
        ops->act_upload(h->backend, h->normed, rows, n);
    }
    if (!replayed) {
        struct norm_spec norm = layer_norm_spec(h->config, h->slice->head_norm);
        struct matmul_spec output = {
            .weight = h->slice->head.weight, .bias = h->slice->head.bias, .scale = h->slice->head.scale, .out = h->logits};
        if (h->hidden) {
            ops->norm(h->backend, &norm, h->hidden, h->normed);
        }
        ops->matmul(h->backend, h->normed, &output, 1);
    }
    ops->download(h->backend, h->host, h->logits, (size_t)n * (size_t)h->n_vocab);
    return h->host;
}
