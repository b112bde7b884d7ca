/* A backend that takes as long as a described board and computes nothing. SPDX-License-Identifier: MIT
 *
 * Every operation adds its time to the step's account; download and sync sleep until the step's begin plus the account. What a
 * step costs besides (threads, queues, messages) is real and comes on top, as on a board. Weights are never read, buffers and the
 * KV cache never touched, so that they take no memory of the host. */
#include "kernels/sim/backend_sim.h"

#include <assert.h>
#include <stdlib.h>

#include "kernels/sim/pace.h"
#include "src/core/clock.h"

struct backend_act {
    int32_t cols;
};

struct backend_kv {
    double *position_bytes; /* [n_layers] keys and values of one position in one layer */
    double *head_ops;       /* [n_layers] operations of one head on one position: q.K and p.V */
};

/* Everything that create, alloc, act_create and kv_create gave away. */
struct sim_memory {
    struct sim_memory *next;
    void *data;
};

struct backend_sim {
    struct backend base;
    struct board board;
    struct sim_memory *memory;
    int32_t max_rows;
    int paced; /* the thread that computes has been prepared */
    double n_rows;
    double begin_s, account_s;
    double positions_read;    /* cached positions that a step reads: once for rows of one sequence side by side */
    double positions_visited; /* sum over rows of the positions that each looks at */
};

/* A tensor core does half as many operations on 16-bit floats as on int8: such an operation counts twice. */
static const double float_ops = 2;

static struct backend_sim *sim(struct backend *base)
{
    return (struct backend_sim *)base;
}

static void add(struct backend *base, double bytes, double ops)
{
    sim(base)->account_s += board_operation_s(&sim(base)->board, bytes, ops);
}

/* -- memory -- */

static void *take(struct backend_sim *self, size_t n, size_t element_bytes, struct error *err)
{
    struct sim_memory *memory = malloc(sizeof *memory);
    void *data = memory ? calloc(n ? n : 1, element_bytes) : NULL; /* large blocks are zero pages until somebody writes */
    if (!data) {
        free(memory);
        error_set(err, "out of memory for %zu elements of %zu bytes", n, element_bytes);
        return NULL;
    }
    *memory = (struct sim_memory){.next = self->memory, .data = data};
    self->memory = memory;
    return data;
}

static void sim_destroy(struct backend *base)
{
    for (struct sim_memory *m = sim(base)->memory, *next; m; m = next) {
        next = m->next;
        free(m->data);
        free(m);
    }
    free(base);
}

static int sim_import(struct backend *base, struct tensor *t, enum backend_use use, struct error *err)
{
    (void)base;
    (void)t;
    (void)use;
    (void)err;
    return 0;
}

static int sim_alloc(struct backend *base, size_t n, float **out, struct error *err)
{
    *out = take(sim(base), n, sizeof **out, err);
    return *out ? 0 : -1;
}

static int sim_act_create(struct backend *base, int32_t cols, int forms, struct backend_act **out, struct error *err)
{
    (void)forms;
    *out = take(sim(base), 1, sizeof **out, err);
    if (*out) {
        (*out)->cols = cols;
    }
    return *out ? 0 : -1;
}

static int sim_kv_create(struct backend *base, const struct kv_layer_shape *layers, int32_t n_layers, int32_t n_pages,
                         enum kv_type k_type, enum kv_type v_type, struct backend_kv **out, struct error *err)
{
    (void)n_pages;
    struct backend_kv *kv = take(sim(base), 1, sizeof *kv, err);
    if (!kv || !(kv->position_bytes = take(sim(base), (size_t)n_layers, sizeof(double), err)) ||
        !(kv->head_ops = take(sim(base), (size_t)n_layers, sizeof(double), err))) {
        return -1;
    }
    for (int32_t i = 0; i < n_layers; i++) {
        const struct kv_layer_shape *l = &layers[i];
        kv->position_bytes[i] = (double)l->n_kv_heads *
                                (double)(backend_kv_row_bytes(l->k_dim, k_type) + backend_kv_row_bytes(l->v_dim, v_type));
        kv->head_ops[i] = 2.0 * (l->k_dim + l->v_dim);
    }
    *out = kv;
    return 0;
}

/* -- a step -- */

static void count_positions(struct backend_sim *self, const struct backend_rows *rows)
{
    self->positions_read = self->positions_visited = 0;
    for (int32_t i = 0; rows->positions && rows->slots && i < rows->n_rows;) {
        int32_t slot = rows->slots[i], longest = 0;
        for (; i < rows->n_rows && rows->slots[i] == slot; i++) {
            longest = rows->positions[i] + 1 > longest ? rows->positions[i] + 1 : longest;
            self->positions_visited += rows->positions[i] + 1;
        }
        self->positions_read += longest;
    }
}

static void sim_step_begin(struct backend *base, const struct backend_rows *rows)
{
    struct backend_sim *self = sim(base);
    assert(rows->n_rows >= 0 && rows->n_rows <= self->max_rows);
    if (!self->paced) {
        pace_init();
        self->paced = 1;
    }
    self->begin_s = clock_now_s();
    self->account_s = self->board.step_s;
    self->n_rows = rows->n_rows;
    count_positions(self, rows);
}

