/* SPDX-License-Identifier: MIT */
#include "src/core/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "src/core/clock.h"

enum {
    CACHE_LINE = 64,
    SPINS_BETWEEN_LOOKS = 64, /* pauses between two looks at the clock */
    SPINS_BEFORE_YIELD = 2000 /* the caller's wait for the last item, then it lets others run */
};

/* Long enough for the serial part between two operations of a step, short enough to cost nothing while a stage waits for the
 * network. */
static const double spin_s = 40e-6;

struct worker {
    struct thread_pool *pool;
    pthread_t thread;
    int32_t index;
};

/* A run is open or closed; workers enter an open run, take tickets and leave, and the caller returns when it has closed the run
 * and all who entered have left. Workers that sleep through a run are not waited for. */
struct thread_pool {
    _Alignas(CACHE_LINE) atomic_uint gate;  /* bit 0: a run is open; the rest: 2 for each worker inside */
    _Alignas(CACHE_LINE) atomic_uint epoch; /* runs so far: what idle workers watch */
    atomic_int n_sleepers;
    atomic_int stop;
    _Alignas(CACHE_LINE) atomic_int ticket; /* next item of the run */
    /* The run. Written while the gate is closed and empty. */
    _Alignas(CACHE_LINE) thread_pool_fn fn;
    void *context;
    int32_t n_items;

    int32_t n_threads;
    int spins; /* 0: more threads than CPUs, so waiting must not keep others off theirs */
    thread_pool_start_fn start;
    void *start_context;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct worker *workers; /* [n_threads - 1] owned */
};

#if defined(__x86_64__) || defined(__i386__)
static void pause_cpu(void)
{
    __asm__ volatile("pause");
}
#elif defined(__aarch64__)
static void pause_cpu(void)
{
    __asm__ volatile("yield");
}
#else
static void pause_cpu(void)
{
}
#endif

static void take_items(struct thread_pool *pool, int32_t thread)
{
    for (;;) {
        int32_t item = atomic_fetch_add_explicit(&pool->ticket, 1, memory_order_relaxed);
        if (item >= pool->n_items) {
            return;
        }
        pool->fn(pool->context, item, thread);
    }
}

static int spin_for_run(struct thread_pool *pool, unsigned seen)
{
    double end_s = clock_now_s() + spin_s;
    do {
        for (int i = 0; i < SPINS_BETWEEN_LOOKS; i++) {
            if (atomic_load_explicit(&pool->epoch, memory_order_acquire) != seen) {
                return 1;
            }
            pause_cpu();
        }
    } while (clock_now_s() < end_s);
    return 0;
}

/* n_sleepers is raised before the epoch is read, and thread_pool_run raises the epoch before it reads n_sleepers (both
 * sequentially consistent): one of the two sees the other, so no wake-up is lost. */
static void sleep_until_run(struct thread_pool *pool, unsigned seen)
{
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->n_sleepers, 1);
    while (atomic_load(&pool->epoch) == seen) {
        pthread_cond_wait(&pool->wake, &pool->mutex);
    }
    atomic_fetch_sub(&pool->n_sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct thread_pool *pool = worker->pool;
    unsigned seen = 0;
    if (pool->start) {
        pool->start(pool->start_context, worker->index);
    }
    for (;;) {
        if (!pool->spins || !spin_for_run(pool, seen)) {
            sleep_until_run(pool, seen);
        }
        seen = atomic_load(&pool->epoch);
        if (atomic_load(&pool->stop)) {
            return NULL;
        }
        if (atomic_fetch_add_explicit(&pool->gate, 2, memory_order_acquire) & 1) {
            take_items(pool, worker->index);
        }
        atomic_fetch_sub_explicit(&pool->gate, 2, memory_order_release);
    }
}

static void announce(struct thread_pool *pool)
{
    atomic_fetch_add(&pool->epoch, 1);
    if (atomic_load(&pool->n_sleepers) > 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->mutex);
    }
}

void thread_pool_run(struct thread_pool *pool, int32_t n_items, thread_pool_fn fn, void *context)
{
    if (pool->n_threads == 1 || n_items <= 1) {
        for (int32_t i = 0; i < n_items; i++) {
            fn(context, i, 0);
        }
        return;
    }
    pool->fn = fn;
    pool->context = context;
    pool->n_items = n_items;
    atomic_store_explicit(&pool->ticket, 0, memory_order_relaxed);
    atomic_fetch_or_explicit(&pool->gate, 1, memory_order_release);
    announce(pool);
    take_items(pool, 0);
    atomic_fetch_and_explicit(&pool->gate, ~1u, memory_order_acq_rel);
    for (int i = 0; atomic_load_explicit(&pool->gate, memory_order_acquire) != 0; i++) {
        if (pool->spins && i < SPINS_BEFORE_YIELD) {
            pause_cpu();
        } else {
            sched_yield();
        }
    }
}

int32_t thread_pool_size(const struct thread_pool *pool)
{
    return pool->n_threads;
}

static int n_allowed_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return 1;
    }
    return CPU_COUNT(&set);
}

int thread_pool_init(struct thread_pool **out, int32_t n_threads, thread_pool_start_fn start, void *start_context,
                     struct error *err)
{
    if (n_threads < 1) {
        return error_set(err, "thread pool: %d threads; expected at least 1", n_threads);
    }
    struct thread_pool *pool = aligned_alloc(CACHE_LINE, sizeof *pool);
    if (!pool) {
        return error_set(err, "thread pool: out of memory");
    }
    memset(pool, 0, sizeof *pool);
    pool->n_threads = 1;
    pool->spins = n_threads <= n_allowed_cpus();
    pool->start = start;
    pool->start_context = start_context;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->workers = calloc((size_t)n_threads, sizeof *pool->workers);
    if (!pool->workers) {
        thread_pool_free(pool);
        return error_set(err, "thread pool: out of memory");
    }
    for (int32_t i = 1; i < n_threads; i++) {
        struct worker *worker = &pool->workers[i - 1];
        worker->pool = pool;
        worker->index = i;
        int status = pthread_create(&worker->thread, NULL, worker_main, worker);
        if (status != 0) {
            thread_pool_free(pool);
            return error_set(err, "thread pool: cannot start thread %d of %d: %s", i, n_threads, strerror(status));
        }
        pool->n_threads = i + 1;
    }
    *out = pool;
    return 0;
}

void thread_pool_free(struct thread_pool *pool)
{
    if (!pool) {
        return;
    }
    atomic_store(&pool->stop, 1);
    announce(pool);
    for (int32_t i = 1; i < pool->n_threads; i++) {
        pthread_join(pool->workers[i - 1].thread, NULL);
    }
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->workers);
    free(pool);
}
