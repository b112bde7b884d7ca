/* Every item runs exactly once, whatever the threads do. SPDX-License-Identifier: MIT */
#include <stdatomic.h>

#include "src/core/clock.h"
#include "src/core/thread_pool.h"
#include "tests/check.h"

enum { MAX_ITEMS = 100 };

struct counts {
    atomic_int item[MAX_ITEMS];
    int32_t n_threads;
    atomic_int bad_thread;
    int plain[MAX_ITEMS]; /* written by one thread, read by the caller after the run */
};

static void count_item(void *context, int32_t index, int32_t thread)
{
    struct counts *counts = context;
    atomic_fetch_add(&counts->item[index], 1);
    counts->plain[index]++;
    if (thread < 0 || thread >= counts->n_threads) {
        atomic_store(&counts->bad_thread, 1);
    }
}

static void note_start(void *context, int32_t thread)
{
    atomic_fetch_add((atomic_int *)context, thread);
}

/* Many short runs of all sizes, with pauses that let workers fall asleep at every moment. */
static void test_runs(int32_t n_threads, int n_runs)
{
    struct thread_pool *pool;
    struct error err = {0};
    struct counts counts = {.n_threads = n_threads};
    int expected[MAX_ITEMS] = {0};
    atomic_int started = 0;
    CHECK_INT(thread_pool_init(&pool, n_threads, note_start, &started, &err), 0);
    CHECK_INT(thread_pool_size(pool), n_threads);
    for (int run = 0; run < n_runs; run++) {
        int32_t n = run * 7 % MAX_ITEMS;
        thread_pool_run(pool, n, count_item, &counts);
        for (int i = 0; i < n; i++) {
            expected[i]++;
            if (counts.plain[i] != expected[i]) {
                CHECK_INT(counts.plain[i], expected[i]);
            }
        }
        if (run % 64 == 0) {
            clock_sleep_us(run % 3 * 40.0);
        }
    }
    for (int i = 0; i < MAX_ITEMS; i++) {
        CHECK_INT(counts.item[i], expected[i]);
    }
    CHECK_INT(counts.bad_thread, 0);
    thread_pool_free(pool);
    CHECK_INT(started, n_threads * (n_threads - 1) / 2);
}

int main(void)
{
    struct error err = {0};
    struct thread_pool *pool;
    test_runs(1, 20000);
    test_runs(2, 20000);
    test_runs(5, 3000);
    for (int i = 0; i < 100; i++) {
        test_runs(3, i % 3);
    }
    CHECK_INT(thread_pool_init(&pool, 0, NULL, NULL, &err), -1);
    CHECK_TEXT(err.text, "thread pool: 0 threads; expected at least 1");
    thread_pool_free(NULL);
    return check_result();
}
