/* SPDX-License-Identifier: MIT */
#include "src/model/segment.h"

#include <stdlib.h>
#include <string.h>

#include "src/model/head.h"

/* Shapes of layers [first, end); owned by the caller. */
static struct kv_layer_shape *kv_shapes(const struct model_config *config, int32_t first, int32_t end)
{
    struct kv_layer_shape *shapes = malloc(sizeof *shapes * (size_t)(end - first + 1));
    for (int32_t i = first; shapes && i < end; i++) {
        shapes[i - first] = model_config_kv_shape(config, i);
    }
    return shapes;
}

size_t segment_kv_bytes(const struct model_config *config, int32_t first, int32_t end, const struct segment_options *options)
{
    struct kv_layer_shape *shapes = kv_shapes(config, first, end);
    size_t bytes = shapes ? backend_kv_bytes(shapes, end - first, options->n_pages, options->k_type, options->v_type) : 0;
    free(shapes);
    return bytes;
}

int segment_init(struct segment *s, const struct model_config *config, const struct slice *slice, int32_t first, int32_t end,
                 struct backend *backend, const struct segment_options *options, struct error *err)
{
    memset(s, 0, sizeof *s);
    s->backend = backend;
    s->config = config;
    s->slice = slice;
    s->first = first;
    s->end = end;
    if (backend->ops->alloc(backend, (size_t)options->max_rows * (size_t)config->dim, &s->hidden, err)) {
        return -1;
    }
    if (slice->range.ends && end == slice->range.layer_end && head_takes_packed(slice->head_type) &&
        backend->ops->act_create(backend, config->dim, BACKEND_ACT_INT8, &s->normed, err)) {
        return -1;
    }
    if (first == end) {
        return 0;
    }
    struct kv_layer_shape *shapes = kv_shapes(config, first, end);
    int status = !shapes ? error_set(err, "out of memory")
                         : backend->ops->kv_create(backend, shapes, end - first, options->n_pages, options->k_type,
                                                   options->v_type, &s->kv, err);
    free(shapes);
    return status ? -1 : layer_buffers_init(&s->buffers, config, slice, first, end, options->max_rows, backend, err);
}

void segment_forward(struct segment *s, const struct backend_rows *rows, int embed, void *host, const struct segment_pause *pause)
{
    const struct backend_ops *ops = s->backend->ops;
    size_t n = (size_t)rows->n_rows * (size_t)s->config->dim;
    ops->step_begin(s->backend, rows);
    int replayed = ops->replay && ops->replay(s->backend, s);
    if (ops->replay && rows->n_rows <= BACKEND_REPLAY_ROWS) {
        pause = NULL; /* what is recorded cannot be parted, and is short */
    }
    if (embed) {
        ops->embed(s->backend, &s->slice->embed, 1.0f, s->hidden);
    } else {
        ops->upload(s->backend, s->hidden, host, n);
    }
    for (int32_t i = replayed ? s->end : s->first; i < s->end; i++) {
        if (pause && i > s->first) {
            ops->sync(s->backend);
            if (pause->run(pause->context, i - s->first, s->end - i)) {
                ops->step_begin(s->backend, rows);
            }
        }
        layer_forward(s->backend, s->config, &s->slice->layers[i - s->slice->range.layer_first], i, s->kv, i - s->first,
                      &s->buffers, s->hidden);
    }
    if (s->normed) {
        struct norm_spec norm = layer_norm_spec(s->config, s->slice->output_norm);
        if (!replayed) {
            ops->norm(s->backend, &norm, s->hidden, s->normed);
        }
        ops->act_download(s->backend, host, s->normed, rows->n_rows);
    } else {
        ops->download(s->backend, host, s->hidden, n);
    }
}
