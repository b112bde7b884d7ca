/* A run of layers on one backend with its part of the KV cache. SPDX-License-Identifier: MIT */
#ifndef SRC_MODEL_SEGMENT_H
#define SRC_MODEL_SEGMENT_H

#include "src/model/layer.h"

struct segment {
    struct backend *backend;           /* borrowed */
    const struct model_config *config; /* borrowed */
    const struct slice *slice;         /* borrowed */
    int32_t first, end;                /* layers, within the slice's */
    struct backend_kv *kv;             /* the backend's */
    struct layer_buffers buffers;
    float *hidden;              /* [max_rows, dim] backend memory */
    struct backend_act *normed; /* [max_rows, dim] behind the last layer of a model whose head takes packed rows, else NULL */
};

struct segment_options {
    int32_t max_rows;
    int32_t n_pages; /* of the KV pool */
    enum kv_type k_type, v_type;
};
int segment_init(struct segment *s, const struct model_config *config, const struct slice *slice, int32_t first, int32_t end,
                 struct backend *backend, const struct segment_options *options, struct error *err);

/* What may run on the backend between two layers, n_done of them behind it and n_left before it: 1 when it ran a step. */
struct segment_pause {
    int (*run)(void *context, int32_t n_done, int32_t n_left);
    void *context;
};

/* Runs the rows through the layers. embed = 1: hidden comes from the rows' tokens; else it is read from host [n_rows, dim]. The
 * result is written to host: hidden, or with `normed` what the head takes [n_rows, head_row_bytes]. Waits. pause: NULL = layers
 * follow each other without a look at anything; so do those of a step that the backend may replay. */
void segment_forward(struct segment *s, const struct backend_rows *rows, int embed, void *host,
                     const struct segment_pause *pause);

/* Bytes of the segment's KV pages. */
size_t segment_kv_bytes(const struct model_config *config, int32_t first, int32_t end, const struct segment_options *options);

#endif
