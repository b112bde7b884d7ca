/* Threads of execution that are entered and left by hand; all use belongs to one caller at a time. SPDX-License-Identifier: MIT
 */
#ifndef TESTS_CUDA_HOST_FIBER_H
#define TESTS_CUDA_HOST_FIBER_H

namespace cuda_host
{
struct fiber;

/* A fiber that will run body again and again once it is switched to; from a pool that never shrinks. */
fiber *fiber_take(void (*body)());
/* Back to the pool. A fiber may give back itself; it goes on when somebody has taken it and switches to it. */
void fiber_give(fiber *given);
/* The one that runs; NULL outside of all. */
fiber *fiber_self();
/* Is that on its stack? */
bool fiber_has(const fiber *self, const void *at);
/* Runs that fiber, and those that it switches to, until one of them switches to NULL. */
void fiber_enter(fiber *to);
/* In a fiber: leaves it for another one, NULL: for who called fiber_enter. Returns when somebody switches back. */
void fiber_switch(fiber *to);
} // namespace cuda_host

#endif
