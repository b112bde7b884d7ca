/* SPDX-License-Identifier: MIT */
#include "src/cluster/wait.h"

#include "src/core/clock.h"

/* 50 us: a message waits 25 us on average and 4 ranks that wait 3 ms each turn spend about an eighth of a core. 200 us halves
 * that and doubles the time of a hop. */
static const double spin_s = 20e-6, nap_us = 50, growth_s = 0.2;

void wait_init(struct wait_policy *w)
{
    *w = (struct wait_policy){.busy_s = 1, .longest_us = 3000, .last_s = clock_now_s()};
}

void wait_reset(struct wait_policy *w)
{
    w->last_s = clock_now_s();
}

double wait_next_us(const struct wait_policy *w)
{
    double silence_s = clock_now_s() - w->last_s;
    if (silence_s < spin_s) {
        return 0;
    }
    if (silence_s < w->busy_s) {
        return nap_us;
    }
    double share = (silence_s - w->busy_s) / growth_s;
    return share >= 1 ? w->longest_us : nap_us + share * (w->longest_us - nap_us);
}

void wait_idle(const struct wait_policy *w)
{
    double us = wait_next_us(w);
    if (us > 0) {
        clock_sleep_us(us);
    }
}
