/* SPDX-License-Identifier: MIT */
#include "src/plan/plan.h"

#include <stdlib.h>
#include <string.h>

#include "src/model/head.h"

enum { MIX_PROMPT = 512, MIX_ANSWER = 128 };

int32_t plan_pages(int32_t n_ctx)
{
    return (n_ctx + KV_PAGE - 1) / KV_PAGE;
}

uint64_t plan_total(const struct plan_rank *rank)
{
    return rank->weight_bytes + rank->kv_bytes + rank->buffer_bytes;
}

/* -- what a division takes -- */

/* Bytes of logits for each vocabulary row of the rank: in the backend and on their way to the sampler. */
static const uint64_t LOGIT_BYTES = 2u * HEAD_MAX_ROWS * sizeof(float);

/* Hidden and intermediates of a batch (f32 and int8 forms), batch buffers, logits. */
static uint64_t buffer_bytes(const struct model_config *c, const struct plan_options *o, const struct slice_range *range)
{
    uint64_t widest = 0;
    for (int32_t i = range->layer_first; i < range->layer_end; i++) {
        const struct layer_shape *s = &c->layers[i];
        uint64_t wide = (uint64_t)s->n_heads * (uint64_t)(c->k_dim + c->v_dim) +
                        (uint64_t)s->n_kv_heads * (uint64_t)(c->k_dim + c->v_dim) + 3 * (uint64_t)s->ffn_dim;
        widest = wide > widest ? wide : widest;
    }
    uint64_t rows = (uint64_t)o->max_rows, dim = (uint64_t)c->dim;
    uint64_t n_batches = (uint64_t)o->depth * (range->embeds ? 2 : 1) + 1;
    return sizeof(float) * (rows * (widest + 2 * dim) + n_batches * rows * dim) +
           LOGIT_BYTES * (uint64_t)(range->vocab_end - range->vocab_first);
}

static uint64_t kv_bytes(const struct model_config *config, const struct plan_options *o, int32_t first, int32_t end,
                         int32_t n_pages)
{
    struct segment_options so = {.max_rows = o->max_rows, .n_pages = n_pages, .k_type = o->k_type, .v_type = o->v_type};
    return segment_kv_bytes(config, first, end, &so);
}

/* Pages of the pool, or -1: as many as kv_memory holds on the rank whose layers take the most. */
static int32_t pool_pages(const struct model_config *config, const struct plan_options *o, const struct plan_rank *ranks,
                          struct error *err)
{
    uint64_t page = 1;
    if (o->kv_memory == 0) {
        return plan_pages(o->n_ctx) * o->n_slots;
    }
    for (int32_t i = 0; i < o->n_ranks; i++) {
        uint64_t bytes = kv_bytes(config, o, ranks[i].range.layer_first, ranks[i].range.layer_end, 1);
        page = bytes > page ? bytes : page;
    }
    if (o->kv_memory < page) {
        return error_set(err, "--kv-memory is %llu bytes, a page of %d positions takes %llu", (unsigned long long)o->kv_memory,
                         KV_PAGE, (unsigned long long)page);
    }
    uint64_t n = o->kv_memory / page;
    return n < INT32_MAX ? (int32_t)n : INT32_MAX;
}

/* -- the question to the partition -- */

/* A partition_input with its arrays. */
struct question {
    struct partition_input in;
    double *layer_cost, *layers_once, *row_cost, *head_once; /* owned */
    uint64_t *layer_bytes, *row_bytes, *memory;              /* owned */
};

static void question_free(struct question *q)
{
    free(q->layer_cost);
    free(q->layers_once);
    free(q->row_cost);
    free(q->head_once);
    free(q->layer_bytes);
    free(q->row_bytes);
    free(q->memory);
}

