/* SPDX-License-Identifier: MIT */
#include "src/engine/cost_fit.h"

#include <math.h>
#include <string.h>

enum { N = 3, FEWEST = 8 };
static const double fade = 0.995; /* a batch counts half after 140 others */
static const double spread = 2;   /* rows of the largest batch to those of the smallest */

void cost_fit_add(struct cost_fit *f, double rows, double pairs, double seconds)
{
    const double x[N] = {1, rows, pairs};
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            f->a[i][j] = fade * f->a[i][j] + x[i] * x[j] / (seconds * seconds);
        }
        f->b[i] = fade * f->b[i] + x[i] / seconds;
    }
    f->least = f->n == 0 || rows < f->least ? rows : f->least;
    f->most = rows > f->most ? rows : f->most;
    f->n = fade * f->n + 1;
}

/* Solves for the unknowns whose bit is set in `free`, the others are 0. 0 when the equations do not tell them apart. Columns are
 * scaled to unit diagonal first. */
static int solve(const struct cost_fit *f, int free, double *x)
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

/* The best of the solutions without negative numbers: all three, else without attention, else rows alone. */
int cost_fit_get(const struct cost_fit *f, struct batch_cost *out)
{
    static const int choices[] = {7, 3, 6, 2};
    double x[N];
    if (f->n < FEWEST || f->most < spread * f->least) {
        return 0;
    }
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        if (solve(f, choices[i], x) && x[0] >= 0 && x[1] >= 0 && x[2] >= 0 && x[0] + x[1] > 0) {
            *out = (struct batch_cost){.fixed_s = x[0], .row_s = x[1], .pair_s = x[2]};
            return 1;
        }
    }
    return 0;
}
