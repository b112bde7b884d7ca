/* SPDX-License-Identifier: MIT */
#include "src/engine/cost_fit.h"

#include <math.h>
#include <string.h>

enum { N = COST_FIT_UNKNOWNS, FEWEST = 8 };
static const double fade = 0.995; /* a batch counts half after 140 others */
static const double spread = 2;   /* rows of the largest batch to those of the smallest */

static const double knees[COST_FIT_LAWS] = {0, 8, 16, 32, 48, 64, 80, 96, 112, 128, 160, 192};

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
        double low = rows < knees[law] ? rows : knees[law];
        add(&f->sums[law], (const double[N]){1, rows - low, pairs, low}, seconds);
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

/* 1 when e is an error clearly less than best's, that of n batches: by more than noise explains. */
static int is_clearly_less(double e, double best, double n)
{
    static const double LEFT = 0.08, A_BATCH = 1e-4; /* of the squared relative error that best leaves, and for each batch */
    return e < best - LEFT * fmax(best + n, 0) - A_BATCH * n;
}

/* The best solution without negative numbers; of those as good the first. Some quantities may be 0: the cost of low rows, of
 * attention, the fixed one. Returns 0 when there is none. */
static int solve_law(const struct cost_fit_sums *s, double n, double *x, double *error)
{
    enum { FIXED = 1, ROWS = 2, PAIRS = 4, LOW = 8 };
    static const int choices[] = {FIXED | ROWS | PAIRS | LOW, FIXED | ROWS | PAIRS, FIXED | ROWS | LOW, FIXED | ROWS,
                                  ROWS | PAIRS | LOW,         ROWS | PAIRS,         ROWS | LOW,         ROWS};
    int found = 0;
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        double y[N];
        if (solve(s, choices[i], y) && y[0] >= 0 && y[1] >= 0 && y[2] >= 0 && y[3] >= 0 && y[0] + y[1] > 0) {
            double e = error_of(s, y);
            if (!found || is_clearly_less(e, *error, n)) {
                memcpy(x, y, sizeof y);
                *error = e;
                found = 1;
            }
        }
    }
    return found;
}

int cost_fit_get(const struct cost_fit *f, struct batch_cost *out)
{
    double x[N] = {0}, e = 0, best = 0;
    int found = 0;
    if (f->n < FEWEST || f->most < spread * f->least) {
        return 0;
    }
    for (int law = 0; law < COST_FIT_LAWS && knees[law] < f->most; law++) {
        if (solve_law(&f->sums[law], f->n, x, &e) && (!found || is_clearly_less(e, best, f->n))) {
            best = e;
            found = 1;
            *out = (struct batch_cost){
                .fixed_s = x[0], .row_s = x[1], .pair_s = x[2], .knee_rows = knees[law], .low_row_s = x[3]};
        }
    }
    return found;
}