static int question_init(struct question *q, const struct slice_sizes *sizes, const struct plan_options *o, struct error *err)
{
    size_t n_ranks = (size_t)o->n_ranks, n_layers = (size_t)sizes->n_layers;
    *q = (struct question){.layer_cost = calloc(n_ranks * n_layers + 1, sizeof(double)),
                           .layers_once = calloc(n_ranks, sizeof(double)),
                           .row_cost = calloc(n_ranks, sizeof(double)),
                           .head_once = calloc(n_ranks, sizeof(double)),
                           .layer_bytes = calloc(n_layers + 1, sizeof(uint64_t)),
                           .row_bytes = calloc(n_ranks, sizeof(uint64_t)),
                           .memory = calloc(n_ranks, sizeof(uint64_t))};
    if (!q->layer_cost || !q->layers_once || !q->row_cost || !q->head_once || !q->layer_bytes || !q->row_bytes || !q->memory) {
        question_free(q);
        return error_set(err, "out of memory for the split over %d ranks", o->n_ranks);
    }
    q->in = (struct partition_input){.n_ranks = o->n_ranks,
                                     .n_layers = sizes->n_layers,
                                     .n_vocab = sizes->n_vocab,
                                     .objective = (enum partition_objective)o->objective,
                                     .layer_cost = q->layer_cost,
                                     .layers_once = q->layers_once,
                                     .row_cost = q->row_cost,
                                     .head_once = q->head_once,
                                     .layer_bytes = q->layer_bytes,
                                     .row_bytes = q->row_bytes,
                                     .memory = q->memory};
    return 0;
}

/* What a rank may take for layers with their cache and for vocabulary rows: all but buffers, norm, embedding and a cache of given
 * size. A tied output matrix lies in rank 0's
 * embedding already. */
static void ask_memory(struct question *q, const struct slice_sizes *sizes, const struct model_config *config,
                       const struct plan_options *o)
{
    int32_t n_pages = o->kv_memory ? 0 : plan_pages(o->n_ctx) * o->n_slots;
    for (int32_t i = 0; i < sizes->n_layers; i++) {
        q->layer_bytes[i] = sizes->layer_bytes[i] + kv_bytes(config, o, i, i + 1, n_pages);
    }
    for (int32_t rank = 0; rank < o->n_ranks; rank++) {
        struct slice_range all = {.layer_end = sizes->n_layers, .embeds = rank == 0, .ends = rank == o->n_ranks - 1};
        uint64_t fixed = buffer_bytes(config, o, &all) + sizes->norm_bytes + o->kv_memory + (rank == 0 ? sizes->embed_bytes : 0);
        uint64_t limit = o->memory ? o->memory[rank] : UINT64_MAX;
        q->memory[rank] = limit == UINT64_MAX ? limit : limit > fixed ? limit - fixed : 0;
        q->row_bytes[rank] = LOGIT_BYTES + (rank == 0 && sizes->tied ? 0 : sizes->row_bytes);
    }
}

/* The work of one request: its prompt in chunks, its answer in steps that it shares with the other streams of its group. */
struct request_work {
    struct speed_step chunk, step;
    double n_chunks, n_steps, n_heads;
};

static struct request_work work_of(const struct plan_options *o)
{
    int given = o->mix_prompt > 0 || o->mix_answer > 0;
    double prompt = given ? o->mix_prompt : MIX_PROMPT, answer = given ? o->mix_answer : MIX_ANSWER;
    int32_t share = o->objective == PARTITION_THROUGHPUT ? (o->n_slots + o->n_ranks - 1) / o->n_ranks : 1;
    return (struct request_work){.chunk = {.n_rows = o->chunk, .past = prompt / 2, .chunk = 1},
                                 .step = {.n_rows = share, .past = prompt + answer / 2},
                                 .n_chunks = prompt / o->chunk,
                                 .n_steps = answer / share,
                                 .n_heads = (answer + 1) / share};
}

/* Bytes read for a token. For many streams layers count once more: prompts pass them and not the head, so a rank with more head
 * and fewer layers would let the others wait for it while they come in. */
