/* Learns what a batch costs from batches that were computed. SPDX-License-Identifier: MIT
 *
 * Weighted least squares (relative errors, old batches fade) for struct batch_cost, nothing below zero; knee_rows is one of a few
 * values, the one that fits best. Which tokens come out does not depend on it: it only decides how prompts are cut. */
#ifndef SRC_ENGINE_COST_FIT_H
#define SRC_ENGINE_COST_FIT_H

#include "src/engine/batch_cost.h"

enum { COST_FIT_LAWS = 12, COST_FIT_UNKNOWNS = 4 }; /* values of knee_rows that are tried */

struct cost_fit {
    struct cost_fit_sums {
        double a[COST_FIT_UNKNOWNS][COST_FIT_UNKNOWNS]; /* of x x', x = (1, rows beyond the knee, pairs, rows below it) / t */
        double b[COST_FIT_UNKNOWNS];                    /* of x */
    } sums[COST_FIT_LAWS];
    double least, most; /* rows of the smallest and the largest batch */
    double n;           /* batches, faded like the sums */
};

/* A batch of `rows` rows that attended `pairs` positions took `seconds` (> 0) on its slowest stage. */
void cost_fit_add(struct cost_fit *f, double rows, double pairs, double seconds);
/* 1 and *out, or 0 while the batches so far were too few or too much alike to tell fixed cost and rows apart. */
int cost_fit_get(const struct cost_fit *f, struct batch_cost *out);

#endif
