/* SPDX-License-Identifier: MIT */
#include "kernels/sim/pace.h"

#include <errno.h>
#include <sched.h>
#include <sys/prctl.h>
#include <time.h>

#include "src/core/clock.h"

static const double poll_s = 50e-6, poll_share = 0.02;

void pace_init(void)
{
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
}

void pace_until(double until_s)
{
    double left_s = until_s - clock_now_s();
    double margin_s = left_s * poll_share < poll_s ? left_s * poll_share : poll_s;
    if (left_s > 0) {
        double wake_s = until_s - margin_s;
        struct timespec wake = {.tv_sec = (time_t)wake_s};
        wake.tv_nsec = (long)((wake_s - (double)wake.tv_sec) * 1e9);
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, NULL) == EINTR) {
        }
    }
    while (clock_now_s() < until_s) {
        sched_yield();
    }
}