static void ask_bytes(struct question *q, const struct slice_sizes *sizes)
{
    double passes = q->in.objective == PARTITION_THROUGHPUT ? 2 : 1;
    for (int32_t rank = 0; rank < q->in.n_ranks; rank++) {
        for (int32_t i = 0; i < sizes->n_layers; i++) {
            q->layer_cost[(size_t)rank * (size_t)sizes->n_layers + (size_t)i] = passes * (double)sizes->layer_bytes[i];
        }
        q->row_cost[rank] = (double)sizes->row_bytes;
        q->head_once[rank] = (double)sizes->norm_bytes;
    }
}

/* Seconds that a request of the mix keeps each rank busy. */
static void ask_seconds(struct question *q, const struct slice_sizes *sizes, const struct plan_options *o,
                        const struct speed *speeds)
{
    struct request_work w = work_of(o);
    for (int32_t rank = 0; rank < o->n_ranks; rank++) {
        const struct speed *s = &speeds[rank];
        q->layers_once[rank] = (w.n_chunks + w.n_steps) * s->step_s;
        for (int32_t i = 0; i < sizes->n_layers; i++) {
            uint64_t bytes = sizes->layer_bytes[i];
            q->layer_cost[(size_t)rank * (size_t)sizes->n_layers + (size_t)i] =
                w.n_chunks * (speed_layers_s(s, bytes, 1, &w.chunk) - s->step_s) +
                w.n_steps * (speed_layers_s(s, bytes, 1, &w.step) - s->step_s);
        }
        q->head_once[rank] = w.n_heads * s->head_step_s;
        q->row_cost[rank] = w.n_heads * (speed_head_s(s, VOCAB_TILE, w.step.n_rows) - s->head_step_s) / VOCAB_TILE;
    }
    q->layers_once[0] += w.n_steps * w.step.n_rows * speeds[0].sample_s;
}

/* -- the answer -- */

/* What the objective says of a division. */
static double value_of(const struct partition_input *in, const struct partition_slice *s)
{
    double most = 0, sum = 0, head = 0;
    for (int32_t rank = 0; rank < in->n_ranks; rank++) {
        double layers = partition_layers_load(in, rank, s[rank].layer_first, s[rank].layer_end);
        double rows = partition_head_load(in, rank, s[rank].vocab_end - s[rank].vocab_first);
        most = layers + rows > most ? layers + rows : most;
        head = rows > head ? rows : head;
        sum += layers;
    }
    return in->objective == PARTITION_LATENCY ? sum + head : most;
}

static int answer(struct question *q, const struct plan_options *o, int32_t tile, struct partition_slice *slices,
                  struct error *err)
{
    q->in.tile = tile;
    if (!o->split && q->in.n_ranks > q->in.n_layers + 1) {
        return error_set(err, "%d ranks are too many for %d layers: at most %d (rank 0 may own none)", q->in.n_ranks,
                         q->in.n_layers, q->in.n_layers + 1);
    }
    return o->split ? partition_from_counts(&q->in, o->split, o->n_split, slices, err) : partition_balance(&q->in, slices, err);
}

/* The longest part of a head: what one stream waits for. */
static double head_of(const struct partition_input *in, const struct partition_slice *s)
{
    double most = 0;
    for (int32_t rank = 0; rank < in->n_ranks; rank++) {
        double part = partition_head_load(in, rank, s[rank].vocab_end - s[rank].vocab_first);
        most = part > most ? part : most;
    }
    return most;
}

/* 1 when dividing the head makes the objective clearly better, or no worse and one stream clearly faster: two more messages must
 * be worth it. unit_s: seconds of a cost of 1 for one token, 0 = not known. */
static int worth_dividing(const struct partition_input *in, const struct partition_slice *whole,
                          const struct partition_slice *divided, double unit_s)
{
    static const double CLEARLY = 0.98, EQUALLY = 1.01, MESSAGES_S = 5e-4;
    double before = value_of(in, whole), after = value_of(in, divided), saved = head_of(in, whole) - head_of(in, divided);
    double token = head_of(in, whole);
    for (int32_t rank = 0; rank < in->n_ranks; rank++) {
        token += partition_layers_load(in, rank, whole[rank].layer_first, whole[rank].layer_end);
    }
    return after < CLEARLY * before ||
           (after < EQUALLY * before && saved > (1 - CLEARLY) * token && (unit_s == 0 || saved * unit_s > MESSAGES_S));
}

