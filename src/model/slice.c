/* SPDX-License-Identifier: MIT */
#include "src/model/slice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct loader {
    const struct gguf *file;
    struct slice *slice;
    struct backend *backend; /* of what is being loaded */
    slice_progress_fn progress;
    void *progress_context;
    uint64_t done, total;
    struct error *err;
};

struct rows_range {
    int64_t first, end;
};

static int show_progress(struct loader *l, size_t bytes)
{
    l->done += bytes;
    int stop = l->progress && l->progress(l->progress_context, l->done, l->total);
    return stop ? error_set(l->err, "loading was stopped") : 0;
}

/* Brings a tensor's pages into memory, so that the first token does not wait for the disk, and shows how far it is. Every page is
 * touched; the sum keeps the compiler from leaving the reads out. data: NULL when only shapes are wanted. */
static int read_ahead(struct loader *l, const uint8_t *data, size_t bytes)
{
    enum { STEP = 4096, WINDOW = 8 << 20 };
    volatile uint8_t sink = 0;
    if (!data) {
        l->done += bytes;
        return 0;
    }
    for (size_t at = 0; at < bytes; at += WINDOW) {
        size_t n = bytes - at < WINDOW ? bytes - at : WINDOW;
        uintptr_t begin = (uintptr_t)(data + at) & ~(uintptr_t)(STEP - 1);
        madvise((void *)begin, (size_t)((uintptr_t)(data + at) + n - begin), MADV_WILLNEED);
        for (size_t i = 0; i < n; i += STEP) {
            sink = (uint8_t)(sink + data[at + i]);
        }
        if (show_progress(l, n)) {
            return -1;
        }
    }
    return 0;
}

/* Finds tensor `name` and checks that it is [rows, cols]; for a backend that does not compute, its shape alone. must = 0: absent
 * is fine and leaves *out zeroed. */
static int find_matrix(struct loader *l, const char *name, int64_t rows, int64_t cols, int must, struct tensor *out)
{
    memset(out, 0, sizeof *out);
    const struct gguf_tensor *t = gguf_find_tensor(l->file, name);
    if (!t) {
        return must ? error_set(l->err, "the file has no tensor %s", name) : 0;
    }
    int computes = l->backend->ops->computes;
    if (computes ? gguf_tensor_view(t, out, l->err) : gguf_tensor_shape(t, out, l->err)) {
        return -1;
    }
    if (out->rows != rows || out->cols != cols || t->n_dims > 2) {
        return error_set(l->err, "tensor %s is [%lld, %lld], expected [%lld, %lld]", name, (long long)out->cols,
                         (long long)out->rows, (long long)cols, (long long)rows);
    }
    return 0;
}

/* Narrows the matrix to the wanted rows and hands them to the backend. What it leaves in the file is read here, unless it has
 * been. */
static int take_rows(struct loader *l, struct rows_range rows, enum backend_use use, int has_been_read, struct tensor *t)
{
    const void *data = t->data ? (const uint8_t *)t->data + (size_t)rows.first * t->row_bytes : NULL;
    t->data = data;
    t->rows = rows.end - rows.first;
    t->may_drop = data && use == BACKEND_MATRIX && !l->file->borrowed;
    size_t bytes = (size_t)t->rows * t->row_bytes;
    if (l->backend->ops->import(l->backend, t, use, l->err)) {
        return -1;
    }
    if (has_been_read) {
        return 0;
    }
    return t->data == data ? read_ahead(l, data, bytes) : show_progress(l, bytes);
}

static int load_matrix(struct loader *l, const char *name, int64_t rows, int64_t cols, enum backend_use use, struct tensor *out)
{
    return find_matrix(l, name, rows, cols, 1, out) ? -1 : take_rows(l, (struct rows_range){0, rows}, use, 0, out);
}

