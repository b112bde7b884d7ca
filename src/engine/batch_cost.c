/* SPDX-License-Identifier: MIT */
#include "src/engine/batch_cost.h"

#include <math.h>

int batch_cost_known(const struct batch_cost *c)
{
    return c->fixed_s > 0 || c->row_s > 0 || c->pair_s > 0;
}

double batch_cost_time(const struct batch_cost *c, double rows, double pairs)
{
    double paid = rows > c->free_rows ? rows - c->free_rows : 0;
    return c->fixed_s + c->row_s * paid + c->pair_s * pairs;
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

double batch_cost_chunk_time(const struct batch_cost *c, double rows, double pairs, int32_t n_stages)
{
    if (n_stages < 2) {
        return HUGE_VAL;
    }
    double free_s = c->row_s * c->free_rows; /* a chunk of n > free_rows rows takes fixed_s - free_s + row_s * n */
    double fixed_s = c->fixed_s > free_s ? c->fixed_s - free_s : 0;
    double time_s = sqrt(batch_cost_work(c, rows, pairs) * fixed_s / (n_stages - 1));
    return time_s > free_s ? time_s : free_s;
}
