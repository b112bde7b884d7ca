/* SPDX-License-Identifier: MIT */
#include "src/commands/job/work.h"

#include <stdlib.h>

#include "src/commands/cancel.h"
#include "src/commands/report.h"

static int is_end(void *context, int32_t id)
{
    const struct work *w = context;
    return tokenizer_is_end(w->model.tokenizer, id);
}

static void on_batch(void *context, const struct batch *batch)
{
    struct work *w = context;
    speed_watch_add(&w->job, batch);
    if (w->steps->on_batch) {
        w->steps->on_batch(w, batch);
    }
}

/* Rank 0: what is to be answered. */
static int read_first(struct work *w, struct error *err)
{
    common_options_warn(w->options, &w->job);
    if (request_model_open(&w->model, &w->job.file, w->job.config.n_vocab, w->job.options.n_ctx, err)) {
        return error_prefix(err, "%s", w->options->job.model);
    }
    return w->steps->read(w, err);
}

static int prepare_first(struct work *w, struct error *err)
{
    int64_t n_cached = (int64_t)w->job.n_pages * KV_PAGE; /* a request may have the cache for itself, no more */
    w->model.n_ctx = n_cached < w->model.n_ctx ? (int32_t)n_cached : w->model.n_ctx;
    if (job_make_generator(&w->job, &w->scheduler, &w->generator, err)) {
        return -1;
    }
    w->generator.is_end = is_end;
    w->generator.on_batch = on_batch;
    w->generator.context = w;
    w->generator.cancel = cancel_flag();
    return w->steps->prepare(w, err);
}

/* The ranks behind work until rank 0 stops them. */
static int generate(struct work *w, int status, struct error *err)
{
    int failed = 0;
    cancel_catch_signals();
    if (w->job.cluster->rank > 0) {
        stage_work(&w->job.stage);
        return 0;
    }
    if (status == 0) {
        common_options_report_seed(w->options);
        report_partition(&w->job);
        failed = w->steps->generate(w, err);
    }
    stage_stop(&w->job.stage);
    return failed;
}

static int report(struct work *w, int failed, struct error *err)
{
    struct cluster *c = w->job.cluster;
    struct job_report *ranks = calloc((size_t)c->size, sizeof *ranks);
    if (!ranks) {
        fatal("out of memory");
    }
    job_gather_reports(&w->job, ranks);
    int status = c->rank == 0 ? w->steps->report(w, ranks, failed, err) : 0;
    speed_watch_report(&w->job);
    free(ranks);
    return cluster_agree(c, status || failed ? -1 : 0, err);
}

static int run_steps(struct work *w, struct cluster *c, struct error *err)
{
    const struct work_steps *s = w->steps;
    int first = c->rank == 0;
    if (cluster_agree(c, first && s->open ? s->open(w, err) : 0, err) || job_open(&w->job, c, &w->options->job, err) ||
        cluster_agree(c, s->look ? s->look(w, err) : 0, err) || cluster_agree(c, first ? read_first(w, err) : 0, err) ||
        job_start(&w->job, &w->generator, err)) {
        return -1;
    }
    int status = cluster_agree(c, first ? prepare_first(w, err) : 0, err), failed = generate(w, status, err);
    if (status || report(w, failed, err) || job_trace_write(&w->job.trace, c, err)) {
        return -1;
    }
    return first ? w->exit_status : 0;
}

static void work_free(struct work *w)
{
    w->steps->free(w);
    generator_free(&w->generator);
    scheduler_free(&w->scheduler);
    request_model_close(&w->model);
    job_close(&w->job);
    free(w);
}

int work_run(const struct work_steps *steps, struct cluster *cluster, int argc, char **argv, int first, struct error *err)
{
    struct work *w = calloc(1, steps->size);
    if (!w) {
        fatal("out of memory");
    }
    w->steps = steps;
    int status = cluster_agree(cluster, steps->parse(w, argc, argv, first, err), err);
    if (status == 0 && w->options->help) {
        if (cluster->rank == 0) {
            steps->help(stdout);
        }
    } else if (status == 0) {
        status = run_steps(w, cluster, err);
    }
    work_free(w);
    return status;
}
