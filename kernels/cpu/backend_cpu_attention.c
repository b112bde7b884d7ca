/* Attention of the CPU backend: which queries and pages a task takes, and how groups of pages are combined.
 * SPDX-License-Identifier: MIT
 *
 * A task is a tile of queries that share a kv head. With enough tiles each task walks through all groups of pages of its tile;
 * with few (a single row with a long context) tasks are single groups, in waves that fit the memory for partial results, and a
 * second pass combines a wave in order. Both give the same bits: a group's result and the order of combining are the contract's.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/backend_cpu.h"
#include "src/core/math.h"

enum {
    GROUP_POSITIONS = KV_GROUP * KV_PAGE,
    FEW_UNITS_A_THREAD = 3, /* fewer tiles than this for each thread: split by groups too */
    WAVE_GROUPS = 8         /* groups a wave has at least */
};

/* One thread's memory for a tile. */
struct tile_memory {
    void *kernel;         /* the table's own scratch */
    const float **q;      /* [attend_queries] */
    int32_t *n_visible;   /* [attend_queries] */
    float *m, *l;         /* [attend_queries] of a group */
    float *o;             /* [attend_queries, v_dim] of a group */
    float *all_m, *all_l; /* [attend_queries] of the groups so far */
};

/* Lays the parts out from `base`, which may be NULL; returns the bytes they take. */
static size_t place_tile_memory(const struct cpu_kernels *kernels, int32_t k_dim, int32_t v_dim, char *base,
                                struct tile_memory *out)
{
    size_t n = (size_t)kernels->attend_queries, used = 0;
    size_t sizes[8] = {kernels->attend_scratch_bytes(k_dim, v_dim, kernels->attend_queries),
                       n * sizeof *out->q,
                       n * sizeof *out->n_visible,
                       n * sizeof(float),
                       n * sizeof(float),
                       n * (size_t)v_dim * sizeof(float),
                       n * sizeof(float),
                       n * sizeof(float)};
    size_t at[8];
    for (int i = 0; i < 8; i++) {
        at[i] = used;
        used += cpu_round_up(sizes[i]);
    }
    if (base) {
        *out = (struct tile_memory){.kernel = base + at[0],
                                    .q = (const float **)(base + at[1]),
                                    .n_visible = (int32_t *)(base + at[2]),
                                    .m = (float *)(base + at[3]),
                                    .l = (float *)(base + at[4]),
                                    .o = (float *)(base + at[5]),
                                    .all_m = (float *)(base + at[6]),
                                    .all_l = (float *)(base + at[7])};
    }
    return used;
}

int cpu_attention_reserve(struct backend_cpu *self, int32_t k_dim, int32_t v_dim, struct error *err)
{
    const char *what = "memory for partial results of attention";
    size_t bytes = place_tile_memory(&self->kernels, k_dim, v_dim, NULL, NULL);
    if (cpu_reserve_scratch(self, bytes, err) != 0) {
        return -1;
    }
    if (v_dim <= self->max_v_dim) {
        return 0;
    }
    struct cpu_partials *p = &self->partials;
    p->max_queries = FEW_UNITS_A_THREAD * self->n_threads * self->kernels.attend_queries;
    size_t queries = (size_t)p->max_queries, n = queries * WAVE_GROUPS;
    if (!(p->m = cpu_alloc(self, n, sizeof *p->m, what, err)) || !(p->l = cpu_alloc(self, n, sizeof *p->l, what, err)) ||
        !(p->o = cpu_alloc(self, n * (size_t)v_dim, sizeof *p->o, what, err)) ||
        !(p->all_m = cpu_alloc(self, queries, sizeof *p->all_m, what, err)) ||
        !(p->all_l = cpu_alloc(self, queries, sizeof *p->all_l, what, err))) {
        return -1;
    }
    self->max_v_dim = v_dim;
    return 0;
}

