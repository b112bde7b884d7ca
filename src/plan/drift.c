/* SPDX-License-Identifier: MIT */
#include "src/plan/drift.h"

void drift_add(struct drift *d, double expected_s, double measured_s)
{
    if (expected_s > 0 && measured_s > 0) {
        d->expected_s += expected_s;
        d->measured_s += measured_s;
        d->n++;
    }
}

double drift_factor(const struct drift *d, int is_shared)
{
    if (d->n < DRIFT_FEWEST) {
        return 0;
    }
    double factor = d->measured_s / d->expected_s;
    return (factor > DRIFT_CLEARLY && !is_shared) || factor < 1 / DRIFT_CLEARLY ? factor : 0;
}
