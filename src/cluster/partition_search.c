/* SPDX-License-Identifier: MIT */
#include "src/cluster/partition_search.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HALVINGS = 200, HEAD_LIMITS = 24 };
static const double ALIKE = 1.01; /* splits whose most loaded ranks differ by no more count as equally good */

int partition_search_init(struct partition_search *s, const struct partition_input *in, struct error *err)
{
    assert(in->n_ranks > 0 && in->n_layers >= 0 && in->n_vocab > 0 && in->tile >= 0);
    size_t n_ranks = (size_t)in->n_ranks, width = (size_t)in->n_layers + 1;
    size_t n_tiles = in->tile ? ((size_t)in->n_vocab + (size_t)in->tile - 1) / (size_t)in->tile : 1;
    *s = (struct partition_search){.in = in, .n_states = (int32_t)(width * (n_tiles + 1))};
    size_t n_states = (size_t)s->n_states;
    s->prefix = calloc(n_ranks * width, sizeof *s->prefix);
    s->bytes = calloc(width, sizeof *s->bytes);
    s->now = calloc(2 * width, sizeof *s->now);
    if (in->objective == PARTITION_LATENCY) {
        s->sums = calloc(2 * n_states, sizeof *s->sums);
        s->from = calloc(n_ranks * n_states, sizeof *s->from);
    }
    if (!s->prefix || !s->bytes || !s->now || (in->objective == PARTITION_LATENCY && (!s->sums || !s->from))) {
        partition_search_free(s);
        return error_set(err, "no memory for the split of %d layers over %d ranks", in->n_layers, in->n_ranks);
    }
    for (int32_t i = 0; i < in->n_layers; i++) {
        s->bytes[i + 1] = s->bytes[i] + in->layer_bytes[i];
        for (size_t r = 0; r < n_ranks; r++) {
            s->prefix[r * width + (size_t)i + 1] = s->prefix[r * width + (size_t)i] + in->layer_cost[r * (width - 1) + (size_t)i];
        }
    }
    return 0;
}

void partition_search_free(struct partition_search *s)
{
    free(s->prefix);
    free(s->bytes);
    free(s->now);
    free(s->sums);
    free(s->from);
    memset(s, 0, sizeof *s);
}

/* Cost of rank's layers [first, end). */
static double layers_load(const struct partition_search *s, int32_t rank, int32_t first, int32_t end)
{
    const double *prefix = s->prefix + (size_t)rank * ((size_t)s->in->n_layers + 1);
    return first == end ? 0 : s->in->layers_once[rank] + prefix[end] - prefix[first];
}

/* Rows that a rank can own from row `at` on: for at most `budget` of cost and `memory` bytes, in whole tiles but for the last. */
static int32_t rows_within(const struct partition_input *in, int32_t rank, double budget, uint64_t memory, int32_t at)
{
    int32_t left = in->n_vocab - at;
    if (left == 0 || (in->tile == 0 && rank > 0) || budget < in->head_once[rank]) {
        return 0;
    }
    double most = in->row_cost[rank] > 0 ? floor((budget - in->head_once[rank]) / in->row_cost[rank]) : left;
    most = in->row_cost[rank] * left + in->head_once[rank] <= budget ? left : most;
    int32_t n = most < left ? (int32_t)most : left;
    if (in->row_bytes[rank] && memory / in->row_bytes[rank] < (uint64_t)n) {
        n = (int32_t)(memory / in->row_bytes[rank]);
    }
    return n == left ? n : in->tile ? n / in->tile * in->tile : 0;
}

/* 1 when rank may own layers [first, end) for at most `limit`; *rows: the vocabulary rows that it can own besides, from `row` on.
 */
static int can_own(const struct partition_search *s, int32_t rank, int32_t first, int32_t end, int32_t row, double limit,
                   int32_t *rows)
{
    double load = layers_load(s, rank, first, end);
    uint64_t bytes = s->bytes[end] - s->bytes[first], memory = s->in->memory[rank];
    if (load > limit || bytes > memory) {
        return 0;
    }
    *rows = rows_within(s->in, rank, limit - load, memory - bytes, row);
    return 1;
}

/* 1 when ranks [rank, n_ranks) can own layers [layer, n_layers) and the rows from `row` on, none loaded with more than limit.
 * now[l]: rows owned when the ranks so far own the layers before l, at most; -1 = they cannot. */
static int feasible(const struct partition_search *s, int32_t rank, int32_t layer, int32_t row, double limit)
{
    int32_t n_layers = s->in->n_layers;
    size_t bytes = ((size_t)n_layers + 1) * sizeof *s->now;
    int32_t *now = s->now, *next = s->now + n_layers + 1;
    memset(now, 0xff, bytes);
    now[layer] = row;
    for (; rank < s->in->n_ranks; rank++) {
        memset(next, 0xff, bytes);
        for (int32_t first = layer; first <= n_layers; first++) {
            int32_t rows;
            for (int32_t end = first; now[first] >= 0 && end <= n_layers; end++) {
                if (!can_own(s, rank, first, end, now[first], limit, &rows)) {
                    break;
                }
                next[end] = now[first] + rows > next[end] ? now[first] + rows : next[end];
            }
        }
        int32_t *other = now;
        now = next;
        next = other;
    }
    return now[n_layers] == s->in->n_vocab;
}

