/* Monotonic time. SPDX-License-Identifier: MIT */
#ifndef SRC_CORE_CLOCK_H
#define SRC_CORE_CLOCK_H

/* Seconds since an arbitrary start, never going back. */
double clock_now_s(void);

/* Sleeps for about the given time; returns early on a signal. */
void clock_sleep_us(double us);

#endif
