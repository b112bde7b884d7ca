/* Threads of one rank that compute together. SPDX-License-Identifier: MIT */
#ifndef SRC_CORE_THREAD_POOL_H
#define SRC_CORE_THREAD_POOL_H

#include <stdint.h>

#include "src/core/error.h"

struct thread_pool;

/* Work on item `index` of a run; `thread` in [0, n_threads) says which scratch memory is the caller's. */
typedef void (*thread_pool_fn)(void *context, int32_t index, int32_t thread);

/* Called once by each worker (1 .. n_threads-1) as it starts, to bind itself; NULL = nothing. */
typedef void (*thread_pool_start_fn)(void *context, int32_t thread);

/* Starts n_threads - 1 workers; the thread that calls thread_pool_run is number 0. */
int thread_pool_init(struct thread_pool **pool, int32_t n_threads, thread_pool_start_fn start, void *start_context,
                     struct error *err);
void thread_pool_free(struct thread_pool *pool); /* NULL allowed */

int32_t thread_pool_size(const struct thread_pool *pool);

/* Runs fn for every index in [0, n_items) and returns when all are done. Items are taken one by one from a shared counter, so
 * which thread runs an item is not fixed: results must not depend on it. Only one thread may call this at a time.
 * Workers spin for a bounded time after a run, then sleep, so that an idle pool costs no core. */
void thread_pool_run(struct thread_pool *pool, int32_t n_items, thread_pool_fn fn, void *context);

#endif
