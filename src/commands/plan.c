/* SPDX-License-Identifier: MIT */
#include "src/commands/plan.h"

#include <stdlib.h>

#include "src/cluster/partition.h"
#include "src/model/head.h"

int32_t plan_pages(int32_t n_ctx)
{
    return (n_ctx + KV_PAGE - 1) / KV_PAGE;
}

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
    uint64_t logits = range->vocab_end > range->vocab_first ? 2u * HEAD_MAX_ROWS * (uint64_t)c->n_vocab : 0;
    return sizeof(float) * (rows * (widest + 2 * dim) + n_batches * rows * dim + logits);
}

static uint64_t kv_bytes(const struct model_config *config, const struct plan_options *o, const struct slice_range *range,
                         int32_t n_pages)
{
    struct segment_options so = {.max_rows = o->max_rows, .n_pages = n_pages, .k_type = o->k_type, .v_type = o->v_type};
    return segment_kv_bytes(config, range->layer_first, range->layer_end, &so);
}

static void measure(const struct gguf *file, const struct model_config *config, const struct plan_options *o, int32_t n_pages,
                    struct plan_rank *rank)
{
    rank->n_pages = n_pages;
    rank->weight_bytes = slice_bytes(file, config, &rank->range);
    rank->kv_bytes = kv_bytes(config, o, &rank->range, n_pages);
    rank->buffer_bytes = buffer_bytes(config, o, &rank->range);
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
        uint64_t bytes = kv_bytes(config, o, &ranks[i].range, 1);
        page = bytes > page ? bytes : page;
    }
    if (o->kv_memory < page) {
        return error_set(err, "--kv-memory is %llu bytes, a page of %d positions takes %llu", (unsigned long long)o->kv_memory,
                         KV_PAGE, (unsigned long long)page);
    }
    uint64_t n = o->kv_memory / page;
    return n < INT32_MAX ? (int32_t)n : INT32_MAX;
}

/* The same number of tiles for everybody, as far as they go. */
static void divide_head(struct partition_slice *slices, int32_t n_ranks, int32_t n_vocab)
{
    int32_t n_tiles = (n_vocab + VOCAB_TILE - 1) / VOCAB_TILE, end = 0;
    for (int32_t i = 0; i < n_ranks; i++) {
        slices[i].vocab_first = end;
        end = (int32_t)((int64_t)n_tiles * (i + 1) / n_ranks) * VOCAB_TILE;
        end = end < n_vocab ? end : n_vocab;
        slices[i].vocab_end = end;
    }
}

int plan_make(const struct gguf *file, const struct model_config *config, const struct plan_options *options,
              struct plan_rank *ranks, struct error *err)
{
    uint64_t *costs = calloc((size_t)config->n_layers, sizeof *costs);
    struct partition_slice *slices = calloc((size_t)options->n_ranks, sizeof *slices);
    int status = costs && slices ? 0 : error_set(err, "out of memory");
    if (status == 0) {
        for (int32_t i = 0; i < config->n_layers; i++) {
            costs[i] = slice_layer_bytes(file, i);
        }
        struct partition_input input = {.layer_cost = costs,
                                        .n_layers = config->n_layers,
                                        .head_cost = options->split_head ? 0 : slice_head_bytes(file),
                                        .n_vocab = config->n_vocab,
                                        .n_ranks = options->n_ranks};
        const struct option_ints *split = options->split;
        status = split && split->given ? partition_from_counts(&input, split->values, split->n, slices, err)
                                       : partition_balance(&input, slices, err);
    }
    if (status == 0 && options->split_head) {
        divide_head(slices, options->n_ranks, config->n_vocab);
    }
    for (int32_t i = 0; status == 0 && i < options->n_ranks; i++) {
        ranks[i].range = (struct slice_range){.layer_first = slices[i].layer_first,
                                              .layer_end = slices[i].layer_end,
                                              .vocab_first = slices[i].vocab_first,
                                              .vocab_end = slices[i].vocab_end,
                                              .embeds = i == 0};
    }
    int32_t n_pages = status == 0 ? pool_pages(config, options, ranks, err) : -1;
    for (int32_t i = 0; n_pages > 0 && i < options->n_ranks; i++) {
        measure(file, config, options, n_pages, &ranks[i]);
    }
    free(costs);
    free(slices);
    return n_pages > 0 ? 0 : -1;
}

uint64_t plan_total(const struct plan_rank *rank)
{
    return rank->weight_bytes + rank->kv_bytes + rank->buffer_bytes;
}
