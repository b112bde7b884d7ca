/* Threads of execution that are entered and left by hand; all use belongs to one caller at a time. SPDX-License-Identifier: MIT
 */
#ifndef TESTS_CUDA_HOST_FIBER_H
#define TESTS_CUDA_HOST_FIBER_H

namespace cuda_host
{
struct fiber;

/* A fiber that will run body when it is entered; from a pool that never shrinks. */
struct fiber *fiber_take(void (*body)());
/* Back to the pool; its body must have ended. */
void fiber_give(struct fiber *fiber);
/* Runs it until it leaves or its body ends. */
void fiber_enter(struct fiber *fiber);
/* In a fiber: back to who entered it. */
void fiber_leave();
} // namespace cuda_host

#endif
