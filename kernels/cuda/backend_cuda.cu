/* The CUDA backend: what it is made of, and the operations as launches. SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/backend_private.h"
#include "kernels/cuda/fast.h"

/* -- memory -- */

static int alloc_floats(struct backend *base, size_t n, float **out, struct error *err)
{
    uint64_t bytes = n < SIZE_MAX / 8 ? (uint64_t)n * sizeof(float) : UINT64_MAX;
    *out = (float *)cuda_take_zeroed(cuda_self(base), bytes, CUDA_FOR_ROWS, "a buffer of the rows", err);
    return *out ? 0 : -1;
}

static int act_create(struct backend *base, int32_t cols, int forms, struct backend_act **out, struct error *err)
{
    struct backend_cuda *self = cuda_self(base);
    const char *what = "activations";
    uint64_t n = (uint64_t)self->max_rows * (uint64_t)cols, n_blocks = n / CUDA_Q8_BLOCK;
    if (cols < 1 || ((forms & BACKEND_ACT_INT8) && cols % CUDA_Q8_BLOCK != 0)) {
        return error_set(err, "%d columns for quantised weights; expected a multiple of %d", cols, CUDA_Q8_BLOCK);
    }
    struct backend_act *act = (struct backend_act *)cuda_take_host(self, sizeof *act, 0, err);
    if (!act) {
        return -1;
    }
    act->cols = cols;
    act->forms = forms;
    if ((forms & BACKEND_ACT_FLOAT) && !(act->x = (float *)cuda_take_zeroed(self, n * sizeof(float), CUDA_FOR_ROWS, what, err))) {
        return -1;
    }
    if ((forms & BACKEND_ACT_INT8) &&
        (!(act->q = (int8_t *)cuda_take_zeroed(self, n, CUDA_FOR_ROWS, what, err)) ||
         !(act->d = (float *)cuda_take_zeroed(self, n_blocks * sizeof(float), CUDA_FOR_ROWS, what, err)) ||
         !(act->sum = (float *)cuda_take_zeroed(self, n_blocks * sizeof(float), CUDA_FOR_ROWS, what, err)))) {
        return -1;
    }
    *out = act;
    return 0;
}

