/* SPDX-License-Identifier: MIT */
#include "src/plan/shapes.h"

#include <stdlib.h>
#include <string.h>

#include "src/core/dtype.h"

/* Sources: config.json of each model. */
static const struct shape {
    const char *name;
    int32_t n_layers, dim, ffn_dim, n_heads, n_kv_heads, n_vocab, n_ctx;
    int tied, has_bias;
} shapes[] = {
    {"llama-3.2-1b", 16, 2048, 8192, 32, 8, 128256, 131072, 1, 0},
    {"llama-3.2-3b", 28, 3072, 8192, 24, 8, 128256, 131072, 1, 0},
    {"llama-3.1-8b", 32, 4096, 14336, 32, 8, 128256, 131072, 0, 0},
    {"qwen2.5-7b", 28, 3584, 18944, 28, 4, 152064, 32768, 0, 1},
    {"qwen2.5-14b", 48, 5120, 13824, 40, 8, 152064, 32768, 0, 1},
    {"qwen2.5-32b", 64, 5120, 27648, 40, 8, 152064, 32768, 0, 1},
    {"llama-3.3-70b", 80, 8192, 28672, 64, 8, 128256, 131072, 0, 0},
};

enum { SEVENTY_B_LAYERS = 80 };

/* Of a mix: what most matrices are, the output matrix, and attn_v and ffn_down in the layers that get more bits. Source:
 * ggml-org/llama.cpp, src/llama-quant.cpp (llama_tensor_get_type). */
static const struct mix {
    const char *name;
    enum dtype common, output, more;
} mixes[] = {
    {"q4_0", DTYPE_Q4_0, DTYPE_Q6_K, DTYPE_Q4_0},
    {"q4_k_m", DTYPE_Q4_K, DTYPE_Q6_K, DTYPE_Q6_K},
    {"q8_0", DTYPE_Q8_0, DTYPE_Q8_0, DTYPE_Q8_0},
};

const char *shapes_model(int32_t index)
{
    return index < (int32_t)(sizeof shapes / sizeof *shapes) ? shapes[index].name : NULL;
}

const char *shapes_type(int32_t index)
{
    return index < (int32_t)(sizeof mixes / sizeof *mixes) ? mixes[index].name : NULL;
}

static uint64_t matrix_bytes(enum dtype type, int64_t rows, int64_t cols)
{
    const struct dtype_info *info = dtype_info(type);
    return (uint64_t)rows * (uint64_t)cols / (uint64_t)info->block * (uint64_t)info->block_bytes;
}

static int has_more_bits(int32_t layer, int32_t n)
{
    return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
}

static uint64_t layer_bytes(const struct shape *s, const struct mix *m, int32_t layer)
{
    int64_t kv = (int64_t)s->dim / s->n_heads * s->n_kv_heads;
    int more = has_more_bits(layer, s->n_layers);
    enum dtype v = more ? m->more : m->common == DTYPE_Q4_K && s->n_layers == SEVENTY_B_LAYERS ? DTYPE_Q5_K : m->common;
    uint64_t floats = 2 * (uint64_t)s->dim + (s->has_bias ? (uint64_t)(s->dim + 2 * kv) : 0);
    return matrix_bytes(m->common, 2 * (int64_t)s->dim + kv, s->dim) + matrix_bytes(v, kv, s->dim) +
           matrix_bytes(m->common, 2 * (int64_t)s->ffn_dim, s->dim) +
           matrix_bytes(more ? m->more : m->common, s->ffn_dim, s->dim) + floats * sizeof(float);
}

int shapes_init(struct model_config *config, struct slice_sizes *sizes, int32_t model, int32_t type, struct error *err)
{
    const struct shape *s = &shapes[model];
    const struct mix *m = &mixes[type];
    memset(config, 0, sizeof *config);
    memset(sizes, 0, sizeof *sizes);
    config->layers = calloc((size_t)s->n_layers, sizeof *config->layers);
    sizes->layer_bytes = calloc((size_t)s->n_layers, sizeof *sizes->layer_bytes);
    if (!config->layers || !sizes->layer_bytes) {
        shapes_free(config, sizes);
        return error_set(err, "out of memory for the shape of %s", s->name);
    }
    config->name = (struct gguf_string){.data = s->name, .length = strlen(s->name)};
    config->n_layers = sizes->n_layers = s->n_layers;
    config->n_vocab = sizes->n_vocab = s->n_vocab;
    config->dim = s->dim;
    config->n_ctx_train = s->n_ctx;
    config->k_dim = config->v_dim = s->dim / s->n_heads;
    sizes->tied = s->tied;
    sizes->norm_bytes = (uint64_t)s->dim * sizeof(float);
    sizes->row_bytes = matrix_bytes(m->output, 1, s->dim);
    sizes->embed_bytes = matrix_bytes(s->tied ? m->output : m->common, s->n_vocab, s->dim);
    for (int32_t i = 0; i < s->n_layers; i++) {
        config->layers[i] = (struct layer_shape){.n_heads = s->n_heads, .n_kv_heads = s->n_kv_heads, .ffn_dim = s->ffn_dim};
        sizes->layer_bytes[i] = layer_bytes(s, m, i);
    }
    return 0;
}

void shapes_free(struct model_config *config, struct slice_sizes *sizes)
{
    free(config->layers);
    slice_sizes_free(sizes);
    memset(config, 0, sizeof *config);
}
