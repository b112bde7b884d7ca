/* Hyper-parameters of a model, as its GGUF file gives them; equal on all ranks. SPDX-License-Identifier: MIT */
#ifndef SRC_MODEL_CONFIG_H
#define SRC_MODEL_CONFIG_H

#include "io/gguf.h"
#include "src/model/architecture.h"

/* Shapes that may differ from layer to layer. */
struct layer_shape {
    int32_t n_heads, n_kv_heads;
    int32_t ffn_dim;
};

struct model_config {
    const struct architecture *arch;
    struct gguf_string name; /* borrowed from the file; may be empty */
    int32_t n_layers, dim, n_vocab;
    int32_t n_ctx_train;  /* context length that the model was made for */
    int32_t k_dim, v_dim; /* width of one head */
    float norm_eps;
    float attention_scale;      /* of the scores: 1 / sqrt(k_dim) unless the file says otherwise */
    struct rope_spec rope;      /* freqs owned, [n_rot / 2] */
    struct layer_shape *layers; /* [n_layers] owned */
};

/* Reads and checks everything against everything: head counts divide, widths fit, values are in range. -1 with *err for an
 * unknown architecture (names it and the known ones), a missing key or a feature that this program lacks. */
int model_config_init(struct model_config *config, const struct gguf *file, struct error *err);
void model_config_free(struct model_config *config);

/* Shape of one layer's KV pages. */
struct kv_layer_shape model_config_kv_shape(const struct model_config *config, int32_t layer);

#endif