void cpu_attention_find_runs(struct backend_cpu *self)
{
    const struct backend_rows *rows = &self->rows;
    self->n_runs = 0;
    for (int32_t r = 0; rows->positions && rows->slots && r < rows->n_rows; r++) {
        struct cpu_run *last = self->n_runs > 0 ? &self->runs[self->n_runs - 1] : NULL;
        if (last && rows->slots[r] == rows->slots[r - 1] && rows->positions[r] == rows->positions[r - 1] + 1) {
            last->n_rows++;
        } else {
            self->runs[self->n_runs++] = (struct cpu_run){.first_row = r, .n_rows = 1};
        }
    }
}

struct attention_call {
    struct backend_cpu *self;
    const struct attention_spec *spec;
    const struct cpu_kv_layer *layer;
    struct backend_act *out;
    int32_t heads; /* query heads of a kv head */
    int32_t n_tiles;
    int32_t first_group, n_groups; /* of a wave */
};

/* Queries [first, first + n) of a run, counted row by row and within a row over the heads of one kv head. */
struct tile {
    const struct cpu_run *run;
    int32_t kv_head, first, n;
    int32_t n_groups; /* that its last row sees */
};

static int32_t tiles_of_run(const struct attention_call *call, const struct cpu_run *run)
{
    int32_t most = call->self->kernels.attend_queries;
    return (run->n_rows * call->heads + most - 1) / most;
}

static int32_t row_of(const struct attention_call *call, const struct tile *tile, int32_t i)
{
    return tile->run->first_row + (tile->first + i) / call->heads;
}

/* Unit u is tile u % n_tiles of kv head u / n_tiles. */
static struct tile find_tile(const struct attention_call *call, int32_t unit)
{
    struct tile tile = {.kv_head = unit / call->n_tiles, .run = call->self->runs};
    int32_t index = unit % call->n_tiles, most = call->self->kernels.attend_queries;
    while (index >= tiles_of_run(call, tile.run)) {
        index -= tiles_of_run(call, tile.run);
        tile.run++;
    }
    int32_t n_queries = tile.run->n_rows * call->heads;
    tile.first = index * most;
    tile.n = n_queries - tile.first < most ? n_queries - tile.first : most;
    tile.n_groups = call->self->rows.positions[row_of(call, &tile, tile.n - 1)] / GROUP_POSITIONS + 1;
    return tile;
}

/* Offset of query i's head in an array [n_rows, n_heads, dim]. */
static size_t head_offset(const struct attention_call *call, const struct tile *tile, int32_t i, int32_t dim)
{
    int32_t head = tile->kv_head * call->heads + (tile->first + i) % call->heads;
    return ((size_t)row_of(call, tile, i) * (size_t)call->spec->n_heads + (size_t)head) * (size_t)dim;
}

/* m, l and o of every query of the tile over one group. */
static void attend_group(const struct attention_call *call, const struct tile *tile, int32_t group,
                         const struct tile_memory *memory, float *m, float *l, float *o)
{
    const struct backend_rows *rows = &call->self->rows;
    const struct cpu_kv_layer *layer = call->layer;
    const void *k_pages[KV_GROUP], *v_pages[KV_GROUP];
    int32_t most = 0;
    for (int32_t i = 0; i < tile->n; i++) {
        int32_t visible = rows->positions[row_of(call, tile, i)] + 1 - group * GROUP_POSITIONS;
        visible = visible < 0 ? 0 : visible > GROUP_POSITIONS ? GROUP_POSITIONS : visible;
        memory->n_visible[i] = visible;
        memory->q[i] = call->spec->q + head_offset(call, tile, i, layer->shape.k_dim);
        most = visible > most ? visible : most;
    }
    const int32_t *table = rows->pages + (size_t)rows->slots[tile->run->first_row] * (size_t)rows->max_pages;
    int32_t n_pages = (most + KV_PAGE - 1) / KV_PAGE;
    for (int32_t p = 0; p < n_pages; p++) {
        int32_t page = table[group * KV_GROUP + p];
        assert(page >= 0 && page < call->spec->kv->n_pages);
        size_t index = (size_t)page * (size_t)layer->shape.n_kv_heads + (size_t)tile->kv_head;
        k_pages[p] = layer->k + index * layer->k_page_bytes;
        v_pages[p] = layer->v + index * layer->v_page_bytes;
    }
    struct attend_job job = {.q = memory->q,
                             .n_visible = memory->n_visible,
                             .n_queries = tile->n,
                             .k_pages = k_pages,
                             .v_pages = v_pages,
                             .n_pages = n_pages,
                             .k_dim = layer->shape.k_dim,
                             .v_dim = layer->shape.v_dim,
                             .k_type = call->spec->kv->k_type,
                             .v_type = call->spec->kv->v_type,
                             .scale = call->spec->scale,
                             .m = m,
                             .l = l,
                             .o = o,
                             .scratch = memory->kernel};
    call->self->kernels.attend(&job);
}

