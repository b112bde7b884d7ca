/* The learned cost of a batch: finds the numbers behind noisy times, follows a change, says when it cannot know.
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "src/engine/cost_fit.h"
#include "tests/check.h"

static uint32_t state = 7;

static double uniform(double low, double high)
{
    state = state * 1664525u + 1013904223u;
    return low + (high - low) * (double)(state >> 8) / (double)(1 << 24);
}

static void feed(struct cost_fit *f, const struct batch_cost *truth, int n, double noise)
{
    for (int i = 0; i < n; i++) {
        double rows = floor(uniform(1, 20)), pairs = rows * uniform(10, 2000);
        if (i % 5 == 0) {
            rows += 100;
            pairs += 100 * uniform(10, 2000);
        }
        cost_fit_add(f, rows, pairs, batch_cost_time(truth, rows, pairs) * uniform(1 - noise, 1 + noise));
    }
}

static void check_near(const struct cost_fit *f, const struct batch_cost *truth, double tolerance)
{
    struct batch_cost found = {0};
    CHECK_INT(cost_fit_get(f, &found), 1);
    for (double rows = 1; rows <= 512; rows *= 8) {
        double expected = batch_cost_time(truth, rows, rows * 500), time = batch_cost_time(&found, rows, rows * 500);
        CHECK_THAT(fabs(time / expected - 1) < tolerance, "%g rows take %g s, expected %g", rows, time, expected);
    }
}

int main(void)
{
    const struct batch_cost board = {.fixed_s = 15e-3, .row_s = 120e-6, .pair_s = 5e-9},
                            faster = {.fixed_s = 5e-3, .row_s = 60e-6}, rows_only = {.row_s = 1e-3};
    struct cost_fit f;
    struct batch_cost out;
    memset(&f, 0, sizeof f);
    CHECK_INT(cost_fit_get(&f, &out), 0);
    for (int i = 0; i < 100; i++) { /* always the same batch */
        cost_fit_add(&f, 4, 400, 1e-3);
    }
    CHECK_INT(cost_fit_get(&f, &out), 0);

    memset(&f, 0, sizeof f);
    feed(&f, &board, 100, 0);
    check_near(&f, &board, 1e-6);
    feed(&f, &board, 1000, 0.2);
    check_near(&f, &board, 0.05);
    feed(&f, &faster, 2000, 0.1);
    check_near(&f, &faster, 0.05);

    const struct batch_cost hidden = {.fixed_s = 15e-3, .row_s = 200e-6, .pair_s = 2e-9, .knee_rows = 64, .low_row_s = 20e-6};
    memset(&f, 0, sizeof f);
    for (int i = 0; i < 100; i++) {
        double rows = floor(uniform(1, 250)), pairs = rows * uniform(100, 2000);
        cost_fit_add(&f, rows, pairs, batch_cost_time(&hidden, rows, pairs) * uniform(0.98, 1.02));
    }
    CHECK_INT(cost_fit_get(&f, &out), 1);
    CHECK_INT((int)out.knee_rows, 64);
    check_near(&f, &hidden, 0.03);

    memset(&f, 0, sizeof f);
    feed(&f, &rows_only, 200, 0.1); /* noise must not make anything negative */
    check_near(&f, &rows_only, 0.1);
    CHECK_INT(cost_fit_get(&f, &out), 1);
    CHECK_THAT(out.fixed_s >= 0 && out.row_s >= 0 && out.pair_s >= 0 && out.low_row_s >= 0, "%g %g %g", out.fixed_s, out.row_s,
               out.pair_s);
    return check_result();
}
