/* When a remembered speed is no longer true. SPDX-License-Identifier: MIT */
#include "src/plan/drift.h"

#include "tests/check.h"

static double factor_of(int n, double expected_s, double measured_s, int is_shared)
{
    struct drift d = {0};
    for (int i = 0; i < n; i++) {
        drift_add(&d, expected_s, measured_s);
    }
    return drift_factor(&d, is_shared);
}

int main(void)
{
    CHECK_THAT(factor_of(DRIFT_FEWEST, 1, 1, 0) == 0, "as expected");
    CHECK_THAT(factor_of(DRIFT_FEWEST, 1, 1.4, 0) == 0, "a little slower");
    CHECK_THAT(factor_of(DRIFT_FEWEST, 1, 0.75, 0) == 0, "a little faster");
    CHECK_THAT(factor_of(DRIFT_FEWEST, 1, 2, 0) == 2, "twice as slow");
    CHECK_THAT(factor_of(DRIFT_FEWEST, 1, 0.5, 0) == 0.5, "twice as fast");
    CHECK_THAT(factor_of(DRIFT_FEWEST - 1, 1, 2, 0) == 0, "too few batches");
    CHECK_THAT(factor_of(DRIFT_FEWEST, 1, 2, 1) == 0, "slow because others use the machine");
    CHECK_THAT(factor_of(DRIFT_FEWEST, 1, 0.5, 1) == 0.5, "fast though others use the machine");
    CHECK_THAT(factor_of(DRIFT_FEWEST, 0, 2, 0) == 0, "a rank that has nothing to do");
    /* Sums decide: one slow batch among many says nothing. */
    struct drift d = {0};
    for (int i = 0; i < 2 * DRIFT_FEWEST; i++) {
        drift_add(&d, 1, i == 0 ? 20 : 1);
    }
    CHECK_THAT(drift_factor(&d, 0) == 0, "one slow batch: %g", drift_factor(&d, 0));
    return check_result();
}