/* --split-head auto: divided where that is worth it, or where it makes the model fit at all. */
static int answer_best(struct question *q, const struct plan_options *o, double unit_s, struct partition_slice *slices,
                       struct error *err)
{
    if (o->split_head != PLAN_SPLIT_HEAD_AUTO || o->n_ranks == 1) {
        return answer(q, o, o->split_head == PLAN_SPLIT_HEAD_ON ? VOCAB_TILE : 0, slices, err);
    }
    int status = answer(q, o, 0, slices, err);
    struct partition_slice *divided = calloc((size_t)o->n_ranks, sizeof *divided);
    if (!divided) {
        return error_set(err, "out of memory for the split over %d ranks", o->n_ranks);
    }
    if (answer(q, o, VOCAB_TILE, divided, status ? err : NULL) == 0 &&
        (status || worth_dividing(&q->in, slices, divided, unit_s))) {
        memcpy(slices, divided, (size_t)o->n_ranks * sizeof *slices);
        status = 0;
    }
    free(divided);
    return status;
}

/* Speeds with noise removed; *alike = 1 when bytes say enough. NULL when out of memory. */
static struct speed *group_speeds(const struct plan_options *o, int *alike)
{
    struct speed *speeds = calloc((size_t)o->n_ranks, sizeof *speeds);
    *alike = 1;
    for (int32_t i = 0; speeds && o->speeds && i < o->n_ranks; i++) {
        speeds[i] = o->speeds[i];
    }
    if (speeds && o->speeds && speeds[0].n_points) {
        *alike = speed_group(speeds, o->n_ranks);
    }
    return speeds;
}

int plan_make(const struct slice_sizes *sizes, const struct model_config *config, const struct plan_options *options,
              struct plan_rank *ranks, struct error *err)
{
    struct question q;
    int alike;
    if (question_init(&q, sizes, options, err)) {
        return -1;
    }
    struct partition_slice *slices = calloc((size_t)options->n_ranks, sizeof *slices);
    struct speed *speeds = group_speeds(options, &alike);
    int status = slices && speeds ? 0 : error_set(err, "out of memory");
    if (status == 0) {
        ask_memory(&q, sizes, config, options);
        if (alike) {
            ask_bytes(&q, sizes);
        } else {
            ask_seconds(&q, sizes, options, speeds);
        }
        double answers = options->mix_prompt || options->mix_answer ? options->mix_answer : MIX_ANSWER;
        double unit_s = !alike && answers > 0 ? 1 / answers
                        : speeds[0].n_points  ? speeds[0].layer_s[0] / speeds[0].layer_bytes
                                              : 0;
        status = answer_best(&q, options, unit_s, slices, err);
        if (status == 0 && alike && !options->split && slices[0].vocab_end < sizes->n_vocab) {
            q.in.prefer_even = 1;
            status = answer(&q, options, VOCAB_TILE, slices, err);
        }
    }
    for (int32_t i = 0; status == 0 && i < options->n_ranks; i++) {
        ranks[i].range = (struct slice_range){
            slices[i].layer_first,    slices[i].layer_end, slices[i].vocab_first, slices[i].vocab_end, i == 0,
            i == options->n_ranks - 1};
    }
    int32_t n_pages = status == 0 ? pool_pages(config, options, ranks, err) : -1;
    for (int32_t i = 0; n_pages > 0 && i < options->n_ranks; i++) {
        const struct slice_range *range = &ranks[i].range;
        ranks[i].n_pages = n_pages;
        ranks[i].weight_bytes = slice_bytes(sizes, range);
        ranks[i].kv_bytes = kv_bytes(config, options, range->layer_first, range->layer_end, n_pages);
        ranks[i].buffer_bytes = buffer_bytes(config, options, range);
    }
    free(slices);
    free(speeds);
    question_free(&q);
    return n_pages > 0 ? 0 : -1;
}
