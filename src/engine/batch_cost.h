/* How long a batch takes on the slowest stage, as a model of four numbers. SPDX-License-Identifier: MIT */
#ifndef SRC_ENGINE_BATCH_COST_H
#define SRC_ENGINE_BATCH_COST_H

#include <stdint.h>

/* Seconds = fixed_s + row_s * max(0, rows - free_rows) + pair_s * pairs; pairs = positions attended, summed over the rows (a row
 * at position p attends p + 1). All zero = not known. */
struct batch_cost {
    double fixed_s;   /* reading the weights */
    double row_s;     /* arithmetic of a row */
    double pair_s;    /* attention to one position */
    double free_rows; /* rows whose arithmetic hides behind reading the weights; 0 = it adds up */
};

/* 1 when something is known. */
int batch_cost_known(const struct batch_cost *c);
double batch_cost_time(const struct batch_cost *c, double rows, double pairs);
/* Positions attended by rows [first, first + n) of a sequence. */
double batch_cost_pairs(int32_t first, int32_t n);
/* row_s * rows + pair_s * pairs: what rows take beyond the weights, if none were free. */
double batch_cost_work(const struct batch_cost *c, double rows, double pairs);
/* The most rows from `first` on whose work is within budget_s: chunks of equal time shrink as the prefix grows.
 * At least 0, at most `most`. */
int32_t batch_cost_rows(const struct batch_cost *c, int32_t first, double budget_s, int32_t most);
/* Work that chunks should have so that `rows` rows with `pairs` pairs in all pass n_stages stages soonest: a
 * chunk pays fixed_s, but all stages behind the first wait for the first chunk. With one stage: all at once (HUGE_VAL). For
 * pair_s = 0 and free_rows = 0 the chunk has sqrt(rows * fixed_s / row_s / (n_stages - 1)) rows: the minimum of (M + n_stages -
 * 1)
 * * (fixed_s + work / M) over the number of chunks M. Never fewer than free_rows. */
double batch_cost_chunk_time(const struct batch_cost *c, double rows, double pairs, int32_t n_stages);

#endif