/* A vector of F32 (norms, biases), read. */
static int find_vector(struct loader *l, const char *name, int64_t n, int must, struct tensor *out)
{
    if (find_matrix(l, name, 1, n, must, out)) {
        return -1;
    }
    if (out->rows && out->dtype != DTYPE_F32) {
        return error_set(l->err, "tensor %s is of type %s, expected F32", name, dtype_info(out->dtype)->name);
    }
    return read_ahead(l, out->data, out->row_bytes);
}

static int load_vector(struct loader *l, const char *name, int64_t n, struct tensor *out)
{
    return find_vector(l, name, n, 1, out) ? -1 : l->backend->ops->import(l->backend, out, BACKEND_VECTOR, l->err);
}

/* Where a per-tensor scale acts. Source: ggml-org/llama.cpp, src/llama-graph.cpp: build_lora_mm (attention), build_ffn. */
enum scale_rule { SCALE_NONE, SCALE_PRODUCT /* (W x) * s + b */, SCALE_SUM /* (W x + b) * s */ };

/* The bias becomes b * s in memory of the slice's own. */
static int scale_bias(struct loader *l, struct linear *linear)
{
    struct slice *slice = l->slice;
    float **owned = realloc(slice->owned, sizeof *owned * (size_t)(slice->n_owned + 1));
    float *scaled = malloc(sizeof *scaled * (size_t)linear->bias.cols);
    if (owned) {
        slice->owned = owned;
    }
    if (!owned || !scaled) {
        free(scaled);
        return error_set(l->err, "out of memory");
    }
    slice->owned[slice->n_owned++] = scaled;
    const float *bias = linear->bias.data;
    for (int64_t i = 0; i < linear->bias.cols; i++) {
        scaled[i] = bias[i] * linear->scale;
    }
    linear->bias.data = scaled;
    return 0;
}

/* "blk.3.attn_q" + ".weight", ".bias" and the per-tensor ".scale". */
static int load_linear(struct loader *l, const char *stem, int64_t rows, int64_t cols, enum scale_rule rule, struct linear *out)
{
    char name[96];
    snprintf(name, sizeof name, "%s.weight", stem);
    if (load_matrix(l, name, rows, cols, BACKEND_MATRIX, &out->weight)) {
        return -1;
    }
    out->scale = 1;
    snprintf(name, sizeof name, "%s.scale", stem);
    const struct gguf_tensor *scale = rule == SCALE_NONE ? NULL : gguf_find_tensor(l->file, name);
    if (scale && l->backend->ops->computes) {
        if (scale->type != DTYPE_F32 || scale->bytes != sizeof(float)) {
            return error_set(l->err, "tensor %s is not one F32 value", name);
        }
        memcpy(&out->scale, scale->data, sizeof(float));
    }
    snprintf(name, sizeof name, "%s.bias", stem);
    if (find_vector(l, name, rows, 0, &out->bias)) {
        return -1;
    }
    if (out->bias.data && rule == SCALE_SUM && out->scale != 1 && scale_bias(l, out)) {
        return -1;
    }
    return out->bias.rows ? l->backend->ops->import(l->backend, &out->bias, BACKEND_VECTOR, l->err) : 0;
}

