/* SPDX-License-Identifier: MIT */
#include "src/engine/cost_fit.h"

#include <math.h>
#include <string.h>

enum { N = 3, FEWEST = 8 };
#define CLEARLY 1e-4              /* less squared relative error a batch than with fewer free rows */
static const double fade = 0.995; /* a batch counts half after 140 others */
static const double spread = 2;   /* rows of the largest batch to those of the smallest */

static const double free_rows[COST_FIT_LAWS] = {0, 8, 16, 32, 48, 64, 96, 128, 192};

static void add(struct cost_fit_sums *s, const double *x, double seconds)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            s->a[i][j] = fade * s->a[i][j] + x[i] * x[j] / (seconds * seconds);
        }
        s->b[i] = fade * s->b[i] + x[i] / seconds;
    }
}

void cost_fit_add(struct cost_fit *f, double rows, double pairs, double seconds)
{
    for (int law = 0; law < COST_FIT_LAWS; law++) {
        add(&f->sums[law], (const double[N]){1, rows > free_rows[law] ? rows - free_rows[law] : 0, pairs}, seconds);
    }
    f->least = f->n == 0 || rows < f->least ? rows : f->least;
    f->most = rows > f->most ? rows : f->most;
    f->n = fade * f->n + 1;
}

/* Solves for the unknowns whose bit is set in `free`, the others are 0. 0 when the equations do not tell them apart. Columns are
 * scaled to unit diagonal first. */
static int solve(const struct cost_fit_sums *f, int free, double *x)
{
    double m[N][N + 1], scale[N];
    int at[N], n = 0;
    for (int i = 0; i < N; i++) {
        x[i] = 0;
        if (free >> i & 1) {
            at[n++] = i;
        }
    }
    for (int i = 0; i < n; i++) {
        scale[i] = sqrt(f->a[at[i]][at[i]]);
        if (scale[i] <= 0) {
            return 0;
        }
    }
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
            m[i][j] = f->a[at[i]][at[j]] / (scale[i] * scale[j]);
        }
        m[i][n] = f->b[at[i]] / scale[i];
    }
    for (int i = 0; i < n; i++) { /* positive definite: no pivoting needed */
        if (m[i][i] < 1e-9) {
            return 0;
        }
        for (int k = i + 1; k < n; k++) {
            double factor = m[k][i] / m[i][i];
            for (int j = i; j <= n; j++) {
                m[k][j] -= factor * m[i][j];
            }
        }
    }
    for (int i = n - 1; i >= 0; i--) {
        double sum = m[i][n];
        for (int j = i + 1; j < n; j++) {
            sum -= m[i][j] * x[at[j]] * scale[j];
        }
        x[at[i]] = sum / m[i][i] / scale[i];
    }
    return 1;
}

/* Sum of the squared relative errors, less what does not depend on x. */
static double error_of(const struct cost_fit_sums *s, const double *x)
{
    double e = 0;
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            e += x[i] * s->a[i][j] * x[j];
        }
        e -= 2 * x[i] * s->b[i];
    }
    return e;
}

/* The first solution without negative numbers: all three, else without attention, without fixed cost, rows alone. */
static int solve_law(const struct cost_fit_sums *s, double *x)
{
    static const int choices[] = {7, 3, 6, 2};
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        if (solve(s, choices[i], x) && x[0] >= 0 && x[1] >= 0 && x[2] >= 0 && x[0] + x[1] > 0) {
            return 1;
        }
    }
    return 0;
}

int cost_fit_get(const struct cost_fit *f, struct batch_cost *out)
{
    double x[N], best = 0;
    int found = 0;
    if (f->n < FEWEST || f->most < spread * f->least) {
        return 0;
    }
    for (int law = 0; law < COST_FIT_LAWS && free_rows[law] < f->most; law++) {
        if (!solve_law(&f->sums[law], x)) {
            continue;
        }
        double e = error_of(&f->sums[law], x);
        if (!found || e < best - f->n * CLEARLY) { /* the fewest free rows that explain the times */
            best = e;
            found = 1;
            *out = (struct batch_cost){.fixed_s = x[0], .row_s = x[1], .pair_s = x[2], .free_rows = free_rows[law]};
        }
    }
    return found;
}