/* The least limit that ranks [rank, n_ranks) can keep; the interval is halved until its ends are neighbours, so that the result
 * is exact when costs are whole numbers. */
static double least_limit(const struct partition_search *s, int32_t rank, int32_t layer, int32_t row, double high)
{
    double low = 0;
    if (feasible(s, rank, layer, row, low)) {
        return low;
    }
    for (int i = 0; i < MAX_HALVINGS; i++) {
        double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high) {
            break;
        }
        if (feasible(s, rank, layer, row, middle)) {
            high = middle;
        } else {
            low = middle;
        }
    }
    return high;
}

/* More than any split costs. */
static double all_of_it(const struct partition_search *s)
{
    double sum = 1;
    for (int32_t rank = 0; rank < s->in->n_ranks; rank++) {
        sum += layers_load(s, rank, 0, s->in->n_layers) + s->in->head_once[rank] + s->in->row_cost[rank] * s->in->n_vocab;
    }
    return sum;
}

/* The split with the least limit; of several the one that gives the low ranks the fewest layers. */
static int search_least(const struct partition_search *s, int32_t *counts)
{
    const struct partition_input *in = s->in;
    double limit = all_of_it(s);
    int32_t layer = 0, row = 0, rows = 0;
    if (!feasible(s, 0, 0, 0, limit)) {
        return -1;
    }
    for (int32_t rank = 0; rank < in->n_ranks; rank++) {
        limit = least_limit(s, rank, layer, row, limit);
        int32_t end = layer + 1;
        while (end <= in->n_layers && can_own(s, rank, layer, end, row, limit, &rows) &&
               !feasible(s, rank + 1, end, row + rows, limit)) {
            end++;
        }
        if (end > in->n_layers || !can_own(s, rank, layer, end, row, limit, &rows)) {
            end = layer;
            can_own(s, rank, layer, end, row, limit, &rows);
        }
        counts[rank] = end - layer;
        layer = end;
        row += rows;
    }
    return 0;
}

double partition_search_rows(const struct partition_search *s, const int32_t *counts, const double *base, int within_memory,
                             int32_t *rows)
{
    const struct partition_input *in = s->in;
    double low = 0, high = all_of_it(s);
    for (int32_t rank = 0; rank < in->n_ranks; rank++) {
        high += base[rank];
    }
    for (int i = 0; i <= MAX_HALVINGS; i++) {
        double limit = i == 0 ? high : low + (high - low) / 2;
        int last = i > 0 && (limit <= low || limit >= high);
        limit = last ? high : limit;
        int32_t row = 0, layer = 0;
        for (int32_t rank = 0; rank < in->n_ranks; rank++) {
            uint64_t bytes = s->bytes[layer + counts[rank]] - s->bytes[layer];
            uint64_t memory = !within_memory ? UINT64_MAX : bytes < in->memory[rank] ? in->memory[rank] - bytes : 0;
            rows[rank] = rows_within(in, rank, limit - base[rank], memory, row);
            row += rows[rank];
            layer += counts[rank];
        }
        if (row != in->n_vocab && i == 0) {
            return -1;
        }
        if (last || i == MAX_HALVINGS) {
            break;
        }
        *(row == in->n_vocab ? &high : &low) = limit;
    }
    return high;
}

/* What the most loaded rank carries when the vocabulary fills what these layers leave, and rows: how it is divided. INFINITY when
 * it does not fit. base: [n_ranks] scratch. */
static double most_loaded(const struct partition_search *s, const int32_t *counts, double *base, int32_t *rows)
{
    const struct partition_input *in = s->in;
    int32_t layer = 0;
    double most = 0;
    for (int32_t rank = 0; rank < in->n_ranks; layer += counts[rank++]) {
        base[rank] = layers_load(s, rank, layer, layer + counts[rank]);
        if (s->bytes[layer + counts[rank]] - s->bytes[layer] > in->memory[rank]) {
            return INFINITY;
        }
    }
    if (partition_search_rows(s, counts, base, 1, rows) < 0) {
        return INFINITY;
    }
    for (int32_t rank = 0; rank < in->n_ranks; rank++) {
        most = fmax(most, base[rank] + partition_head_load(in, rank, rows[rank]));
    }
    return most;
}

