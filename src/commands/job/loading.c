/* SPDX-License-Identifier: MIT */
#include "src/commands/job/loading.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/commands/terminal.h"
#include "src/core/clock.h"
#include "src/core/log.h"

enum { BAR_WIDTH = 24 }; /* a line has less than 80 columns, so that it is one line everywhere */
static const double TICK_US = 20000;
static const double QUIET_S = 0.3; /* nothing is drawn before */

enum { LOADING_DONE = 1, LOADING_FAILED = 2 };

struct loading {
    struct job *job;
    struct error *err;
    int status;
    _Atomic uint64_t done, total;
    atomic_int finished, stop;
    struct bell bell;
};

/* What a rank tells the others at each tick. */
struct tick {
    uint64_t done, total;
    int32_t finished, failed;
};

static int on_progress(void *context, uint64_t done, uint64_t total)
{
    struct loading *l = context;
    atomic_store(&l->done, done < total ? done : total); /* a tied matrix is read twice and counted once */
    atomic_store(&l->total, total);
    return atomic_load(&l->stop);
}

static void *load_main(void *argument)
{
    struct loading *l = argument;
    struct job *job = l->job;
    struct slice_places places = parts_places(job);
    int status = slice_load(&job->slice, &job->file, &job->config, &job->plan[job->cluster->rank].range, &places, on_progress, l,
                            l->err);
    /* Who was stopped has nothing to tell: the rank that failed has. */
    l->status = status && !atomic_load(&l->stop) ? error_prefix(l->err, "%s", job->options.model) : 0;
    atomic_store(&l->finished, l->status ? LOADING_FAILED : LOADING_DONE);
    bell_ring(&l->bell);
    return NULL;
}

static void draw(const struct job *job, const struct tick *ticks, int again)
{
    static const char full[] = "########################";
    int32_t n = job->cluster->size;
    if (again) {
        fprintf(stderr, "\033[%dA", n);
    }
    for (int32_t i = 0; i < n; i++) {
        double share = ticks[i].total ? (double)ticks[i].done / (double)ticks[i].total : ticks[i].finished;
        int bar = (int)(share * BAR_WIDTH);
        fprintf(stderr, "\r\033[Kllm: rank %3d %-12.12s [%-*.*s] %3.0f %% of %6.0f MB\n", i, job->cluster->peers[i].host,
                BAR_WIDTH, bar, full, share * 100, (double)ticks[i].total / 1e6);
    }
    fflush(stderr);
}

/* Everybody's progress, again and again until all have finished. */
static void watch(struct loading *l)
{
    struct job *job = l->job;
    int32_t size = job->cluster->size, n_finished = 0;
    struct tick *ticks = calloc((size_t)size, sizeof *ticks);
    if (!ticks) {
        fatal("out of memory");
    }
    int draws = job->cluster->rank == 0 && log_get_level() >= LOG_NORMAL && terminal_reached(STDERR_FILENO), drawn = 0;
    double start_s = clock_now_s();
    while (n_finished < size) {
        if (!atomic_load(&l->finished)) {
            bell_wait(&l->bell, TICK_US);
        } else if (size > 1) {
            clock_sleep_us(TICK_US / 10);
        }
        struct tick mine = {.done = atomic_load(&l->done),
                            .total = atomic_load(&l->total),
                            .finished = atomic_load(&l->finished) != 0,
                            .failed = atomic_load(&l->finished) == LOADING_FAILED};
        cluster_allgather(job->cluster, &mine, sizeof mine, ticks);
        n_finished = 0;
        for (int32_t i = 0; i < size; i++) {
            n_finished += ticks[i].finished;
            atomic_fetch_or(&l->stop, ticks[i].failed);
        }
        if (draws && (drawn || clock_now_s() - start_s > QUIET_S)) {
            draw(job, ticks, drawn);
            drawn = 1;
        }
    }
    free(ticks);
}

int loading_run(struct job *job, struct error *err)
{
    struct loading l = {.job = job, .err = err};
    pthread_t thread;
    bell_init(&l.bell);
    if (pthread_create(&thread, NULL, load_main, &l)) {
        fatal("cannot start the loading thread");
    }
    watch(&l);
    pthread_join(thread, NULL);
    bell_free(&l.bell);
    return l.status;
}
