/* Whether a rank works as fast as it was once measured. Pure. SPDX-License-Identifier: MIT */
#ifndef SRC_PLAN_DRIFT_H
#define SRC_PLAN_DRIFT_H

#include <stdint.h>

/* One rank's batches. Zeroed is valid. */
struct drift {
    double expected_s, measured_s; /* sums */
    int64_t n;
};

/* A batch of which both are known. */
void drift_add(struct drift *d, double expected_s, double measured_s);

/* How many times as long as expected the batches took, or 0: too few to tell, or the difference is no clear one (less than
 * DRIFT_CLEARLY times in either direction). is_shared: other ranks use the same machine, so being slower proves nothing. */
#define DRIFT_CLEARLY 1.5
enum { DRIFT_FEWEST = 64 };
double drift_factor(const struct drift *d, int is_shared);

#endif
