/* What a hop of the ring costs, and what waiting for it costs. SPDX-License-Identifier: MIT
 *
 *     mpirun -np 4 --bind-to none --oversubscribe --mca btl self,tcp build/bench/bench_link
 *
 * Every rank works as in the engine: the main thread polls the link with the waiting policy, a second thread computes (a busy
 * loop).
 *
 * - hop: one message of 16 kB goes round; each rank computes 3 ms before it passes it on. Timed window: from just before the
 *   link_send call on one rank to the return of the link_poll_received that yields the message on the next (their clocks are
 *   the same on one host only).
 * - large: a message of 2 MB whose sender begins to compute for 100 ms at the send call. Same window.
 * - idle: no message for 3 s.
 *
 * Columns: samples; median, 95th percentile and maximum of the window in us; round = (time of a whole round - the computing in
 * it) / ranks, in us: valid across hosts too, and it includes both hand-overs between the threads; wait = processor time of the
 * main thread / elapsed time of the phase (idle: of its last 2 s), median and maximum of the ranks: polling, sleeping, MPI and
 * the hand-overs. CSV on rank 0's stdout. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "src/cluster/cluster.h"
#include "src/cluster/link.h"
#include "src/cluster/wait.h"
#include "src/core/clock.h"

enum { HOP_BYTES = 16 << 10, LARGE_BYTES = 2 << 20, HOP_ROUNDS = 300, LARGE_ROUNDS = 4, WARM_UP_ROUNDS = 20, MAX_SAMPLES = 512 };

struct message {
    double sent_s;    /* the sender's clock at the send call */
    double compute_s; /* of all ranks so far in this round */
};

enum worker_state { WORKER_FREE, WORKER_BUSY, WORKER_DONE, WORKER_QUIT };

struct worker {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    enum worker_state state;
    double busy_s; /* asked for; then what it took */
};

