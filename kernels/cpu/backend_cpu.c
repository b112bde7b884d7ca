/* The CPU backend: memory, and the operations that work row by row. SPDX-License-Identifier: MIT */
#include "kernels/cpu/backend_cpu.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernels/cpu/pack.h"
#include "kernels/file_pages.h"
#include "kernels/quantize.h"

void *cpu_alloc(struct backend_cpu *self, size_t n, size_t element_bytes, const char *what, struct error *err)
{
    if (n > SIZE_MAX / 2 / element_bytes) {
        error_set(err, "%s: %zu elements of %zu bytes are more than memory can hold", what, n, element_bytes);
        return NULL;
    }
    size_t bytes = n * element_bytes > 0 ? n * element_bytes : 1;
    struct cpu_memory *memory = malloc(sizeof *memory);
    void *data = memory ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;
    if (data == MAP_FAILED) {
        error_set(err, "%s: cannot get %.1f MiB of memory: %s", what, (double)bytes / 1048576.0, strerror(errno));
        free(memory);
        return NULL;
    }
    *memory = (struct cpu_memory){.next = self->memory, .data = data, .bytes = bytes};
    self->memory = memory;
    return data;
}

int cpu_reserve_scratch(struct backend_cpu *self, size_t bytes, struct error *err)
{
    if (bytes <= self->scratch_bytes) {
        return 0;
    }
    bytes = (bytes + 4095) / 4096 * 4096;
    char *scratch = cpu_alloc(self, (size_t)self->n_threads, bytes, "scratch memory of the CPU backend", err);
    if (!scratch) {
        return -1;
    }
    self->scratch = scratch; /* the smaller one before it is freed with the backend; it was never touched by a step */
    self->scratch_bytes = bytes;
    return 0;
}

void *cpu_scratch(struct backend_cpu *self, int32_t thread)
{
    return self->scratch + (size_t)thread * self->scratch_bytes;
}

static void cpu_destroy(struct backend *base)
{
    struct backend_cpu *self = (struct backend_cpu *)base;
    for (struct cpu_memory *m = self->memory, *next; m; m = next) {
        next = m->next;
        munmap(m->data, m->bytes);
        free(m);
    }
    free(self);
}

static int cpu_import(struct backend *base, struct tensor *t, enum backend_use use, struct error *err)
{
    struct backend_cpu *self = (struct backend_cpu *)base;
    const struct dtype_info *info = dtype_info(t->dtype);
    if (!info || !info->known || !self->kernels.matmul[t->dtype]) {
        return error_set(err, "weights of type %s are not supported", info ? info->name : "unknown");
    }
    if (t->cols < 1 || t->cols > INT32_MAX || t->cols % info->block != 0) {
        return error_set(err, "%lld columns of type %s; expected a multiple of %d", (long long)t->cols, info->name, info->block);
    }
    t->layout = 0;
    if (use == BACKEND_MATRIX && self->repack && self->kernels.packed[t->dtype] && pack_fits(t) && cpu_pack(self, t, err)) {
        return -1;
    }
    return cpu_matmul_reserve(self, t->cols, err);
}

static int cpu_alloc_floats(struct backend *base, size_t n, float **out, struct error *err)
{
    *out = cpu_alloc((struct backend_cpu *)base, n, sizeof **out, "a buffer of the CPU backend", err);
    return *out ? 0 : -1;
}

static int cpu_act_create(struct backend *base, int32_t cols, int forms, struct backend_act **out, struct error *err)
{
    struct backend_cpu *self = (struct backend_cpu *)base;
    const char *what = "activations of the CPU backend";
    size_t rows = (size_t)self->max_rows, n = rows * (size_t)cols;
    if ((forms & BACKEND_ACT_INT8) && cols % Q8_BLOCK != 0) {
        return error_set(err, "%d columns for quantised weights; expected a multiple of %d", cols, Q8_BLOCK);
    }
    struct backend_act *act = cpu_alloc(self, 1, sizeof *act, what, err);
    if (!act || !(act->x = cpu_alloc(self, n, sizeof *act->x, what, err))) {
        return -1;
    }
    if (forms & BACKEND_ACT_INT8) {
        act->q = cpu_alloc(self, n, 1, what, err);
        act->d = act->q ? cpu_alloc(self, n / Q8_BLOCK, sizeof *act->d, what, err) : NULL;
        act->sum = act->d ? cpu_alloc(self, n / Q8_BLOCK, sizeof *act->sum, what, err) : NULL;
        if (!act->sum) {
            return -1;
        }
    }
    act->cols = cols;
    act->forms = forms;
    act->rows = (struct act_rows){.x = act->x, .q = act->q, .d = act->d, .sum = act->sum, .k = cols};
    *out = act;
    size_t floats = (size_t)(cols > CPU_GATE_COLUMNS ? cols : CPU_GATE_COLUMNS);
    return cpu_reserve_scratch(self, floats * sizeof(float), err);
}

