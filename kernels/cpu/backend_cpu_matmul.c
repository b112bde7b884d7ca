/* Matmul of the CPU backend: cuts the weight rows of all matrices of a call into tasks for the pool. SPDX-License-Identifier: MIT
 */
#include <assert.h>
#include <string.h>

#include "kernels/cpu/backend_cpu.h"
#include "kernels/cpu/pack.h"

enum {
    TILE_COLUMNS = 64, /* weight rows a task may have with the largest batch and an epilogue: bounds the tile between the two */
    MAX_COLUMNS = 256, /* and with any batch, so that the last task to end is short */
    MIN_COLUMNS = 8
};

int cpu_matmul_reserve(struct backend_cpu *self, int64_t cols, struct error *err)
{
    int32_t columns = self->kernels.weight_rows > TILE_COLUMNS ? self->kernels.weight_rows : TILE_COLUMNS;
    size_t bytes = cpu_round_up(self->kernels.matmul_scratch_bytes((int32_t)cols));
    self->tile_floats = self->max_rows * columns > MAX_COLUMNS ? self->max_rows * columns : MAX_COLUMNS;
    self->matmul_bytes = bytes > self->matmul_bytes ? bytes : self->matmul_bytes;
    return cpu_reserve_scratch(self, self->matmul_bytes + (size_t)self->tile_floats * sizeof(float), err);
}

struct matmul_job {
    struct backend_cpu *self;
    const struct backend_act *in;
    const struct matmul_spec *mats;
    int32_t columns; /* weight rows a task */
};

/* out = value, out = value * scale + bias, or out += that: the contract's epilogue of columns [first, first + n). Changes the
 * tile. */
static void finish_tile(const struct matmul_spec *mat, int32_t first, int32_t n, int32_t n_rows, float *tile)
{
    const float *bias = mat->bias.data;
    for (int32_t r = 0; r < n_rows; r++) {
        float *value = tile + (size_t)r * (size_t)n;
        float *out = mat->out + (size_t)r * (size_t)mat->weight.rows + first;
        for (int32_t c = 0; mat->scale != 1.0f && c < n; c++) {
            value[c] *= mat->scale;
        }
        for (int32_t c = 0; bias && c < n; c++) {
            value[c] += bias[first + c];
        }
        if (!mat->add) {
            memcpy(out, value, (size_t)n * sizeof *out);
            continue;
        }
        for (int32_t c = 0; c < n; c++) {
            out[c] = value[c] + out[c];
        }
    }
}

static int32_t tasks_of(const struct matmul_job *job, const struct matmul_spec *mat)
{
    return (int32_t)((mat->weight.rows + job->columns - 1) / job->columns);
}

static void matmul_task(void *context, int32_t item, int32_t thread)
{
    const struct matmul_job *job = context;
    struct backend_cpu *self = job->self;
    const struct matmul_spec *mat = job->mats;
    while (item >= tasks_of(job, mat)) {
        item -= tasks_of(job, mat);
        mat++;
    }
    const struct tensor *w = &mat->weight;
    int32_t first = item * job->columns;
    int32_t n = w->rows - first < job->columns ? (int32_t)(w->rows - first) : job->columns;
    const char *rows = (const char *)w->data + (size_t)first * w->row_bytes;
    char *scratch = cpu_scratch(self, thread);
    assert(w->layout != PACK_LAYOUT || (first % PACK_ROWS == 0 && n % PACK_ROWS == 0));
    cpu_matmul_fn matmul = w->layout == PACK_LAYOUT ? self->kernels.packed[w->dtype]
                                                    : cpu_kernels_matmul(&self->kernels, w->dtype, self->rows.n_rows);
    if (mat->scale == 1.0f && !mat->bias.data && !mat->add) {
        matmul(rows, w->row_bytes, n, &job->in->rows, self->rows.n_rows, mat->out + first, (size_t)w->rows, scratch);
        return;
    }
    float *tile = (float *)(scratch + self->matmul_bytes);
    matmul(rows, w->row_bytes, n, &job->in->rows, self->rows.n_rows, tile, (size_t)n, scratch);
    finish_tile(mat, first, n, self->rows.n_rows, tile);
}

static int32_t count_tasks(const struct matmul_job *job, const struct matmul_spec *mats, int32_t n_mats)
{
    int32_t n = 0;
    for (int32_t i = 0; i < n_mats; i++) {
        n += tasks_of(job, &mats[i]);
    }
    return n;
}

/* Enough tasks that a slow thread holds up no one, each large enough to be worth a ticket and to fit the tile; then, up to half
 * as large, the size with which the threads come out most even (nine equal tasks keep one of two threads waiting for a tenth of
 * the time). */
static void choose_columns(struct matmul_job *job, int32_t n_mats, int64_t total)
{
    const struct backend_cpu *self = job->self;
    int32_t panel = self->kernels.weight_rows, n_threads = self->n_threads;
    int64_t most = self->tile_floats / self->rows.n_rows, columns = total / ((int64_t)n_threads * CPU_TASKS_A_THREAD);
    most = most < MAX_COLUMNS ? most : MAX_COLUMNS;
    columns = columns < MIN_COLUMNS ? MIN_COLUMNS : columns > most ? most : columns;
    int32_t largest = columns < panel ? panel : (int32_t)columns / panel * panel, best = largest, best_span = INT32_MAX;
    for (job->columns = largest; job->columns >= panel && job->columns * 2 >= largest; job->columns -= panel) {
        int32_t span = (count_tasks(job, job->mats, n_mats) + n_threads - 1) / n_threads * job->columns;
        if (span < best_span) {
            best_span = span;
            best = job->columns;
        }
    }
    job->columns = best;
}

void cpu_matmul(struct backend *base, const struct backend_act *in, const struct matmul_spec *mats, int32_t n_mats)
{
    struct backend_cpu *self = (struct backend_cpu *)base;
    struct matmul_job job = {.self = self, .in = in, .mats = mats};
    int64_t total = 0;
    for (int32_t i = 0; i < n_mats; i++) {
        assert(mats[i].weight.cols == in->cols);
        assert(in->forms & (dtype_info(mats[i].weight.dtype)->quantised ? BACKEND_ACT_INT8 : BACKEND_ACT_FLOAT));
        total += mats[i].weight.rows;
    }
    if (self->rows.n_rows == 0) {
        return;
    }
    choose_columns(&job, n_mats, total);
    thread_pool_run(self->pool, count_tasks(&job, mats, n_mats), matmul_task, &job);
}