static int load_layer(struct loader *l, const struct model_config *c, int32_t layer, struct layer_weights *w)
{
    const struct layer_shape *shape = &c->layers[layer];
    enum scale_rule ffn = c->arch->ffn_scales ? SCALE_SUM : SCALE_NONE;
    const struct {
        const char *stem;
        int64_t rows, cols;
        enum scale_rule rule;
        struct linear *out;
    } linears[] = {
        {"attn_q", (int64_t)shape->n_heads * c->k_dim, c->dim, SCALE_PRODUCT, &w->q},
        {"attn_k", (int64_t)shape->n_kv_heads * c->k_dim, c->dim, SCALE_PRODUCT, &w->k},
        {"attn_v", (int64_t)shape->n_kv_heads * c->v_dim, c->dim, SCALE_PRODUCT, &w->v},
        {"attn_output", c->dim, (int64_t)shape->n_heads * c->v_dim, SCALE_PRODUCT, &w->output},
        {"ffn_gate", shape->ffn_dim, c->dim, ffn, &w->gate},
        {"ffn_up", shape->ffn_dim, c->dim, ffn, &w->up},
        {"ffn_down", c->dim, shape->ffn_dim, ffn, &w->down},
    };
    char name[96];
    snprintf(name, sizeof name, "blk.%d.attn_norm.weight", layer);
    if (load_vector(l, name, c->dim, &w->attn_norm)) {
        return -1;
    }
    snprintf(name, sizeof name, "blk.%d.ffn_norm.weight", layer);
    if (load_vector(l, name, c->dim, &w->ffn_norm)) {
        return -1;
    }
    for (size_t i = 0; i < sizeof linears / sizeof *linears; i++) {
        snprintf(name, sizeof name, "blk.%d.%s", layer, linears[i].stem);
        if (load_linear(l, name, linears[i].rows, linears[i].cols, linears[i].rule, linears[i].out)) {
            return -1;
        }
    }
    return 0;
}

/* Name of the output matrix: its own, or the embedding's when they are tied. */
static const char *head_stem(const struct gguf *file)
{
    return gguf_find_tensor(file, "output.weight") ? "output" : "token_embd";
}

/* The rows that the stage owns, wherever in the vocabulary they are. A stage that embeds with the same matrix has read them;
 * where the backend has made a copy for the head, the file's pages serve single tokens only and need not stay. */
static int load_head(struct loader *l, const struct model_config *c, struct slice *slice)
{
    char name[32];
    const char *stem = head_stem(l->file);
    struct linear *head = &slice->head;
    struct rows_range rows = {slice->range.vocab_first, slice->range.vocab_end};
    int shared = slice->range.embeds && strcmp(stem, "token_embd") == 0;
    head->scale = 1;
    snprintf(name, sizeof name, "%s.weight", stem);
    if (load_vector(l, "output_norm.weight", c->dim, &slice->head_norm) ||
        find_matrix(l, name, c->n_vocab, c->dim, 1, &head->weight) || take_rows(l, rows, BACKEND_MATRIX, shared, &head->weight)) {
        return -1;
    }
    slice->embed.may_drop = shared && head->weight.layout != 0;
    snprintf(name, sizeof name, "%s.bias", stem);
    if (find_vector(l, name, c->n_vocab, 0, &head->bias)) {
        return -1;
    }
    if (!head->bias.rows) {
        return 0;
    }
    head->bias.data = head->bias.data ? (const float *)head->bias.data + rows.first : NULL;
    head->bias.cols = rows.end - rows.first;
    head->bias.row_bytes = (size_t)head->bias.cols * sizeof(float);
    return l->backend->ops->import(l->backend, &head->bias, BACKEND_VECTOR, l->err);
}

static int load_all(struct slice *slice, struct loader *l, const struct model_config *c, const struct slice_places *places)
{
    const struct slice_range *r = &slice->range;
    slice->layers = calloc((size_t)(r->layer_end - r->layer_first) + 1, sizeof *slice->layers);
    if (!slice->layers) {
        return error_set(l->err, "out of memory for %d layers", r->layer_end - r->layer_first);
    }
    l->backend = places->first;
    if (r->embeds && load_matrix(l, "token_embd.weight", c->n_vocab, c->dim, BACKEND_ROWS, &slice->embed)) {
        return -1;
    }
    for (int32_t layer = r->layer_first; layer < r->layer_end; layer++) {
        l->backend = layer < places->cut ? places->first : places->behind;
        if (load_layer(l, c, layer, &slice->layers[layer - r->layer_first])) {
            return -1;
        }
    }
    if (r->ends && load_vector(l, "output_norm.weight", c->dim, &slice->output_norm)) {
        return -1;
    }
    l->backend = places->head;
    return r->vocab_end > r->vocab_first ? load_head(l, c, slice) : 0;
}