void cpu_act_quantize(struct backend_cpu *self, struct backend_act *act, int32_t row, int32_t first, int32_t n, const float *x)
{
    size_t element = (size_t)row * (size_t)act->cols + (size_t)first;
    self->kernels.quantize(x, n, act->q + element, act->d + element / Q8_BLOCK, act->sum + element / Q8_BLOCK);
}

static void cpu_step_begin(struct backend *base, const struct backend_rows *rows)
{
    struct backend_cpu *self = (struct backend_cpu *)base;
    assert(rows->n_rows >= 0 && rows->n_rows <= self->max_rows);
    self->rows = *rows;
    for (int i = 0; i < CPU_ROPE_TABLES; i++) {
        self->rope[i].valid = 0;
    }
    self->next_rope = 0;
    cpu_attention_find_runs(self);
}

static void cpu_copy(struct backend *base, float *dst, const float *src, size_t n)
{
    (void)base;
    memcpy(dst, src, n * sizeof *dst);
}

static void cpu_act_upload(struct backend *base, struct backend_act *dst, const void *src, int32_t n_rows)
{
    size_t cols = (size_t)dst->cols, n_blocks = cols / Q8_BLOCK;
    const char *from = src;
    (void)base;
    for (size_t row = 0; row < (size_t)n_rows; row++, from += backend_act_row_bytes(dst->cols)) {
        int8_t *q = dst->q + row * cols;
        memcpy(q, from, cols);
        memcpy(dst->d + row * n_blocks, from + cols, n_blocks * sizeof *dst->d);
        for (size_t block = 0; block < n_blocks; block++) {
            int32_t sum = 0;
            for (size_t i = block * Q8_BLOCK; i < (block + 1) * Q8_BLOCK; i++) {
                sum += q[i];
            }
            dst->sum[row * n_blocks + block] = (float)sum;
        }
    }
}

static void cpu_act_download(struct backend *base, void *dst, const struct backend_act *src, int32_t n_rows)
{
    size_t cols = (size_t)src->cols, n_blocks = cols / Q8_BLOCK;
    char *to = dst;
    (void)base;
    for (size_t row = 0; row < (size_t)n_rows; row++, to += backend_act_row_bytes(src->cols)) {
        memcpy(to, src->q + row * cols, cols);
        memcpy(to + cols, src->d + row * n_blocks, n_blocks * sizeof *src->d);
    }
}

static void cpu_sync(struct backend *base)
{
    (void)base; /* every operation has ended when it returns */
}

/* Rows of a table after which its pages are let go: each has brought some dozen kilobytes around it into memory. */
enum { EMBED_ROWS = 512 };

struct embed_job {
    const struct backend_cpu *self;
    const struct tensor *table;
    float scale;
    float *out;
};

static void embed_row(void *context, int32_t row, int32_t thread)
{
    const struct embed_job *job = context;
    const struct tensor *t = job->table;
    float *y = job->out + (size_t)row * (size_t)t->cols;
    int32_t token = job->self->rows.tokens[row];
    assert(token >= 0 && token < t->rows);
    (void)thread;
    dequantize_row(t->dtype, (const char *)t->data + (size_t)token * t->row_bytes, t->cols, y);
    for (int64_t i = 0; i < t->cols; i++) {
        y[i] *= job->scale;
    }
}

static void cpu_embed(struct backend *base, const struct tensor *table, float scale, float *out)
{
    struct backend_cpu *self = (struct backend_cpu *)base;
    struct embed_job job = {.self = self, .table = table, .scale = scale, .out = out};
    assert(table->layout == 0);
    thread_pool_run(self->pool, self->rows.n_rows, embed_row, &job);
    self->n_embedded += self->rows.n_rows;
    if (table->may_drop && self->n_embedded >= EMBED_ROWS) {
        file_pages_drop(table->data, (size_t)table->rows * table->row_bytes);
        self->n_embedded = 0;
    }
}

