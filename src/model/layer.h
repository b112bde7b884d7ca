/* The one layer recipe of all families: norm, attention, norm, feed-forward, each added to the residual stream.
 * SPDX-License-Identifier: MIT */
#ifndef SRC_MODEL_LAYER_H
#define SRC_MODEL_LAYER_H

#include "src/model/slice.h"

/* Intermediates of a layer, in the backend's memory, shared by all layers of a segment. */
struct layer_buffers {
    struct backend_act *normed;   /* [max_rows, dim] input of q, k, v and of gate, up */
    struct backend_act *attended; /* [max_rows, n_heads * v_dim] */
    struct backend_act *gated;    /* [max_rows, ffn_dim] */
    float *q, *k, *v;             /* [max_rows, heads * head width] */
    float *gate, *up;             /* [max_rows, ffn_dim] */
};

/* Sizes for layers [first, end) of the slice; the forms of the activations follow from the weights' types. */
int layer_buffers_init(struct layer_buffers *buffers, const struct model_config *config, const struct slice *slice, int32_t first,
                       int32_t end, int32_t max_rows, struct backend *backend, struct error *err);

/* hidden: [n_rows of the step, dim] in backend memory, updated in place. kv_layer: the layer's index in kv. */
void layer_forward(struct backend *backend, const struct model_config *config, const struct layer_weights *weights, int32_t layer,
                   struct backend_kv *kv, int32_t kv_layer, const struct layer_buffers *buffers, float *hidden);

/* Which form of activation a matrix of this type wants. */
int layer_act_form(enum dtype type);
/* A norm of the model's kind with those weights. */
struct norm_spec layer_norm_spec(const struct model_config *config, struct tensor weight);

#endif