int slice_load(struct slice *slice, const struct gguf *file, const struct model_config *config, const struct slice_range *range,
               const struct slice_places *places, slice_progress_fn progress, void *progress_context, struct error *err)
{
    memset(slice, 0, sizeof *slice);
    slice->range = *range;
    struct loader l = {.file = file, .slice = slice, .progress = progress, .progress_context = progress_context, .err = err};
    struct slice_sizes sizes;
    if (slice_sizes_init(&sizes, file, config, err)) {
        return -1;
    }
    l.total = slice_bytes(&sizes, range);
    slice->head_type = sizes.head_type;
    slice_sizes_free(&sizes);
    if (load_all(slice, &l, config, places)) {
        slice_free(slice);
        return -1;
    }
    return 0;
}

void slice_free(struct slice *slice)
{
    for (int32_t i = 0; i < slice->n_owned; i++) {
        free(slice->owned[i]);
    }
    free(slice->owned);
    free(slice->layers);
    memset(slice, 0, sizeof *slice);
}

static uint64_t layer_bytes(const struct gguf *file, int32_t layer)
{
    char prefix[32];
    int n = snprintf(prefix, sizeof prefix, "blk.%d.", layer);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < file->n_tensors; i++) {
        sum += strncmp(file->tensors[i].name, prefix, (size_t)n) == 0 ? file->tensors[i].bytes : 0;
    }
    return sum;
}

static uint64_t named_bytes(const struct gguf *file, const char *name)
{
    const struct gguf_tensor *t = gguf_find_tensor(file, name);
    return t ? t->bytes : 0;
}

int slice_sizes_init(struct slice_sizes *sizes, const struct gguf *file, const struct model_config *config, struct error *err)
{
    char name[32];
    snprintf(name, sizeof name, "%s.weight", head_stem(file));
    const struct gguf_tensor *head = gguf_find_tensor(file, name);
    *sizes = (struct slice_sizes){.n_layers = config->n_layers,
                                  .n_vocab = config->n_vocab,
                                  .norm_bytes = named_bytes(file, "output_norm.weight"),
                                  .row_bytes = (head ? head->bytes : 0) / (uint64_t)config->n_vocab,
                                  .embed_bytes = named_bytes(file, "token_embd.weight"),
                                  .tied = !gguf_find_tensor(file, "output.weight"),
                                  .head_type = head ? (enum dtype)head->type : DTYPE_F32};
    sizes->layer_bytes = calloc((size_t)config->n_layers + 1, sizeof *sizes->layer_bytes);
    if (!sizes->layer_bytes) {
        return error_set(err, "out of memory for the sizes of %d layers", config->n_layers);
    }
    for (int32_t i = 0; i < config->n_layers; i++) {
        sizes->layer_bytes[i] = layer_bytes(file, i);
    }
    return 0;
}

void slice_sizes_free(struct slice_sizes *sizes)
{
    free(sizes->layer_bytes);
    memset(sizes, 0, sizeof *sizes);
}

uint64_t slice_bytes(const struct slice_sizes *sizes, const struct slice_range *range)
{
    uint64_t n_rows = (uint64_t)(range->vocab_end - range->vocab_first), sum = range->embeds ? sizes->embed_bytes : 0;
    for (int32_t layer = range->layer_first; layer < range->layer_end; layer++) {
        sum += sizes->layer_bytes[layer];
    }
    sum += n_rows || range->ends ? sizes->norm_bytes : 0;
    return sum + (range->embeds && sizes->tied ? 0 : n_rows * sizes->row_bytes);
}

uint64_t slice_token_bytes(const struct slice_sizes *sizes)
{
    uint64_t sum = sizes->norm_bytes + (uint64_t)sizes->n_vocab * sizes->row_bytes;
    for (int32_t i = 0; i < sizes->n_layers; i++) {
        sum += sizes->layer_bytes[i];
    }
    return sum;
}