/* What attention over such a layer keeps between its launches, for any step. */
static uint64_t attention_bytes(const struct kv_layer_shape *shape, int32_t max_rows, int32_t max_pages)
{
    struct cuda_kv_layer layer = {};
    uint64_t most = 0;
    layer.shape = *shape;
    for (int32_t n = 1; n <= max_rows; n++) {
        uint64_t bytes = cuda_attention_scratch_bytes(&layer, shape->n_heads, n, max_pages);
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* For any of the layers. */
static uint64_t most_attention_bytes(const struct kv_layer_shape *layers, int32_t n_layers, int32_t max_rows, int32_t max_pages)
{
    uint64_t most = 0;
    for (int32_t i = 0; i < n_layers; i++) {
        uint64_t bytes = attention_bytes(&layers[i], max_rows, max_pages);
        most = bytes > most ? bytes : most;
    }
    return most;
}

static int reserve_attention(struct backend_cuda *self, const struct kv_layer_shape *layers, int32_t n_layers, struct error *err)
{
    uint64_t bytes = most_attention_bytes(layers, n_layers, self->max_rows, self->max_pages);
    if (bytes > self->attention_scratch_bytes) {
        self->attention_scratch = cuda_take(self, bytes, CUDA_FOR_ROWS, "attention", err);
        self->attention_scratch_bytes = bytes; /* the smaller one before it goes with the backend */
    }
    return self->attention_scratch || bytes == 0 ? 0 : -1;
}

static int kv_create(struct backend *base, const struct kv_layer_shape *layers, int32_t n_layers, int32_t n_pages,
                     enum kv_type k_type, enum kv_type v_type, struct backend_kv **out, struct error *err)
{
    struct backend_cuda *self = cuda_self(base);
    struct backend_kv *kv = (struct backend_kv *)cuda_take_host(self, sizeof *kv, 0, err);
    size_t table_bytes = ((size_t)n_layers + 1) * sizeof *kv->layers;
    if (!kv || !(kv->layers = (struct cuda_kv_layer *)cuda_take_host(self, table_bytes, 0, err))) {
        return -1;
    }
    kv->n_layers = n_layers;
    kv->n_pages = n_pages;
    kv->k_type = k_type;
    kv->v_type = v_type;
    for (int32_t i = 0; i < n_layers; i++) {
        struct cuda_kv_layer *layer = &kv->layers[i];
        uint64_t n = (uint64_t)n_pages * (uint64_t)layers[i].n_kv_heads;
        layer->shape = layers[i];
        layer->k_bytes = KV_PAGE * backend_kv_row_bytes(layers[i].k_dim, k_type);
        layer->v_bytes = KV_PAGE * backend_kv_row_bytes(layers[i].v_dim, v_type);
        if (layers[i].n_heads < 1 || layers[i].n_heads % layers[i].n_kv_heads != 0 || layers[i].k_dim / 2 > CUDA_ROPE_MOST) {
            return error_set(err, "%d heads of width %d on %d heads of keys; expected a multiple, and widths of at most %d",
                             layers[i].n_heads, layers[i].k_dim, layers[i].n_kv_heads, 2 * CUDA_ROPE_MOST);
        }
        if (layer->k_bytes > UINT64_MAX / 4 / (n + 1) || layer->v_bytes > UINT64_MAX / 4 / (n + 1)) {
            return error_set(err, "%d pages of keys and values are more than memory can hold", n_pages);
        }
        if (!(layer->k = (char *)cuda_take_zeroed(self, n * layer->k_bytes, CUDA_FOR_KV, "keys of the KV cache", err)) ||
            !(layer->v = (char *)cuda_take_zeroed(self, n * layer->v_bytes, CUDA_FOR_KV, "values of the KV cache", err))) {
            return -1;
        }
    }
    *out = kv;
    return reserve_attention(self, layers, n_layers, err);
}

/* -- operations -- */

static void norm(struct backend *base, const struct norm_spec *spec, const float *in, struct backend_act *out)
{
    struct backend_cuda *self = cuda_self(base);
    assert(spec->kind == NORM_RMS && spec->weight.dtype == DTYPE_F32 && spec->weight.cols == out->cols);
    if (cuda_launches(self)) {
        cuda_norm_launch(self->stream, in, (const float *)spec->weight.data, spec->eps, self->rows.n, out);
    }
}

static struct cuda_matmul matmul_of(const struct matmul_spec *spec)
{
    const struct tensor *w = &spec->weight;
    struct cuda_matmul mat = {};
    mat.weight.dtype = w->dtype;
    mat.weight.data = w->data;
    mat.weight.rows = (int32_t)w->rows;
    mat.weight.cols = (int32_t)w->cols;
    mat.weight.rows_padded = (int32_t)((w->rows + CUDA_PANEL - 1) / CUDA_PANEL * CUDA_PANEL);
    mat.bias = (const float *)spec->bias.data;
    mat.scale = spec->scale;
    mat.add = spec->add;
    mat.out = spec->out;
    return mat;
}

static void matmul(struct backend *base, const struct backend_act *in, const struct matmul_spec *mats, int32_t n_mats)
{
    struct backend_cuda *self = cuda_self(base);
    struct cuda_matmul specs[CUDA_MATMUL_MOST];
    assert(n_mats <= CUDA_MATMUL_MOST);
    for (int32_t i = 0; i < n_mats; i++) {
        assert(mats[i].weight.layout != 0 && mats[i].weight.cols == in->cols);
        assert(in->forms & (dtype_info(mats[i].weight.dtype)->quantised ? BACKEND_ACT_INT8 : BACKEND_ACT_FLOAT));
        specs[i] = matmul_of(&mats[i]);
    }
    if (!cuda_launches(self)) {
        return;
    }
    if (self->fast && self->rows.n >= CUDA_FAST_ROWS) {
        cuda_fast_launch(self->fast, in, self->rows.n, specs, n_mats);
    } else {
        cuda_matmul_launch(self->stream, in, self->rows.n, specs, n_mats);
    }
}

/* The frequencies in device memory; new ones are copied the first time that they come, which no recording does. */
static const double *rope_freqs(struct backend_cuda *self, const struct rope_spec *rope)
{
    int32_t n = rope->n_rot / 2;
    size_t bytes = (size_t)n * sizeof(double);
    for (int32_t i = 0; i < self->n_rope; i++) {
        if (self->rope[i].n == n && memcmp(self->rope[i].freqs, rope->freqs, bytes) == 0) {
            return self->rope[i].device;
        }
    }
    if (self->n_rope == CUDA_ROPE_TABLES || n > CUDA_ROPE_MOST) {
        fatal("the GPU backend has room for %d different ropes of %d frequencies", CUDA_ROPE_TABLES, CUDA_ROPE_MOST);
    }
    struct cuda_rope_table *table = &self->rope[self->n_rope++];
    table->n = n;
    memcpy(table->freqs, rope->freqs, bytes);
    cuda_check(cudaMemcpyAsync(table->device, table->freqs, bytes, cudaMemcpyHostToDevice, self->stream), "copying frequencies");
    return table->device;
}

static void rope_store(struct backend *base, const struct rope_store_spec *spec)
{
    struct backend_cuda *self = cuda_self(base);
    assert(spec->layer >= 0 && spec->layer < spec->kv->n_layers && spec->rope.n_rot % 2 == 0);
    assert(spec->rope.kind == ROPE_NONE || spec->rope.n_rot <= spec->kv->layers[spec->layer].shape.k_dim);
    if (cuda_launches(self)) {
        const double *freqs = spec->rope.kind == ROPE_NONE ? NULL : rope_freqs(self, &spec->rope);
        cuda_rope_store_launch(self->stream, &self->rows, spec, freqs);
    }
}

static void attention(struct backend *base, const struct attention_spec *spec, struct backend_act *out)
{
    struct backend_cuda *self = cuda_self(base);
    assert(spec->layer >= 0 && spec->layer < spec->kv->n_layers && spec->n_heads <= spec->kv->layers[spec->layer].shape.n_heads);
    if (cuda_launches(self)) {
        cuda_attention_launch(self->stream, &self->rows, spec, self->max_context, self->attention_scratch, out);
    }
}

static void gated(struct backend *base, enum gate_kind kind, const float *gate, const float *up, int32_t cols,
                  struct backend_act *out)
{
    struct backend_cuda *self = cuda_self(base);
    assert(kind == GATE_SILU && cols == out->cols);
    (void)kind;
    (void)cols;
    if (cuda_launches(self)) {
        cuda_gate_launch(self->stream, gate, up, self->rows.n, out);
    }
}

/* -- the backend -- */

static void destroy(struct backend *base)
{
    struct backend_cuda *self = cuda_self(base);
    cudaSetDevice(self->device.index);
    if (self->stream) {
        cudaStreamSynchronize(self->stream);
    }
    cuda_replay_free(self);
    cuda_fast_free(self->fast);
    cuda_loader_free(self);
    cuda_memory_free(self);
    if (self->done) {
        cudaEventDestroy(self->done);
    }
    if (self->stream) {
        cudaStreamDestroy(self->stream);
    }
    free(self);
}

static const struct backend_ops *cuda_ops(void)
{
    static struct backend_ops ops;
    ops.name = "cuda";
    ops.computes = 1;
    ops.destroy = destroy;
    ops.import = cuda_import;
    ops.alloc = alloc_floats;
    ops.act_create = act_create;
    ops.kv_create = kv_create;
    ops.step_begin = cuda_step_begin;
    ops.replay = cuda_replay;
    ops.upload = cuda_upload;
    ops.download = cuda_download;
    ops.act_upload = cuda_act_upload;
    ops.act_download = cuda_act_download;
    ops.sync = cuda_sync;
    ops.embed = cuda_embed;
    ops.norm = norm;
    ops.matmul = matmul;
    ops.rope_store = rope_store;
    ops.attention = attention;
    ops.gated = gated;
    return &ops;
}

static int create_rope_tables(struct backend_cuda *self, struct error *err)
{
    self->rope = (struct cuda_rope_table *)cuda_take_host(self, CUDA_ROPE_TABLES * sizeof *self->rope, 0, err);
    for (int i = 0; self->rope && i < CUDA_ROPE_TABLES; i++) {
        size_t bytes = CUDA_ROPE_MOST * sizeof(double);
        if (!(self->rope[i].device = (double *)cuda_take(self, bytes, CUDA_FOR_ROWS, "frequencies", err))) {
            return -1;
        }
    }
    return self->rope ? 0 : -1;
}

int backend_cuda_create(struct backend **out, const struct cuda_options *options, struct error *err)
{
    struct gpu_device device;
    *out = NULL;
    if (options->max_rows < 1 || options->max_pages < 1) {
        return error_set(err, "a capacity of %d rows and %d pages; expected at least 1", options->max_rows, options->max_pages);
    }
    if (cuda_device_open(options->device, &device, err)) {
        return -1;
    }
    struct backend_cuda *self = (struct backend_cuda *)calloc(1, sizeof *self);
    if (!self) {
        return error_set(err, "GPU backend: out of memory");
    }
    self->base.ops = cuda_ops();
    self->device = device;
    self->max_rows = options->max_rows;
    self->max_pages = options->max_pages;
    self->record = options->record;
    self->memory.limit = options->memory_limit;
    cudaError_t status = cudaStreamCreateWithFlags(&self->stream, cudaStreamNonBlocking);
    status = status == cudaSuccess ? cudaEventCreateWithFlags(&self->done, cudaEventBlockingSync | cudaEventDisableTiming)
                                   : status;
    if (status != cudaSuccess) {
        cuda_refuse(status, "starting to use the GPU", err);
    } else if (cuda_step_create(self, err) == 0 && create_rope_tables(self, err) == 0 &&
               (!options->fast_math || (self->fast = cuda_fast_create(self, err)))) {
        *out = &self->base;
        return 0;
    }
    destroy(&self->base);
    return -1;
}

uint64_t backend_cuda_own_bytes(const struct cuda_options *options, const struct kv_layer_shape *layers, int32_t n_layers)
{
    uint64_t attention = most_attention_bytes(layers, n_layers, options->max_rows, options->max_pages);
    return backend_cuda_block_bytes(attention) + cuda_step_bytes(options->max_rows, options->max_pages) +
           2 * (uint64_t)CUDA_LOAD_BYTES + CUDA_CHUNK_BYTES + (options->fast_math ? cuda_fast_bytes() : 0);
}

struct cuda_counts backend_cuda_counts(const struct backend *backend)
{
    const struct backend_cuda *self = (const struct backend_cuda *)backend;
    return {self->memory.taken, self->n_asked, self->n_replays};
}
