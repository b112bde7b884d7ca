/* How long a batch takes on the slowest stage, as a model of five numbers. SPDX-License-Identifier: MIT */
#ifndef SRC_ENGINE_BATCH_COST_H
#define SRC_ENGINE_BATCH_COST_H

#include <stdint.h>

/* Seconds = fixed_s + low_row_s * min(rows, knee_rows) + row_s * max(0, rows - knee_rows) + pair_s * pairs; pairs = positions
 * attended, summed over the rows (a row at position p attends p + 1). All zero = not known. */
struct batch_cost {
    double fixed_s;   /* reading the weights */
    double row_s;     /* arithmetic of a row */
    double pair_s;    /* attention to one position */
    double knee_rows; /* so many rows cost something else each: their arithmetic hides behind reading the weights, or fills the
                         machine worse */
    double low_row_s; /* each of those */
};

/* How long a batch is on its way from one stage to the next: fixed_s + row_s * rows. All zero = no time. */
struct batch_way {
    double fixed_s, row_s;
};

/* 1 when something is known. */
int batch_cost_known(const struct batch_cost *c);
double batch_cost_time(const struct batch_cost *c, double rows, double pairs);
/* Positions attended by rows [first, first + n) of a sequence. */
double batch_cost_pairs(int32_t first, int32_t n);
/* row_s * rows + pair_s * pairs: what rows take beyond the weights, all beyond the knee. */
double batch_cost_work(const struct batch_cost *c, double rows, double pairs);
/* Work that can be added to a batch of `rows` rows so that it takes budget_s longer. */
double batch_cost_room(const struct batch_cost *c, double rows, double budget_s);
/* The most rows from `first` on whose work is within budget_s: chunks of equal time shrink as the prefix grows.
 * At least 0, at most `most`. */
int32_t batch_cost_rows(const struct batch_cost *c, int32_t first, double budget_s, int32_t most);
/* Work that chunks should have so that `rows` rows with `pairs` pairs in all pass n_stages stages soonest, as equal chunks: each
 * pays for reading the weights, but all stages behind the first wait for the first chunk and for its way. With n rows a chunk and
 * m = rows / n of them, the last one leaves after (m - 1) * max(time, way) + n_stages * time + (n_stages - 1) * way; the best m
 * is looked for. With one stage: all at once (HUGE_VAL). */
double batch_cost_chunk_time(const struct batch_cost *c, const struct batch_way *way, double rows, double pairs,
                             int32_t n_stages);
/* Groups in which n_running sequences pass n_stages stages fastest, at least n_stages (or n_running) and at most `most`. With as
 * many groups as stages each stage has one to compute while none is under way; one more hides the way, but reads the weights once
 * more in each round of max(groups * time, n_stages * (time + way)). */
int32_t batch_cost_groups(const struct batch_cost *c, const struct batch_way *way, int32_t n_running, int32_t n_stages,
                          int32_t most);

#endif
