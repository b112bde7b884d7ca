/* KV pages and rope of the CPU backend. SPDX-License-Identifier: MIT */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/backend_cpu.h"
#include "kernels/cpu/math_ref.h"

int cpu_kv_create(struct backend *base, const struct kv_layer_shape *layers, int32_t n_layers, int32_t n_pages,
                  enum kv_type k_type, enum kv_type v_type, struct backend_kv **out, struct error *err)
{
    struct backend_cpu *self = (struct backend_cpu *)base;
    struct backend_kv *kv = cpu_alloc(self, 1, sizeof *kv, "KV cache", err);
    if (!kv || !(kv->layers = cpu_alloc(self, (size_t)n_layers, sizeof *kv->layers, "KV cache", err))) {
        return -1;
    }
    kv->n_layers = n_layers;
    kv->n_pages = n_pages;
    kv->k_type = k_type;
    kv->v_type = v_type;
    for (int32_t i = 0; i < n_layers; i++) {
        struct cpu_kv_layer *layer = &kv->layers[i];
        size_t n = (size_t)n_pages * (size_t)layers[i].n_kv_heads;
        layer->shape = layers[i];
        layer->k_page_bytes = KV_PAGE * backend_kv_row_bytes(layers[i].k_dim, k_type);
        layer->v_page_bytes = KV_PAGE * backend_kv_row_bytes(layers[i].v_dim, v_type);
        if (!(layer->k = cpu_alloc(self, n, layer->k_page_bytes, "keys of the KV cache", err)) ||
            !(layer->v = cpu_alloc(self, n, layer->v_page_bytes, "values of the KV cache", err)) ||
            cpu_rope_reserve(self, layers[i].k_dim, err) != 0 ||
            cpu_attention_reserve(self, layers[i].k_dim, layers[i].v_dim, err) != 0) {
            return -1;
        }
    }
    *out = kv;
    return 0;
}

/* Scale (as half) and integers of up to 32 values. The rounding uses the scale before it is rounded to half. */
static uint16_t quantize_kv(const float *x, int32_t n, int8_t *q)
{
    float amax = 0;
    for (int32_t i = 0; i < n; i++) {
        amax = fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
    }
    float d = amax / 127.0f, id = d >= 0x1p-126f ? 1.0f / d : 0.0f;
    for (int32_t i = 0; i < n; i++) {
        float value = rintf(x[i] * id);
        value = value > -127 ? value : -127;
        q[i] = (int8_t)(value < 127 ? value : 127);
    }
    return half_from_float(d);
}

/* Element i goes to data[i * stride], its scale to scales[i / 32 * scale_stride]. */
static void store_head(enum kv_type type, const float *x, int32_t dim, void *page, size_t first, size_t stride, uint16_t *scales,
                       size_t scale_stride)
{
    if (type == KV_F32) {
        for (int32_t i = 0; i < dim; i++) {
            ((float *)page)[first + (size_t)i * stride] = x[i];
        }
    } else if (type == KV_F16) {
        for (int32_t i = 0; i < dim; i++) {
            ((uint16_t *)page)[first + (size_t)i * stride] = half_from_float(x[i]);
        }
    } else {
        for (int32_t b = 0; b < dim; b += Q8_BLOCK) {
            int8_t q[Q8_BLOCK];
            int32_t n = dim - b < Q8_BLOCK ? dim - b : Q8_BLOCK;
            scales[(size_t)(b / Q8_BLOCK) * scale_stride] = quantize_kv(x + b, n, q);
            for (int32_t i = 0; i < n; i++) {
                ((int8_t *)page)[first + (size_t)(b + i) * stride] = q[i];
            }
        }
    }
}

void cpu_kv_store_k(const struct backend_kv *kv, int32_t layer, int32_t page, int32_t head, int32_t position, const float *k)
{
    const struct cpu_kv_layer *l = &kv->layers[layer];
    size_t place = (size_t)(position % KV_PAGE), dim = (size_t)l->shape.k_dim;
    char *data = l->k + ((size_t)page * (size_t)l->shape.n_kv_heads + (size_t)head) * l->k_page_bytes;
    uint16_t *scales = (uint16_t *)(data + dim * KV_PAGE);
    store_head(kv->k_type, k, l->shape.k_dim, data, place, KV_PAGE, scales + place, KV_PAGE);
}

void cpu_kv_store_v(const struct backend_kv *kv, int32_t layer, int32_t page, int32_t head, int32_t position, const float *v)
{
    const struct cpu_kv_layer *l = &kv->layers[layer];
    size_t place = (size_t)(position % KV_PAGE), dim = (size_t)l->shape.v_dim;
    char *data = l->v + ((size_t)page * (size_t)l->shape.n_kv_heads + (size_t)head) * l->v_page_bytes;
    uint16_t *scales = (uint16_t *)(data + dim * KV_PAGE);
    store_head(kv->v_type, v, l->shape.v_dim, data, place * dim, 1, scales + place * ((dim + Q8_BLOCK - 1) / Q8_BLOCK), 1);
}

int cpu_rope_reserve(struct backend_cpu *self, int32_t max_rot, struct error *err)
{
    size_t n = (size_t)self->max_rows * (size_t)(max_rot / 2);
    if (max_rot <= self->max_rot) {
        return 0;
    }
    for (int i = 0; i < CPU_ROPE_TABLES; i++) {
        struct cpu_rope_table *table = &self->rope[i];
        table->cos = cpu_alloc(self, n, sizeof *table->cos, "rope tables", err);
        table->sin = table->cos ? cpu_alloc(self, n, sizeof *table->sin, "rope tables", err) : NULL;
        if (!table->sin) {
            return -1;
        }
    }
    self->max_rot = max_rot;
    return cpu_reserve_scratch(self, (size_t)max_rot * sizeof(float), err);
}