struct norm_job {
    struct backend_cpu *self;
    const struct norm_spec *spec;
    const float *in;
    struct backend_act *out;
};

static void norm_row(void *context, int32_t row, int32_t thread)
{
    const struct norm_job *job = context;
    struct backend_act *out = job->out;
    size_t first = (size_t)row * (size_t)out->cols;
    float *y = out->forms & BACKEND_ACT_FLOAT ? out->x + first : cpu_scratch(job->self, thread);
    job->self->kernels.rms_norm(job->in + first, job->spec->weight.data, out->cols, job->spec->eps, y);
    if (out->forms & BACKEND_ACT_INT8) {
        cpu_act_quantize(job->self, out, row, 0, out->cols, y);
    }
}

static void cpu_norm(struct backend *base, const struct norm_spec *spec, const float *in, struct backend_act *out)
{
    struct backend_cpu *self = (struct backend_cpu *)base;
    assert(spec->kind == NORM_RMS && spec->weight.dtype == DTYPE_F32 && spec->weight.cols == out->cols);
    struct norm_job job = {.self = self, .spec = spec, .in = in, .out = out};
    thread_pool_run(self->pool, self->rows.n_rows, norm_row, &job);
}

struct gate_job {
    struct backend_cpu *self;
    const float *gate, *up;
    struct backend_act *out;
    int32_t parts; /* a row is cut into */
};

static void gate_part(void *context, int32_t item, int32_t thread)
{
    const struct gate_job *job = context;
    struct backend_act *out = job->out;
    int32_t row = item / job->parts, first = item % job->parts * CPU_GATE_COLUMNS;
    int32_t n = out->cols - first < CPU_GATE_COLUMNS ? out->cols - first : CPU_GATE_COLUMNS;
    size_t element = (size_t)row * (size_t)out->cols + (size_t)first;
    float *y = out->forms & BACKEND_ACT_FLOAT ? out->x + element : cpu_scratch(job->self, thread);
    job->self->kernels.silu_gate(job->gate + element, job->up + element, n, y);
    if (out->forms & BACKEND_ACT_INT8) {
        cpu_act_quantize(job->self, out, row, first, n, y);
    }
}

static void cpu_gated(struct backend *base, enum gate_kind kind, const float *gate, const float *up, int32_t cols,
                      struct backend_act *out)
{
    struct backend_cpu *self = (struct backend_cpu *)base;
    assert(kind == GATE_SILU && cols == out->cols);
    (void)kind;
    struct gate_job job = {.self = self, .gate = gate, .up = up, .out = out};
    job.parts = (cols + CPU_GATE_COLUMNS - 1) / CPU_GATE_COLUMNS;
    thread_pool_run(self->pool, self->rows.n_rows * job.parts, gate_part, &job);
}

static const struct backend_ops cpu_ops = {
    .name = "cpu",
    .computes = 1,
    .destroy = cpu_destroy,
    .import = cpu_import,
    .alloc = cpu_alloc_floats,
    .act_create = cpu_act_create,
    .kv_create = cpu_kv_create,
    .step_begin = cpu_step_begin,
    .upload = cpu_copy,
    .download = cpu_copy,
    .act_upload = cpu_act_upload,
    .act_download = cpu_act_download,
    .sync = cpu_sync,
    .embed = cpu_embed,
    .norm = cpu_norm,
    .matmul = cpu_matmul,
    .rope_store = cpu_rope_store,
    .attention = cpu_attention,
    .gated = cpu_gated,
};

int backend_cpu_create(struct backend **out, const char *isa, struct thread_pool *pool, int32_t max_rows, int repack,
                       struct error *err)
{
    if (max_rows < 1) {
        return error_set(err, "a capacity of %d rows a step; expected at least 1", max_rows);
    }
    struct backend_cpu *self = calloc(1, sizeof *self);
    if (!self) {
        return error_set(err, "CPU backend: out of memory");
    }
    self->base.ops = &cpu_ops;
    self->pool = pool;
    self->n_threads = thread_pool_size(pool);
    self->max_rows = max_rows;
    self->repack = repack;
    if (cpu_kernels_select(&self->kernels, isa, err) != 0) {
        cpu_destroy(&self->base);
        return -1;
    }
    self->runs = cpu_alloc(self, (size_t)max_rows, sizeof *self->runs, "runs of rows", err);
    if (!self->runs) {
        cpu_destroy(&self->base);
        return -1;
    }
    *out = &self->base;
    return 0;
}
