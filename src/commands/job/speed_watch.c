/* SPDX-License-Identifier: MIT */
#include "src/commands/job/speed_watch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/commands/job/job.h"
#include "src/core/log.h"

static void start(struct job *job)
{
    size_t size = (size_t)job->cluster->size;
    struct speed_watch *w = &job->watch;
    w->ranks = calloc(size, sizeof *w->ranks);
    w->drifts = calloc(size, sizeof *w->drifts);
    if (!w->ranks || !w->drifts) {
        fatal("out of memory");
    }
    for (size_t i = 0; i < size; i++) {
        w->ranks[i].speed = job->speeds[i];
    }
}

void speed_watch_add(struct job *job, const struct batch *batch)
{
    struct speed_watch *w = &job->watch;
    if (!job->speeds || job_is_simulated(job) || batch->header->n_rows == 0) {
        return;
    }
    if (!w->drifts) {
        start(job);
    }
    int32_t n_rows = batch->header->n_rows, n_tokens = 0;
    double past = 0;
    for (int32_t i = 0; i < n_rows; i++) {
        past += (double)batch->rows[i].position / n_rows;
        n_tokens += (batch->rows[i].flags & BATCH_ROW_WANTS_TOKEN) != 0;
    }
    struct predict_input in = {
        .n_ranks = job->cluster->size, .ranks = w->ranks, .plan = job->plan, .sizes = &job->sizes, .dim = job->config.dim};
    struct speed_step step = {.n_rows = n_rows, .past = past};
    step.chunk = n_rows > 2 * n_tokens;
    step.past -= step.chunk ? fmin(past, (n_rows - 1) / 2.0) : 0; /* a chunk's past is what lies before all of it */
    for (int32_t rank = 0; rank < job->cluster->size; rank++) {
        drift_add(&w->drifts[rank], predict_rank_s(&in, rank, &step, n_tokens), (double)batch->times[rank].busy_s);
    }
}

void speed_watch_report(const struct job *job)
{
    const struct cluster *c = job->cluster;
    const struct drift *drifts = job->watch.drifts;
    int32_t worst = -1;
    double most = 1;
    for (int32_t rank = 0; drifts && !job->options.calibrate && rank < c->size; rank++) {
        double factor = drift_factor(&drifts[rank], c->peers[rank].local_size > 1), off = factor > 1 ? factor : 1 / factor;
        if (factor > 0 && off > most && parts_is_as_measured(job, rank)) {
            worst = rank;
            most = off;
        }
    }
    if (worst >= 0) {
        log_info("rank %d %s was %.1f times as %s as remembered; --calibrate measures again", worst, c->peers[worst].host, most,
                 drift_factor(&drifts[worst], 0) > 1 ? "slow" : "fast");
    }
}

void speed_watch_free(struct speed_watch *w)
{
    free(w->ranks);
    free(w->drifts);
    memset(w, 0, sizeof *w);
}
