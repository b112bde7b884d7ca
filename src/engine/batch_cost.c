/* SPDX-License-Identifier: MIT */
#include "src/engine/batch_cost.h"

#include <math.h>

int batch_cost_known(const struct batch_cost *c)
{
    return c->fixed_s > 0 || c->row_s > 0 || c->pair_s > 0;
}

double batch_cost_time(const struct batch_cost *c, double rows, double pairs)
{
    double low = rows < c->knee_rows ? rows : c->knee_rows;
    return c->fixed_s + c->low_row_s * low + c->row_s * (rows - low) + c->pair_s * pairs;
}

double batch_cost_work(const struct batch_cost *c, double rows, double pairs)
{
    return c->row_s * rows + c->pair_s * pairs;
}

double batch_cost_pairs(int32_t first, int32_t n)
{
    return (double)n * first + 0.5 * (double)n * ((double)n + 1);
}

int32_t batch_cost_rows(const struct batch_cost *c, int32_t first, double budget_s, int32_t most)
{
    /* row_s n + pair_s (first n + n (n + 1) / 2) = budget_s: a n^2 + b n = budget_s */
    double a = 0.5 * c->pair_s, b = c->row_s + c->pair_s * (first + 0.5);
    if (b <= 0 || budget_s == HUGE_VAL) {
        return most;
    }
    double n = budget_s > 0 ? 2 * budget_s / (b + sqrt(b * b + 4 * a * budget_s)) : 0;
    return n < most ? (int32_t)(n + 1e-9) : most;
}

double batch_cost_room(const struct batch_cost *c, double rows, double budget_s)
{
    double low = c->knee_rows > rows ? c->knee_rows - rows : 0, low_s = c->low_row_s * low;
    if (budget_s <= 0) {
        return budget_s;
    }
    return budget_s < low_s ? c->row_s * budget_s / c->low_row_s : budget_s - low_s + c->row_s * low;
}

/* When all rows have passed the stages as m equal chunks. */
static double passed_s(const struct batch_cost *c, const struct batch_way *way, double rows, double pairs, double m,
                       int32_t n_stages)
{
    double time_s = batch_cost_time(c, rows / m, pairs / m), way_s = way->fixed_s + way->row_s * rows / m;
    return (m - 1) * fmax(time_s, way_s) + n_stages * time_s + (n_stages - 1) * way_s;
}

double batch_cost_chunk_time(const struct batch_cost *c, const struct batch_way *way, double rows, double pairs, int32_t n_stages)
{
    static const double FEWEST = 16; /* rows of a chunk */
    static const double FINER = 1.04;
    double best_s = HUGE_VAL, best = 1;
    if (n_stages < 2 || rows <= 0) {
        return HUGE_VAL;
    }
    for (double m = 1; m == 1 || rows / m >= FEWEST; m = ceil(m * FINER)) {
        double s = passed_s(c, way, rows, pairs, m, n_stages);
        if (s < best_s) {
            best_s = s;
            best = m;
        }
    }
    /* a row more, as rows are whole: else what they leave would make one chunk more */
    return batch_cost_work(c, rows / best + 1, pairs / best);
}

int32_t batch_cost_groups(const struct batch_cost *c, const struct batch_way *way, int32_t n_running, int32_t n_stages,
                          int32_t most)
{
    static const double CLEARLY = 0.98; /* of the round with fewer groups: the numbers are guesses */
    int32_t best = n_running < n_stages ? n_running : n_stages;
    double best_s = HUGE_VAL;
    for (int32_t n = best; n > 0 && n <= most && n <= n_running && batch_cost_known(c); n++) {
        int32_t rows = (n_running + n - 1) / n;
        double time_s = batch_cost_time(c, rows, 0), way_s = n_stages > 1 ? way->fixed_s + way->row_s * rows : 0;
        double round_s = fmax(n * time_s, n_stages * (time_s + way_s));
        if (round_s < CLEARLY * best_s) {
            best = n;
            best_s = round_s;
        }
    }
    return best > 0 ? best : 1;
}