struct table_job {
    const struct backend_cpu *self;
    struct cpu_rope_table *table;
};

static void fill_table_row(void *context, int32_t row, int32_t thread)
{
    const struct table_job *job = context;
    const struct cpu_rope_table *table = job->table;
    double position = job->self->rows.positions[row];
    size_t half = (size_t)(table->n_rot / 2);
    float *cosines = table->cos + (size_t)row * half, *sines = table->sin + (size_t)row * half;
    (void)thread;
    for (size_t i = 0; i < half; i++) {
        double sine, cosine;
        sin_cos_ref(position * table->freqs[i], &sine, &cosine);
        cosines[i] = (float)cosine * table->attn_factor;
        sines[i] = (float)sine * table->attn_factor;
    }
}

/* The step's table for a spec; made when the step asks for it first. */
static const struct cpu_rope_table *rope_table(struct backend_cpu *self, const struct rope_spec *rope)
{
    for (int i = 0; i < CPU_ROPE_TABLES; i++) {
        const struct cpu_rope_table *t = &self->rope[i];
        if (t->valid && t->freqs == rope->freqs && t->n_rot == rope->n_rot && t->attn_factor == rope->attn_factor) {
            return t;
        }
    }
    struct cpu_rope_table *table = &self->rope[self->next_rope];
    self->next_rope = (self->next_rope + 1) % CPU_ROPE_TABLES;
    table->valid = 1;
    table->freqs = rope->freqs;
    table->n_rot = rope->n_rot;
    table->attn_factor = rope->attn_factor;
    struct table_job job = {.self = self, .table = table};
    thread_pool_run(self->pool, self->rows.n_rows, fill_table_row, &job);
    return table;
}

/* y = rotated x, one head; y may be x. */
static void rotate(const struct rope_spec *rope, const float *cosines, const float *sines, const float *x, float *y)
{
    int32_t half = rope->n_rot / 2;
    int32_t step = rope->kind == ROPE_NORM ? 2 : 1, apart = rope->kind == ROPE_NORM ? 1 : half;
    for (int32_t i = 0; i < half; i++) {
        float x0 = x[i * step], x1 = x[i * step + apart];
        y[i * step] = x0 * cosines[i] - x1 * sines[i];
        y[i * step + apart] = x0 * sines[i] + x1 * cosines[i];
    }
}

struct store_job {
    struct backend_cpu *self;
    const struct rope_store_spec *spec;
    const struct cpu_rope_table *table; /* NULL: no rope */
    int32_t n_units, units_a_task;      /* a unit is one kv head of one row */
};

static void store_unit(const struct store_job *job, int32_t row, int32_t head, float *scratch)
{
    const struct backend_rows *rows = &job->self->rows;
    const struct rope_store_spec *spec = job->spec;
    const struct kv_layer_shape *shape = &spec->kv->layers[spec->layer].shape;
    size_t k_dim = (size_t)shape->k_dim, v_dim = (size_t)shape->v_dim;
    int32_t position = rows->positions[row], group = spec->n_heads / shape->n_kv_heads;
    int32_t page = rows->pages[(size_t)rows->slots[row] * (size_t)rows->max_pages + (size_t)(position / KV_PAGE)];
    size_t unit = (size_t)row * (size_t)shape->n_kv_heads + (size_t)head;
    const float *k = spec->k + unit * k_dim, *v = spec->v + unit * v_dim;
    assert(page >= 0 && page < spec->kv->n_pages);
    if (job->table) {
        size_t half = (size_t)(spec->rope.n_rot / 2);
        const float *cosines = job->table->cos + (size_t)row * half, *sines = job->table->sin + (size_t)row * half;
        for (int32_t h = 0; h < group; h++) {
            float *q = spec->q + (unit * (size_t)group + (size_t)h) * k_dim;
            rotate(&spec->rope, cosines, sines, q, q);
        }
        memcpy(scratch, k, k_dim * sizeof *k);
        rotate(&spec->rope, cosines, sines, scratch, scratch);
        k = scratch;
    }
    cpu_kv_store_k(spec->kv, spec->layer, page, head, position, k);
    cpu_kv_store_v(spec->kv, spec->layer, page, head, position, v);
}

/* Units run over the rows of one head first: neighbours in a page of keys are written by one thread. */
static void store_task(void *context, int32_t item, int32_t thread)
{
    const struct store_job *job = context;
    int32_t n_rows = job->self->rows.n_rows, first = item * job->units_a_task;
    int32_t end = first + job->units_a_task < job->n_units ? first + job->units_a_task : job->n_units;
    for (int32_t u = first; u < end; u++) {
        store_unit(job, u % n_rows, u / n_rows, cpu_scratch(job->self, thread));
    }
}

void cpu_rope_store(struct backend *base, const struct rope_store_spec *spec)
{
    struct backend_cpu *self = (struct backend_cpu *)base;
    const struct kv_layer_shape *shape = &spec->kv->layers[spec->layer].shape;
    struct store_job job = {.self = self, .spec = spec};
    assert(spec->layer >= 0 && spec->layer < spec->kv->n_layers && spec->n_heads % shape->n_kv_heads == 0);
    assert(spec->rope.kind == ROPE_NONE || (spec->rope.n_rot <= shape->k_dim && spec->rope.n_rot % 2 == 0));
    if (spec->rope.kind != ROPE_NONE) {
        job.table = rope_table(self, &spec->rope);
    }
    job.n_units = self->rows.n_rows * shape->n_kv_heads;
    job.units_a_task = job.n_units / (self->n_threads * CPU_TASKS_A_THREAD) + 1;
    thread_pool_run(self->pool, (job.n_units + job.units_a_task - 1) / job.units_a_task, store_task, &job);
}
