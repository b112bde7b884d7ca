/* SPDX-License-Identifier: MIT */
#include "src/cluster/partition.h"

#include <stdlib.h>

#include "src/cluster/partition_search.h"

double partition_layers_load(const struct partition_input *in, int32_t rank, int32_t first, int32_t end)
{
    double sum = first < end ? in->layers_once[rank] : 0;
    for (int32_t i = first; i < end; i++) {
        sum += in->layer_cost[(size_t)rank * (size_t)in->n_layers + (size_t)i];
    }
    return sum;
}

double partition_head_load(const struct partition_input *in, int32_t rank, int32_t n_rows)
{
    return n_rows > 0 ? in->head_once[rank] + in->row_cost[rank] * n_rows : 0;
}

/* The vocabulary over ranks with these layers. Throughput: on top of the layers; latency: all ranks do their part of the head at
 * once, when the layers are done. */
static int set_slices(const struct partition_search *s, const int32_t *counts, int within_memory, struct partition_slice *slices,
                      struct error *err)
{
    const struct partition_input *in = s->in;
    double *base = calloc((size_t)in->n_ranks, sizeof *base);
    int32_t *rows = calloc((size_t)in->n_ranks, sizeof *rows);
    int status = base && rows ? 0 : error_set(err, "no memory for the split over %d ranks", in->n_ranks);
    int32_t layer = 0, row = 0;
    for (int32_t rank = 0; status == 0 && rank < in->n_ranks; rank++) {
        base[rank] = in->objective == PARTITION_THROUGHPUT ? partition_layers_load(in, rank, layer, layer + counts[rank]) : 0;
        layer += counts[rank];
    }
    if (status == 0 && partition_search_rows(s, counts, base, within_memory, rows) < 0) {
        status = error_set(err, "the vocabulary does not fit beside the layers");
    }
    layer = 0;
    for (int32_t rank = 0; status == 0 && rank < in->n_ranks; rank++) {
        slices[rank] = (struct partition_slice){layer, layer + counts[rank], row, row + rows[rank]};
        layer = slices[rank].layer_end;
        row = slices[rank].vocab_end;
    }
    free(base);
    free(rows);
    return status;
}

static double megabytes(uint64_t bytes)
{
    return (double)bytes / 1e6;
}

/* Why nothing fits. */
static int set_reason(const struct partition_input *in, struct error *err)
{
    uint64_t head = in->row_bytes[in->n_ranks - 1] * (uint64_t)in->n_vocab, need = head, have = 0, largest = 0;
    for (int32_t i = 0; i < in->n_layers; i++) {
        need += in->layer_bytes[i];
        largest = in->layer_bytes[i] > largest ? in->layer_bytes[i] : largest;
    }
    for (int32_t rank = 0; rank < in->n_ranks; rank++) {
        have = in->memory[rank] > UINT64_MAX - have ? UINT64_MAX : have + in->memory[rank];
    }
    if (need > have) {
        return error_set(
            err,
            "layers, their KV cache and the head take %.0f MB of memory, the ranks have %.0f MB for them: %.0f MB are missing (more ranks, or a smaller -c, -b or cache type, help)",
            megabytes(need), megabytes(have), megabytes(need - have));
    }
    head = in->row_bytes[0] * (uint64_t)in->n_vocab;
    if (in->tile == 0 && head > in->memory[0]) {
        return error_set(
            err,
            "the head takes %.0f MB of memory, rank 0 has %.0f MB for it: %.0f MB are missing (more ranks, or a smaller -c, -b or cache type, help)",
            megabytes(head), megabytes(in->memory[0]), megabytes(head - in->memory[0]));
    }
    return error_set(
        err,
        "no split fits the ranks' memory: whole layers of up to %.0f MB leave gaps, though %.0f MB are needed in all and %.0f MB are there",
        megabytes(largest), megabytes(need), megabytes(have));
}

int partition_balance(const struct partition_input *in, struct partition_slice *slices, struct error *err)
{
    struct partition_search s;
    int32_t *counts = calloc((size_t)in->n_ranks, sizeof *counts);
    if (!counts) {
        return error_set(err, "no memory for the split over %d ranks", in->n_ranks);
    }
    int status = partition_search_init(&s, in, err);
    if (status == 0) {
        status = in->objective == PARTITION_LATENCY ? partition_search_latency(&s, counts)
                                                    : partition_search_throughput(&s, counts);
        status = status ? set_reason(in, err) : set_slices(&s, counts, 1, slices, err);
    }
    partition_search_free(&s);
    free(counts);
    return status;
}

int partition_from_counts(const struct partition_input *in, const int32_t *counts, int32_t n_counts,
                          struct partition_slice *slices, struct error *err)
{
    if (n_counts != in->n_ranks) {
        return error_set(err, "--split names %d rank%s, the job has %d", n_counts, n_counts == 1 ? "" : "s", in->n_ranks);
    }
    int64_t sum = 0;
    for (int32_t rank = 0; rank < n_counts; rank++) {
        if (counts[rank] < 0) {
            return error_set(err, "--split gives rank %d %d layers, at least 0 are needed", rank, counts[rank]);
        }
        sum += counts[rank];
    }
    if (sum != in->n_layers) {
        return error_set(err, "--split adds up to %lld layers, the model has %d", (long long)sum, in->n_layers);
    }
    struct partition_search s;
    if (partition_search_init(&s, in, err)) {
        return -1;
    }
    int status = set_slices(&s, counts, 0, slices, err);
    partition_search_free(&s);
    return status;
}