/* Takes a group's m, l, o into the running M, L, O of one query. */
static void combine(float m, float l, const float *o, int32_t n, float *all_m, float *all_l, float *all_o)
{
    if (m == -INFINITY) {
        return;
    }
    if (*all_m == -INFINITY) { /* a is 0 and b is 1: what the lines below give, at the price of a copy */
        *all_l = l + 0.0f;
        for (int32_t d = 0; d < n; d++) {
            all_o[d] = o[d] + 0.0f;
        }
        *all_m = m;
        return;
    }
    float largest = *all_m > m ? *all_m : m;
    float a = math_exp(*all_m - largest), b = math_exp(m - largest);
    *all_l = fmaf(*all_l, a, l * b);
    for (int32_t d = 0; d < n; d++) {
        all_o[d] = fmaf(all_o[d], a, o[d] * b);
    }
    *all_m = largest;
}

static void start_tile(const struct attention_call *call, const struct tile *tile, float *all_m, float *all_l)
{
    int32_t v_dim = call->layer->shape.v_dim;
    for (int32_t i = 0; i < tile->n; i++) {
        all_m[i] = -INFINITY;
        all_l[i] = 0;
        memset(call->out->x + head_offset(call, tile, i, v_dim), 0, (size_t)v_dim * sizeof(float));
    }
}

static void combine_tile(const struct attention_call *call, const struct tile *tile, const float *m, const float *l,
                         const float *o, float *all_m, float *all_l)
{
    int32_t v_dim = call->layer->shape.v_dim;
    for (int32_t i = 0; i < tile->n; i++) {
        float *all_o = call->out->x + head_offset(call, tile, i, v_dim);
        combine(m[i], l[i], o + (size_t)i * (size_t)v_dim, v_dim, &all_m[i], &all_l[i], all_o);
    }
}

static void finish_tile(const struct attention_call *call, const struct tile *tile, const float *all_l)
{
    int32_t v_dim = call->layer->shape.v_dim;
    for (int32_t i = 0; i < tile->n; i++) {
        float *all_o = call->out->x + head_offset(call, tile, i, v_dim);
        for (int32_t d = 0; d < v_dim; d++) {
            all_o[d] /= all_l[i];
        }
    }
}

static struct tile_memory memory_of(const struct attention_call *call, int32_t thread)
{
    struct tile_memory memory;
    const struct kv_layer_shape *shape = &call->layer->shape;
    place_tile_memory(&call->self->kernels, shape->k_dim, shape->v_dim, cpu_scratch(call->self, thread), &memory);
    return memory;
}

static void whole_tile_task(void *context, int32_t unit, int32_t thread)
{
    const struct attention_call *call = context;
    struct tile tile = find_tile(call, unit);
    struct tile_memory memory = memory_of(call, thread);
    start_tile(call, &tile, memory.all_m, memory.all_l);
    for (int32_t g = 0; g < tile.n_groups; g++) {
        attend_group(call, &tile, g, &memory, memory.m, memory.l, memory.o);
        combine_tile(call, &tile, memory.m, memory.l, memory.o, memory.all_m, memory.all_l);
    }
    finish_tile(call, &tile, memory.all_l);
}

/* Where the partial results of a unit's group of the wave begin, in queries. */
static size_t partial_place(const struct attention_call *call, int32_t unit, int32_t group)
{
    return ((size_t)unit * (size_t)call->n_groups + (size_t)group) * (size_t)call->self->kernels.attend_queries;
}

