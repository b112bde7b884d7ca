/* SPDX-License-Identifier: MIT */
#include "src/model/config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/model/rope.h"

enum { KEY_MAX = 96, LAYERS_MAX = 4096, WIDTH_MAX = 1 << 20, HEADS_MAX = 4096 };

/* The file's keys are prefixed by the architecture: "llama.block_count". */
struct reader {
    const struct gguf *file;
    const char *prefix;
    struct error *err;
};

static void key_of(const struct reader *r, const char *name, char key[KEY_MAX])
{
    snprintf(key, KEY_MAX, "%s.%s", r->prefix, name);
}

static int require(const struct reader *r, const char *name, int32_t high, int32_t *out)
{
    char key[KEY_MAX];
    int64_t value = 0;
    key_of(r, name, key);
    int status = gguf_require_i64(r->file, key, 1, high, &value, r->err);
    *out = (int32_t)value;
    return status;
}

static int optional(const struct reader *r, const char *name, int32_t low, int32_t high, int32_t fallback, int32_t *out)
{
    char key[KEY_MAX];
    int64_t value = 0;
    key_of(r, name, key);
    int status = gguf_get_i64(r->file, key, low, high, fallback, &value, r->err);
    *out = (int32_t)value;
    return status;
}

static int optional_float(const struct reader *r, const char *name, double fallback, float *out)
{
    char key[KEY_MAX];
    double value = 0;
    key_of(r, name, key);
    int status = gguf_get_f64(r->file, key, fallback, &value, r->err);
    *out = (float)value;
    return status;
}

/* A count that is one number for all layers or an array with one for each. */
static int per_layer(const struct reader *r, const char *name, int32_t high, int32_t fallback, int32_t n_layers,
                     struct layer_shape *layers, size_t offset)
{
    char key[KEY_MAX];
    key_of(r, name, key);
    const struct gguf_value *value = gguf_find(r->file, key);
    if (!value && !fallback) {
        return error_set(r->err, "the file has no key %s", key);
    }
    if (value && (value->kind == GGUF_STRING || value->kind == GGUF_F32 || value->kind == GGUF_F64 ||
                  (value->kind == GGUF_ARRAY &&
                   (value->element == GGUF_STRING || value->element == GGUF_F32 || value->element == GGUF_F64)))) {
        return error_set(r->err, "key %s is no integer", key);
    }
    if (value && value->kind == GGUF_ARRAY && value->count < (uint64_t)n_layers) {
        return error_set(r->err, "key %s has %llu values, the model has %d layers", key, (unsigned long long)value->count,
                         n_layers);
    }
    for (int32_t i = 0; i < n_layers; i++) {
        int64_t n = !value ? fallback : gguf_element_i64(value, value->kind == GGUF_ARRAY ? (uint64_t)i : 0);
        if (n < 1 || n > high) {
            return error_set(r->err, "key %s is %lld, expected 1 to %d", key, (long long)n, high);
        }
        *(int32_t *)((char *)&layers[i] + offset) = (int32_t)n;
    }
    return 0;
}

static int read_shapes(struct model_config *c, const struct reader *r)
{
    if (require(r, "block_count", LAYERS_MAX, &c->n_layers) || require(r, "embedding_length", WIDTH_MAX, &c->dim) ||
        optional(r, "context_length", 1, INT32_MAX, 4096, &c->n_ctx_train)) {
        return -1;
    }
    c->layers = calloc((size_t)c->n_layers, sizeof *c->layers);
    if (!c->layers) {
        return error_set(r->err, "out of memory for %d layers", c->n_layers);
    }
    if (per_layer(r, "attention.head_count", HEADS_MAX, 0, c->n_layers, c->layers, offsetof(struct layer_shape, n_heads)) ||
        per_layer(r, "attention.head_count_kv", HEADS_MAX, c->layers[0].n_heads, c->n_layers, c->layers,
                  offsetof(struct layer_shape, n_kv_heads)) ||
        per_layer(r, "feed_forward_length", WIDTH_MAX * 8, 0, c->n_layers, c->layers, offsetof(struct layer_shape, ffn_dim))) {
        return -1;
    }
    for (int32_t i = 0; i < c->n_layers; i++) {
        if (c->layers[i].n_heads % c->layers[i].n_kv_heads) {
            return error_set(r->err, "%d heads do not divide evenly over %d kv heads", c->layers[i].n_heads,
                             c->layers[i].n_kv_heads);
        }
    }
    for (int32_t i = 1; i < c->n_layers; i++) { /* a segment's layers share their buffers */
        if (memcmp(&c->layers[i], &c->layers[0], sizeof *c->layers) != 0) {
            return error_set(
                r->err,
                "layer %d has %d heads, %d kv heads and a feed-forward width of %d, layer 0 has %d, %d and %d; this version runs "
                "models whose layers are alike",
                i, c->layers[i].n_heads, c->layers[i].n_kv_heads, c->layers[i].ffn_dim, c->layers[0].n_heads,
                c->layers[0].n_kv_heads, c->layers[0].ffn_dim);
        }
    }
    int32_t head_dim = c->dim / c->layers[0].n_heads;
    if (optional(r, "attention.key_length", 1, 65536, head_dim, &c->k_dim) ||
        optional(r, "attention.value_length", 1, 65536, head_dim, &c->v_dim)) {
        return -1;
    }
    int32_t n_experts;
    if (optional(r, "expert_count", 0, 65536, 0, &n_experts)) {
        return -1;
    }
    if (n_experts > 0) {
        return error_set(r->err, "the model has %d experts a layer; this version runs models without experts", n_experts);
    }
    return 0;
}

