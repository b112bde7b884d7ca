/* How a thread that polls waits between polls: at once, then briefly, then lazily. SPDX-License-Identifier: MIT
 *
 * Blocking MPI calls burn a core, so the main thread polls. It spins for 20 us after the last event, sleeps 50 us at a time while
 * something happened within the last busy_s, and longer and longer after that, up to longest_us: an idle rank costs next to
 * nothing. */
#ifndef SRC_CLUSTER_WAIT_H
#define SRC_CLUSTER_WAIT_H

struct wait_policy {
    double busy_s;     /* silence up to this counts as busy */
    double longest_us; /* the longest sleep, reached 0.2 s later */
    double last_s;     /* clock_now_s() of the last event */
};

/* The policy of the message loop: busy_s 1, longest_us 3000. The fields may be changed afterwards. The wait begins now. */
void wait_init(struct wait_policy *w);
/* Something happened: the spin begins anew. */
void wait_reset(struct wait_policy *w);
/* How long to sleep now, microseconds; 0 = poll again at once. For callers that sleep on a condition variable with a time limit.
 */
double wait_next_us(const struct wait_policy *w);
/* Nothing happened: sleeps for wait_next_us. */
void wait_idle(const struct wait_policy *w);

#endif
