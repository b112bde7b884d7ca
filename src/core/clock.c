/* SPDX-License-Identifier: MIT */
#include "src/core/clock.h"

#include <time.h>

double clock_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void clock_sleep_us(double us)
{
    struct timespec wait;
    wait.tv_sec = (time_t)(us / 1e6);
    wait.tv_nsec = (long)((us - 1e6 * (double)wait.tv_sec) * 1e3);
    nanosleep(&wait, NULL);
}