static int read_rope(struct model_config *c, const struct reader *r)
{
    char key[KEY_MAX];
    struct gguf_string type;
    float base, factor, old_factor;
    key_of(r, "rope.scaling.type", key);
    if (optional(r, "rope.dimension_count", 2, 65536, c->k_dim, &c->rope.n_rot) ||
        optional_float(r, "rope.freq_base", 10000, &base) || optional_float(r, "rope.scale_linear", 1, &old_factor) ||
        optional_float(r, "rope.scaling.factor", old_factor, &factor) || gguf_get_string(r->file, key, &type, r->err)) {
        return -1;
    }
    if (c->rope.n_rot > c->k_dim || c->rope.n_rot % 2) {
        return error_set(r->err, "%d rotated dimensions, expected an even number up to the head's %d", c->rope.n_rot, c->k_dim);
    }
    if (!(base >= 1e-6f && base <= 1e30f)) {
        return error_set(r->err, "the base of the rotation is %g, expected a positive number", (double)base);
    }
    if (type.data && !gguf_string_is(type, "none") && !gguf_string_is(type, "linear")) {
        return error_set(r->err, "key %s is \"%.*s\"; this version knows none and linear", key,
                         (int)(type.length < 40 ? type.length : 40), type.data);
    }
    if ((type.data && gguf_string_is(type, "none")) || factor == 0) {
        factor = 1; /* as llama.cpp reads a factor of 0 */
    }
    if (!(factor > 0 && factor < 1e9f)) {
        return error_set(r->err, "the rotation's scaling factor is %g, expected a positive number", (double)factor);
    }

    float *factors = NULL;
    const struct gguf_tensor *t = gguf_find_tensor(r->file, "rope_freqs.weight");
    if (t && t->data) { /* a file without data is good for planning and simulation */
        if (t->type != DTYPE_F32 || t->dims[0] != c->rope.n_rot / 2 || t->bytes != sizeof(float) * (size_t)(c->rope.n_rot / 2)) {
            return error_set(r->err, "tensor rope_freqs.weight has %lld values of type %u, expected %d of F32",
                             (long long)t->dims[0], t->type, c->rope.n_rot / 2);
        }
        factors = malloc(t->bytes);
        if (!factors) {
            return error_set(r->err, "out of memory");
        }
        memcpy(factors, t->data, t->bytes);
        for (int32_t i = 0; i < c->rope.n_rot / 2; i++) {
            if (!isfinite(factors[i]) || factors[i] == 0) {
                float factor_found = factors[i];
                free(factors);
                return error_set(r->err, "tensor rope_freqs.weight has the value %g, expected finite numbers other than 0",
                                 (double)factor_found);
            }
        }
    }
    double *freqs = malloc(sizeof *freqs * (size_t)(c->rope.n_rot / 2));
    if (!freqs) {
        free(factors);
        return error_set(r->err, "out of memory");
    }
    rope_frequencies(c->rope.n_rot, base, factor, factors, freqs);
    free(factors);
    c->rope.freqs = freqs;
    c->rope.kind = c->arch->rope;
    c->rope.attn_factor = 1;
    return 0;
}

static int read_vocab_size(struct model_config *c, const struct reader *r)
{
    const struct gguf_tensor *embed = gguf_find_tensor(r->file, "token_embd.weight");
    if (!embed) {
        return error_set(r->err, "the file has no tensor token_embd.weight");
    }
    if (embed->n_dims != 2 || embed->dims[0] != c->dim || embed->dims[1] < 1 || embed->dims[1] > (1 << 26)) {
        return error_set(r->err, "tensor token_embd.weight is [%lld, %lld], expected [%d, size of the vocabulary]",
                         (long long)embed->dims[0], (long long)embed->dims[1], c->dim);
    }
    c->n_vocab = (int32_t)embed->dims[1];
    return 0;
}

static int read_all(struct model_config *c, const struct gguf *file, struct error *err)
{
    struct gguf_string name;
    if (gguf_get_string(file, "general.architecture", &name, err)) {
        return -1;
    }
    if (!name.data) {
        return error_set(err, "the file has no key general.architecture");
    }
    c->arch = architecture_find(name.data, name.length);
    if (!c->arch) {
        return error_set(err, "unknown architecture \"%.*s\"; known: %s", (int)(name.length < 64 ? name.length : 64), name.data,
                         architecture_names());
    }
    struct reader r = {.file = file, .prefix = c->arch->name, .err = err};
    if (gguf_get_string(file, "general.name", &c->name, err) || read_shapes(c, &r) || read_vocab_size(c, &r) ||
        read_rope(c, &r) || optional_float(&r, "attention.layer_norm_rms_epsilon", 1e-5, &c->norm_eps) ||
        optional_float(&r, "attention.scale", 0, &c->attention_scale)) {
        return -1;
    }
    if (!(c->norm_eps >= 0 && c->norm_eps < 1)) {
        return error_set(err, "the norm's epsilon is %g, expected 0 to 1", (double)c->norm_eps);
    }
    if (c->attention_scale == 0) {
        c->attention_scale = 1.0f / sqrtf((float)c->k_dim);
    }
    return 0;
}

int model_config_init(struct model_config *config, const struct gguf *file, struct error *err)
{
    memset(config, 0, sizeof *config);
    if (read_all(config, file, err)) {
        model_config_free(config);
        return -1;
    }
    return 0;
}

void model_config_free(struct model_config *config)
{
    free((void *)config->rope.freqs);
    free(config->layers);
    memset(config, 0, sizeof *config);
}

struct kv_layer_shape model_config_kv_shape(const struct model_config *config, int32_t layer)
{
    struct kv_layer_shape shape = {.n_kv_heads = config->layers[layer].n_kv_heads,
                                   .k_dim = config->k_dim,
                                   .v_dim = config->v_dim,
                                   .n_heads = config->layers[layer].n_heads};
    return shape;
}