static void wave_task(void *context, int32_t item, int32_t thread)
{
    const struct attention_call *call = context;
    struct cpu_partials *partials = &call->self->partials;
    int32_t unit = item / call->n_groups, group = item % call->n_groups;
    struct tile tile = find_tile(call, unit);
    if (call->first_group + group < tile.n_groups) {
        struct tile_memory memory = memory_of(call, thread);
        size_t place = partial_place(call, unit, group);
        attend_group(call, &tile, call->first_group + group, &memory, partials->m + place, partials->l + place,
                     partials->o + place * (size_t)call->layer->shape.v_dim);
    }
}

static void combine_wave_task(void *context, int32_t unit, int32_t thread)
{
    const struct attention_call *call = context;
    struct cpu_partials *partials = &call->self->partials;
    struct tile tile = find_tile(call, unit);
    size_t queries = (size_t)unit * (size_t)call->self->kernels.attend_queries;
    float *all_m = partials->all_m + queries, *all_l = partials->all_l + queries;
    (void)thread;
    if (call->first_group == 0) {
        start_tile(call, &tile, all_m, all_l);
    }
    for (int32_t g = 0; g < call->n_groups && call->first_group + g < tile.n_groups; g++) {
        size_t place = partial_place(call, unit, g);
        combine_tile(call, &tile, partials->m + place, partials->l + place,
                     partials->o + place * (size_t)call->layer->shape.v_dim, all_m, all_l);
    }
    if (tile.n_groups > call->first_group && tile.n_groups <= call->first_group + call->n_groups) {
        finish_tile(call, &tile, all_l);
    }
}

static void attend_in_waves(struct attention_call *call, int32_t n_units)
{
    struct backend_cpu *self = call->self;
    int32_t n_groups = 0;
    for (int32_t u = 0; u < call->n_tiles; u++) {
        struct tile tile = find_tile(call, u);
        n_groups = tile.n_groups > n_groups ? tile.n_groups : n_groups;
    }
    int32_t wave = self->partials.max_queries * WAVE_GROUPS / (n_units * self->kernels.attend_queries);
    wave = wave < n_groups ? wave : n_groups;
    call->n_groups = wave;
    for (call->first_group = 0; call->first_group < n_groups; call->first_group += wave) {
        thread_pool_run(self->pool, n_units * wave, wave_task, call);
        thread_pool_run(self->pool, n_units, combine_wave_task, call);
    }
}

static void quantize_row_task(void *context, int32_t row, int32_t thread)
{
    const struct attention_call *call = context;
    struct backend_act *out = call->out;
    (void)thread;
    cpu_act_quantize(call->self, out, row, 0, out->cols, out->x + (size_t)row * (size_t)out->cols);
}

void cpu_attention(struct backend *base, const struct attention_spec *spec, struct backend_act *out)
{
    struct backend_cpu *self = (struct backend_cpu *)base;
    struct attention_call call = {.self = self, .spec = spec, .layer = &spec->kv->layers[spec->layer], .out = out};
    int32_t n_kv_heads = call.layer->shape.n_kv_heads;
    assert(spec->n_heads % n_kv_heads == 0 && spec->n_heads * call.layer->shape.v_dim == out->cols);
    if (self->rows.n_rows == 0) {
        return;
    }
    call.heads = spec->n_heads / n_kv_heads;
    for (int32_t i = 0; i < self->n_runs; i++) {
        call.n_tiles += tiles_of_run(&call, &self->runs[i]);
    }
    int32_t n_units = n_kv_heads * call.n_tiles;
    if (self->n_threads > 1 && n_units < FEW_UNITS_A_THREAD * self->n_threads) {
        attend_in_waves(&call, n_units);
    } else {
        thread_pool_run(self->pool, n_units, whole_tile_task, &call);
    }
    if (out->forms & BACKEND_ACT_INT8) {
        thread_pool_run(self->pool, self->rows.n_rows, quantize_row_task, &call);
    }
}
