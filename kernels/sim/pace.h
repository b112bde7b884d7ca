/* Waits for a point in time, closely and without burning a core. SPDX-License-Identifier: MIT */
#ifndef KERNELS_SIM_PACE_H
#define KERNELS_SIM_PACE_H

/* Of a thread that waits: the kernel wakes it as exactly as it can (timer slack of 1 ns instead of 50 us). */
void pace_init(void);

/* Returns when clock_now_s() has reached until_s, never before. Sleeps to 50 us before it, or to 2 % of the way where that is
 * less, and polls the rest, giving its core to whoever wants it: a wake-up takes tens of microseconds. */
void pace_until(double until_s);

#endif