static void *worker_main(void *context)
{
    struct worker *w = context;
    pthread_mutex_lock(&w->mutex);
    while (w->state != WORKER_QUIT) {
        if (w->state != WORKER_BUSY) {
            pthread_cond_wait(&w->changed, &w->mutex);
            continue;
        }
        pthread_mutex_unlock(&w->mutex);
        double start_s = clock_now_s();
        while (clock_now_s() - start_s < w->busy_s) {
        }
        pthread_mutex_lock(&w->mutex);
        w->busy_s = clock_now_s() - start_s;
        w->state = WORKER_DONE;
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

static void worker_set(struct worker *w, enum worker_state state, double busy_s)
{
    pthread_mutex_lock(&w->mutex);
    w->state = state;
    w->busy_s = busy_s;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
}

/* 1 once when the work is done. */
static int worker_take_done(struct worker *w)
{
    pthread_mutex_lock(&w->mutex);
    int done = w->state == WORKER_DONE;
    w->state = done ? WORKER_FREE : w->state;
    pthread_mutex_unlock(&w->mutex);
    return done;
}

static void worker_start(struct worker *w)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    w->state = WORKER_FREE;
    if (pthread_create(&w->thread, NULL, worker_main, w)) {
        fatal("no thread for the computing");
    }
}

struct bench {
    struct cluster *c;
    struct link *link;
    struct worker worker;
    struct wait_policy wait;
    uint8_t *received, *outgoing;       /* [LARGE_BYTES] owned */
    double hop_s[MAX_SAMPLES], round_s; /* samples of this rank; sum over rank 0's rounds of what is not computing */
    int n_hops;
};

/* Sleeps as the policy says, but wakes at once when the worker is done. */
static void bench_wait(struct bench *b)
{
    double us = wait_next_us(&b->wait);
    if (us <= 0) {
        return;
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(us * 1e3);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&b->worker.mutex);
    if (b->worker.state != WORKER_DONE) {
        pthread_cond_timedwait(&b->worker.changed, &b->worker.mutex, &until);
    }
    pthread_mutex_unlock(&b->worker.mutex);
}

/* Polls the link until the time is over (for ever when seconds < 0), the worker is done, or a message has come: then 1. */
static int bench_poll(struct bench *b, double seconds, int until_done)
{
    double start_s = clock_now_s();
    for (;;) {
        int32_t tag;
        size_t bytes;
        link_poll_sent(b->link, &tag);
        if (link_poll_received(b->link, &tag, &bytes)) {
            wait_reset(&b->wait);
            return 1;
        }
        if (until_done && worker_take_done(&b->worker)) {
            wait_reset(&b->wait);
            return 0;
        }
        if (seconds >= 0 && clock_now_s() - start_s > seconds) {
            return 0;
        }
        bench_wait(b);
    }
}

static void receive_hop(struct bench *b, struct message *m, int warm)
{
    while (!bench_poll(b, -1, 0)) {
    }
    double now_s = clock_now_s();
    memcpy(m, b->received, sizeof *m);
    link_post_receive(b->link, b->received, 0);
    if (warm && b->n_hops < MAX_SAMPLES) {
        b->hop_s[b->n_hops++] = now_s - m->sent_s;
    }
}

static void send_hop(struct bench *b, struct message *m, size_t bytes)
{
    m->sent_s = clock_now_s();
    memcpy(b->outgoing, m, sizeof *m);
    link_send(b->link, b->outgoing, bytes, 0);
}

static void hop_round(struct bench *b, int warm)
{
    struct message m = {0};
    double start_s = clock_now_s();
    if (b->c->rank != 0) {
        receive_hop(b, &m, warm);
    }
    worker_set(&b->worker, WORKER_BUSY, 3e-3);
    while (bench_poll(b, -1, 1)) {
    }
    m.compute_s += b->worker.busy_s;
    send_hop(b, &m, HOP_BYTES);
    if (b->c->rank == 0) {
        receive_hop(b, &m, warm);
        b->round_s += warm ? clock_now_s() - start_s - m.compute_s : 0;
    }
}

/* The receiver waits until the sender has stopped computing before it sends on, so that one rank computes at a time. */
static void large_round(struct bench *b)
{
    struct message m = {0};
    if (b->c->rank != 0) {
        receive_hop(b, &m, 1);
        bench_poll(b, 0.12, 0);
    }
    worker_set(&b->worker, WORKER_BUSY, 0.1);
    send_hop(b, &m, LARGE_BYTES);
    if (bench_poll(b, -1, 1)) {
        fatal("the message came round while its first sender was computing");
    }
    if (b->c->rank == 0) {
        receive_hop(b, &m, 1);
        bench_poll(b, 0.12, 0);
    }
}

static double thread_cpu_s(void)
{
    struct rusage use;
    getrusage(RUSAGE_THREAD, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) + 1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(struct bench *b, const char *phase, int bytes, double wait_share, int n_rounds)
{
    int size = b->c->size, n = b->n_hops;
    double *samples = calloc((size_t)size * MAX_SAMPLES, sizeof *samples), *shares = calloc((size_t)size, sizeof *shares);
    if (!samples || !shares) {
        fatal("no memory for the samples");
    }
    cluster_allgather(b->c, b->hop_s, sizeof b->hop_s, samples);
    cluster_allgather(b->c, &wait_share, sizeof wait_share, shares);
    for (int rank = 1; rank < size; rank++) {
        memmove(samples + rank * n, samples + rank * MAX_SAMPLES, (size_t)n * sizeof *samples);
    }
    n *= size;
    qsort(samples, (size_t)n, sizeof *samples, compare);
    qsort(shares, (size_t)size, sizeof *shares, compare);
    if (b->c->rank == 0) {
        printf("%s,%d,%d", phase, bytes, n);
        if (n > 0) {
            printf(",%.1f,%.1f,%.1f", 1e6 * samples[n / 2], 1e6 * samples[n * 95 / 100], 1e6 * samples[n - 1]);
        } else {
            printf(",,,");
        }
        if (n_rounds > 0) {
            printf(",%.1f", 1e6 * b->round_s / n_rounds / size);
        } else {
            printf(",");
        }
        printf(",%.3f,%.3f\n", shares[size / 2], shares[size - 1]);
        fflush(stdout);
    }
    free(samples);
    free(shares);
    b->n_hops = 0;
}

static void run_phases(struct bench *b)
{
    for (int i = 0; i < WARM_UP_ROUNDS; i++) {
        hop_round(b, 0);
    }
    double start_s = clock_now_s(), cpu_s = thread_cpu_s();
    for (int i = 0; i < HOP_ROUNDS; i++) {
        hop_round(b, 1);
    }
    report(b, "hop", HOP_BYTES, (thread_cpu_s() - cpu_s) / (clock_now_s() - start_s), HOP_ROUNDS);

    start_s = clock_now_s(), cpu_s = thread_cpu_s();
    for (int i = 0; i < LARGE_ROUNDS; i++) {
        large_round(b);
    }
    report(b, "large", LARGE_BYTES, (thread_cpu_s() - cpu_s) / (clock_now_s() - start_s), 0);

    wait_reset(&b->wait);
    bench_poll(b, 1, 0);
    start_s = clock_now_s(), cpu_s = thread_cpu_s();
    bench_poll(b, 2, 0);
    report(b, "idle", 0, (thread_cpu_s() - cpu_s) / (clock_now_s() - start_s), 0);
}

int main(int argc, char **argv)
{
    struct cluster c;
    struct error err;
    struct bench b = {.c = &c};
    if (cluster_init(&c, &argc, &argv, &err)) {
        fprintf(stderr, "bench_link: %s\n", err.text);
        return 2;
    }
    if (c.size < 2) {
        fprintf(stderr, "bench_link: at least 2 ranks are needed: mpirun -np 2 ...\n");
        cluster_finalize(&c);
        return 2;
    }
    b.received = calloc(1, LARGE_BYTES);
    b.outgoing = calloc(1, LARGE_BYTES);
    if (!b.received || !b.outgoing || link_init(&b.link, &c, 1, LARGE_BYTES, &err)) {
        fatal("the link does not start");
    }
    link_post_receive(b.link, b.received, 0);
    worker_start(&b.worker);
    wait_init(&b.wait);
    if (c.rank == 0) {
        printf("# %d ranks, %d on the host %s, %s\n", c.size, c.local_size, c.peers[0].host, cluster_library());
        printf("phase,bytes,samples,median_us,p95_us,max_us,round_us,wait_median,wait_max\n");
    }
    run_phases(&b);
    worker_set(&b.worker, WORKER_QUIT, 0);
    pthread_join(b.worker.thread, NULL);
    link_free(b.link);
    free(b.received);
    free(b.outgoing);
    cluster_finalize(&c);
    return 0;
}