static void sim_sync(struct backend *base)
{
    pace_until(sim(base)->begin_s + sim(base)->account_s);
}

/* Activations that meet the network lie in memory that the GPU maps: the first and the last operation read and write them. */
static void sim_upload(struct backend *base, float *dst, const float *src, size_t n)
{
    (void)dst;
    (void)src;
    sim(base)->account_s += (double)(n * sizeof *src) / sim(base)->board.bytes_per_s;
}

static void sim_download(struct backend *base, float *dst, const float *src, size_t n)
{
    sim_upload(base, dst, src, n);
    sim_sync(base);
}

static void sim_act_upload(struct backend *base, struct backend_act *dst, const void *src, int32_t n_rows)
{
    (void)src;
    sim(base)->account_s += (double)backend_act_row_bytes(dst->cols) * n_rows / sim(base)->board.bytes_per_s;
}

static void sim_act_download(struct backend *base, void *dst, const struct backend_act *src, int32_t n_rows)
{
    (void)dst;
    sim(base)->account_s += (double)backend_act_row_bytes(src->cols) * n_rows / sim(base)->board.bytes_per_s;
    sim_sync(base);
}

static void sim_embed(struct backend *base, const struct tensor *table, float scale, float *out)
{
    (void)scale;
    (void)out;
    double n = sim(base)->n_rows;
    add(base, n * ((double)table->row_bytes + (double)table->cols * sizeof *out), 0);
}

/* Reads floats, writes floats or int8 blocks of 32: about a byte an element. */
static void sim_norm(struct backend *base, const struct norm_spec *spec, const float *in, struct backend_act *out)
{
    (void)spec;
    double n = sim(base)->n_rows * out->cols;
    add(base, n * (sizeof *in + 1), 0);
}

static void sim_matmul(struct backend *base, const struct backend_act *in, const struct matmul_spec *mats, int32_t n_mats)
{
    double n = sim(base)->n_rows, bytes = n * in->cols, ops = 0;
    for (int32_t i = 0; i < n_mats; i++) {
        const struct tensor *w = &mats[i].weight;
        int is_float = !dtype_info(w->dtype)->quantised;
        bytes += (double)w->rows * (double)w->row_bytes + n * (double)w->rows * sizeof(float);
        ops += 2 * n * (double)w->rows * (double)w->cols * (is_float ? float_ops : 1);
    }
    add(base, bytes, ops);
}

static void sim_rope_store(struct backend *base, const struct rope_store_spec *spec)
{
    double n = sim(base)->n_rows;
    double q_bytes = 2.0 * spec->n_heads * spec->rope.n_rot * sizeof(float); /* in place */
    add(base, n * (q_bytes + 3 * spec->kv->position_bytes[spec->layer]), 0); /* floats in, about half as many bytes out */
}

/* Rows of one sequence side by side share the reads of its pages: attention over a prompt's chunk reads them once. */
static void sim_attention(struct backend *base, const struct attention_spec *spec, struct backend_act *out)
{
    const struct backend_sim *self = sim(base);
    double bytes = self->positions_read * spec->kv->position_bytes[spec->layer] + self->n_rows * out->cols * 2 * sizeof(float);
    add(base, bytes, self->positions_visited * spec->n_heads * spec->kv->head_ops[spec->layer] * float_ops);
}

static void sim_gated(struct backend *base, enum gate_kind kind, const float *gate, const float *up, int32_t cols,
                      struct backend_act *out)
{
    (void)kind;
    (void)up;
    (void)out;
    double n = sim(base)->n_rows * cols;
    add(base, n * (2 * sizeof *gate + 1), 0);
}

static const struct backend_ops sim_ops = {
    .name = "sim",
    .computes = 0,
    .destroy = sim_destroy,
    .import = sim_import,
    .alloc = sim_alloc,
    .act_create = sim_act_create,
    .kv_create = sim_kv_create,
    .step_begin = sim_step_begin,
    .upload = sim_upload,
    .download = sim_download,
    .act_upload = sim_act_upload,
    .act_download = sim_act_download,
    .sync = sim_sync,
    .embed = sim_embed,
    .norm = sim_norm,
    .matmul = sim_matmul,
    .rope_store = sim_rope_store,
    .attention = sim_attention,
    .gated = sim_gated,
};

int backend_sim_create(struct backend **out, const struct board *board, int32_t max_rows, struct error *err)
{
    struct backend_sim *self = calloc(1, sizeof *self);
    if (!self) {
        return error_set(err, "out of memory for the sim backend");
    }
    self->base.ops = &sim_ops;
    self->board = *board;
    self->max_rows = max_rows;
    *out = &self->base;
    return 0;
}

double backend_sim_account_s(const struct backend *base)
{
    return ((const struct backend_sim *)base)->account_s;
}
