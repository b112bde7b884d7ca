/* SPDX-License-Identifier: MIT */
#include "src/cluster/partition.h"

#include <assert.h>
#include <stdlib.h>

/* Contiguous slices from layer counts; the whole vocabulary goes to rank 0. */
static void set_slices(const struct partition_input *in, const int32_t *counts, struct partition_slice *slices)
{
    int32_t first = 0;
    for (int32_t rank = 0; rank < in->n_ranks; rank++) {
        slices[rank] = (struct partition_slice){
            .layer_first = first,
            .layer_end = first + counts[rank],
            .vocab_first = rank == 0 ? 0 : in->n_vocab,
            .vocab_end = in->n_vocab,
        };
        first += counts[rank];
    }
}

/* best[rank * (n_layers + 1) + layer]: the load of the most loaded of ranks rank .. n_ranks-1 when they share layers layer ..
 * n_layers-1 in the best way, each owning at least one; UINT64_MAX = impossible. */
struct table {
    uint64_t *best; /* [n_ranks + 1, n_layers + 1] owned */
    int32_t n_layers;
};

static uint64_t *table_at(const struct table *t, int32_t rank, int32_t layer)
{
    return &t->best[(size_t)rank * ((size_t)t->n_layers + 1) + (size_t)layer];
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The fewest layers, but at least min_count, that `rank` may take from `layer` on so that the most loaded of it and the ranks
 * after it is as light as possible. *load is that lightest load. `own` is the rank's cost without layers. */
static int32_t best_count(const struct partition_input *in, const struct table *t, int32_t rank, int32_t layer, uint64_t own,
                          int32_t min_count, uint64_t *load)
{
    int32_t best = min_count;
    *load = UINT64_MAX;
    for (int32_t count = 0; layer + count <= in->n_layers; count++) {
        uint64_t here = larger(own, *table_at(t, rank + 1, layer + count));
        if (count >= min_count && here < *load) {
            *load = here;
            best = count;
        }
        own += layer + count < in->n_layers ? in->layer_cost[layer + count] : 0;
    }
    return best;
}

static void fill_table(const struct partition_input *in, struct table *t)
{
    for (int32_t layer = 0; layer <= in->n_layers; layer++) {
        *table_at(t, in->n_ranks, layer) = layer == in->n_layers ? 0 : UINT64_MAX;
    }
    for (int32_t rank = in->n_ranks - 1; rank > 0; rank--) {
        for (int32_t layer = 0; layer <= in->n_layers; layer++) {
            best_count(in, t, rank, layer, 0, 1, table_at(t, rank, layer));
        }
    }
}

int partition_balance(const struct partition_input *in, struct partition_slice *slices, struct error *err)
{
    assert(in->n_ranks > 0 && in->n_layers >= 0);
    if (in->n_ranks > in->n_layers + 1) {
        return error_set(err, "%d ranks are too many for %d layers: at most %d (rank 0 may own none)", in->n_ranks, in->n_layers,
                         in->n_layers + 1);
    }
    struct table t = {.n_layers = in->n_layers};
    t.best = malloc(((size_t)in->n_ranks + 1) * ((size_t)in->n_layers + 1) * sizeof *t.best);
    int32_t *counts = malloc((size_t)in->n_ranks * sizeof *counts);
    if (!t.best || !counts) {
        free(t.best);
        free(counts);
        return error_set(err, "no memory for the split of %d layers over %d ranks", in->n_layers, in->n_ranks);
    }
    fill_table(in, &t);
    uint64_t load, load_without;
    counts[0] = best_count(in, &t, 0, 0, in->head_cost, 1, &load);
    int32_t without = best_count(in, &t, 0, 0, in->head_cost, 0, &load_without);
    if (load_without < load) {
        counts[0] = without;
    }
    int32_t layer = counts[0];
    for (int32_t rank = 1; rank < in->n_ranks; rank++) {
        counts[rank] = best_count(in, &t, rank, layer, 0, 1, &load);
        layer += counts[rank];
    }
    assert(layer == in->n_layers);
    set_slices(in, counts, slices);
    free(t.best);
    free(counts);
    return 0;
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
    set_slices(in, counts, slices);
    return 0;
}