/* Takes the split with the most even layers if it is as good, and if the head is divided at all. */
static int prefer_even(const struct partition_search *s, int32_t *counts)
{
    size_t n = (size_t)s->in->n_ranks;
    double *base = calloc(n, sizeof *base);
    int32_t *rows = calloc(n, sizeof *rows), *even = calloc(n, sizeof *even);
    int status = base && rows && even ? 0 : -1;
    if (status == 0) {
        double best = most_loaded(s, counts, base, rows);
        int is_divided = rows[0] < s->in->n_vocab;
        for (int32_t rank = 0; rank < s->in->n_ranks; rank++) { /* those that have one more come last: rank 0 also samples */
            even[rank] = (s->in->n_layers + rank) / s->in->n_ranks;
        }
        if (is_divided && most_loaded(s, even, base, rows) <= ALIKE * best) {
            memcpy(counts, even, n * sizeof *even);
        }
    }
    free(base);
    free(rows);
    free(even);
    return status;
}

int partition_search_throughput(struct partition_search *s, int32_t *counts)
{
    if (search_least(s, counts)) {
        return -1;
    }
    return s->in->prefer_even && s->in->tile ? prefer_even(s, counts) : 0;
}

/* One rank of least_sum: from the states before it to those after it. Of two ways of the same cost the one that gave more layers
 * to the ranks before is kept. */
static void add_rank(struct partition_search *s, int32_t rank, double head_limit, const double *before, double *after)
{
    const struct partition_input *in = s->in;
    int32_t n_layers = in->n_layers, tile = in->tile ? in->tile : in->n_vocab, width = s->n_states / (n_layers + 1);
    int32_t *from = s->from + (size_t)rank * (size_t)s->n_states;
    for (int32_t i = 0; i < s->n_states; i++) {
        after[i] = INFINITY;
    }
    for (int32_t i = 0; i < s->n_states; i++) {
        int32_t first = i / width, at = (i % width) * tile, rows;
        at = at < in->n_vocab ? at : in->n_vocab;
        for (int32_t end = first; before[i] < INFINITY && end <= n_layers; end++) {
            uint64_t bytes = s->bytes[end] - s->bytes[first];
            if (bytes > in->memory[rank]) {
                break;
            }
            rows = at + rows_within(in, rank, head_limit, in->memory[rank] - bytes, at);
            int32_t state = end * width + (rows + tile - 1) / tile;
            double sum = before[i] + layers_load(s, rank, first, end);
            if (sum < after[state] || (sum == after[state] && first > from[state] / width)) {
                after[state] = sum;
                from[state] = i;
            }
        }
    }
}

/* Least sum of the layers' costs when no rank spends more than head_limit on its vocabulary rows, or INFINITY. A rank takes all
 * the rows that it can: more never hurts the ranks after it. */
static double least_sum(struct partition_search *s, double head_limit, int32_t *counts)
{
    const struct partition_input *in = s->in;
    double *now = s->sums, *next = s->sums + s->n_states;
    int32_t state = s->n_states - 1, width = s->n_states / (in->n_layers + 1);
    for (int32_t i = 0; i < s->n_states; i++) {
        now[i] = i == 0 ? 0 : INFINITY;
    }
    for (int32_t rank = 0; rank < in->n_ranks; rank++) {
        add_rank(s, rank, head_limit, now, next);
        double *other = now;
        now = next;
        next = other;
    }
    double least = now[state];
    for (int32_t rank = in->n_ranks - 1; least < INFINITY && rank >= 0; rank--) {
        int32_t before = s->from[(size_t)rank * (size_t)s->n_states + (size_t)state];
        counts[rank] = state / width - before / width;
        state = before;
    }
    return least;
}

int partition_search_latency(struct partition_search *s, int32_t *counts)
{
    int32_t n_ranks = s->in->n_ranks;
    double *zero = calloc((size_t)n_ranks, sizeof *zero);
    int32_t *rows = calloc((size_t)n_ranks, sizeof *rows), *trial = calloc((size_t)n_ranks, sizeof *trial);
    double sum = zero && rows && trial ? least_sum(s, INFINITY, counts) : INFINITY;
    int found = sum < INFINITY;
    if (found && s->in->tile) {
        /* A quicker head may be worth slower layers: faster ranks then keep memory for vocabulary rows. */
        double high = partition_search_rows(s, counts, zero, 1, rows), best = sum + high;
        double low = partition_search_rows(s, trial, zero, 1, rows);
        for (int32_t i = 0; i < HEAD_LIMITS && high > low * 1.001; i++) {
            double limit = low + (high - low) * i / HEAD_LIMITS;
            sum = least_sum(s, limit, trial);
            double total = sum < INFINITY ? sum + partition_search_rows(s, trial, zero, 1, rows) : INFINITY;
            if (total < best) {
                best = total;
                memcpy(counts, trial, (size_t)n_ranks * sizeof *counts);
            }
        }
    }
    free(zero);
    free(rows);
    free(trial);
    return found ? 0 : -1;
}
