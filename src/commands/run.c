/* SPDX-License-Identifier: MIT */
#include "src/commands/run.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "src/commands/cancel.h"
#include "src/commands/job/divide.h"
#include "src/commands/prompt.h"
#include "src/commands/report.h"
#include "src/commands/request.h"
#include "src/commands/run_options.h"
#include "src/core/clock.h"
#include "src/core/log.h"

/* Everything of one run; what is not needed on a rank stays zeroed. */
struct run {
    struct run_options options;
    struct job job;
    struct scheduler scheduler;
    struct generator generator;
    struct request_model model;
    struct request_params params;
    struct tokenizer_ids prompt;
    struct request request;
    size_t n_shown; /* bytes of the request's text */
    FILE *logits;
    atomic_int write_error; /* errno of the first write that failed; the run stops then */
    const char *unwritable; /* what could not be written */
    double begin_s, first_token_s, end_s;
};

/* -- output -- */

static void write_failed(struct run *r, const char *what)
{
    int none = 0;
    if (atomic_compare_exchange_strong(&r->write_error, &none, errno)) {
        r->unwritable = what;
    }
    cancel_now();
}

static void show(struct run *r, const char *bytes, size_t n)
{
    if (n > 0 && !r->options.json && (fwrite(bytes, 1, n, stdout) != n || fflush(stdout))) {
        write_failed(r, "standard output");
    }
}

static void show_new_text(struct run *r)
{
    if (r->request.text) {
        show(r, r->request.text + r->n_shown, r->request.n_text - r->n_shown);
    }
    r->n_shown = r->request.n_text;
}

static void on_token(void *context, struct sequence *q, const struct sampler_result *result)
{
    struct run *r = context;
    if (q->n_ids == q->n_prompt + 1) {
        r->first_token_s = clock_now_s();
    }
    request_take(&r->request, result);
    show_new_text(r);
}

static int is_end(void *context, int32_t id)
{
    const struct run *r = context;
    return tokenizer_is_end(r->model.tokenizer, id);
}

static void on_prompt_logits(void *context, const struct sequence *q, int32_t position, const float *logits)
{
    struct run *r = context;
    (void)q;
    (void)position;
    if (fwrite(logits, sizeof *logits, (size_t)r->generator.n_vocab, r->logits) != (size_t)r->generator.n_vocab) {
        write_failed(r, r->options.logits_path);
    }
}

/* -- set-up on rank 0 -- */

static int read_prompt(struct run *r, struct error *err)
{
    const struct run_options *o = &r->options;
    struct prompt_source source = {.text = o->prompt,
                                   .path = o->prompt_file,
                                   .ids = &o->ids,
                                   .no_bos = o->common.no_bos,
                                   .no_special = o->common.no_special};
    if (request_model_open(&r->model, &r->job.file, r->job.config.n_vocab, r->job.options.n_ctx, err)) {
        return error_prefix(err, "%s", o->common.job.model);
    }
    if (prompt_ids(&source, r->model.tokenizer, r->model.n_vocab, &r->prompt, err) ||
        request_check_prompt(&r->model, &r->prompt, err)) {
        return -1;
    }
    return request_params_from_options(&r->params, &o->common, &r->model, err);
}

static int prepare_answer(struct run *r, struct error *err)
{
    const struct run_options *o = &r->options;
    int64_t n_cached = (int64_t)r->job.n_pages * KV_PAGE;
    r->model.n_ctx = n_cached < r->model.n_ctx ? (int32_t)n_cached : r->model.n_ctx;
    if (request_check_prompt(&r->model, &r->prompt, err) || request_init(&r->request, &r->model, &r->params, &r->prompt, err)) {
        return -1;
    }
    r->request.sequence.want_prompt_logits = o->logits_path != NULL;
    if (o->logits_path && !(r->logits = fopen(o->logits_path, "wb"))) {
        return error_set(err, "%s: cannot be written: %s", o->logits_path, strerror(errno));
    }
    if (job_make_generator(&r->job, &r->scheduler, &r->generator, err)) {
        return -1;
    }
    r->generator.on_token = on_token;
    r->generator.on_prompt_logits = r->logits ? on_prompt_logits : NULL;
    r->generator.is_end = is_end;
    r->generator.context = r;
    r->generator.cancel = cancel_flag();
    return 0;
}

/* -- the work -- */

static void generate(struct run *r)
{
    r->begin_s = r->first_token_s = clock_now_s();
    generator_add(&r->generator, &r->request.sequence);
    cancel_catch_signals();
    generator_run(&r->generator);
    r->end_s = clock_now_s();
    request_finish(&r->request);
    show_new_text(r);
    show(r, "\n", 1);
    if (r->logits && fclose(r->logits)) {
        write_failed(r, r->options.logits_path);
    }
    r->logits = NULL;
    const struct sequence *q = &r->request.sequence;
    int is_full = q->n_ids == r->model.n_ctx && q->stop == SEQUENCE_STOP_LENGTH;
    if (is_full && r->model.n_ctx == r->job.options.n_ctx) {
        log_info("the context of %d positions is full; -c N makes it larger", r->model.n_ctx);
    } else if (is_full) {
        log_info("the KV cache of %d positions is full; --kv-memory BYTES makes it larger", r->model.n_ctx);
    }
    stage_stop(&r->job.stage);
}

static struct run_timings timings_of(const struct run *r)
{
    const struct sequence *q = &r->request.sequence;
    int32_t n_answer = q->n_ids - q->n_prompt;
    double first_s = n_answer > 0 ? r->first_token_s : r->end_s;
    struct run_timings t = {.load_s = r->job.report.load_s,
                            .prefill_tokens = q->n_prompt,
                            .prefill_s = first_s - r->begin_s,
                            .decode_tokens = n_answer > 1 ? n_answer - 1 : 0,
                            .decode_s = n_answer > 1 ? r->end_s - first_s : 0,
                            .hop_s = job_hop_s(&r->job),
                            .bytes_per_token = slice_token_bytes(&r->job.sizes)};
    return t;
}

static int report(struct run *r, struct error *err)
{
    struct cluster *c = r->job.cluster;
    struct job_report *reports = calloc((size_t)c->size, sizeof *reports);
    if (!reports) {
        fatal("out of memory");
    }
    job_gather_reports(&r->job, reports);
    int status = 0;
    if (c->rank == 0) {
        struct run_result result = {.request = &r->request, .timings = timings_of(r), .ranks = reports, .n_ranks = c->size};
        if (atomic_load(&r->write_error)) {
            status = error_set(err, "%s: cannot be written: %s", r->unwritable, strerror(atomic_load(&r->write_error)));
        } else {
            status = r->options.json ? report_json(stdout, &result, err) : 0;
            report_summary(&result);
        }
    }
    free(reports);
    return cluster_agree(c, status, err);
}

/* Simulated boards have no logits to show. */
static int check_simulated(const struct run *r, struct error *err)
{
    int wants_file = r->options.logits_path != NULL;
    if (!job_is_simulated(&r->job) || (!wants_file && r->options.common.sampling.n_logprobs == 0)) {
        return 0;
    }
    return error_set(err, "%s was given with --device sim:BOARD, which computes nothing: there are no logits",
                     wants_file ? "--logits-out" : "--logprobs");
}

static int run_all(struct run *r, struct cluster *cluster, struct error *err)
{
    int first = cluster->rank == 0;
    if (job_open(&r->job, cluster, &r->options.common.job, err) || cluster_agree(cluster, check_simulated(r, err), err)) {
        return -1;
    }
    if (first) {
        common_options_warn(&r->options.common);
    }
    if (cluster_agree(cluster, first ? read_prompt(r, err) : 0, err)) {
        return -1;
    }
    if (first) {
        r->params.sampling.seed = common_options_seed(&r->options.common);
    }
    if (job_start(&r->job, &r->generator, err)) {
        return -1;
    }
    int status = cluster_agree(cluster, first ? prepare_answer(r, err) : 0, err);
    if (!first) {
        cancel_catch_signals();
        stage_work(&r->job.stage);
    } else if (status) {
        stage_stop(&r->job.stage);
    } else {
        common_options_report_seed(&r->options.common);
        report_partition(&r->job);
        divide_log_verdict(&r->job);
        generate(r);
    }
    return status || report(r, err) || job_trace_write(&r->job.trace, cluster, err) ? -1 : 0;
}

static void run_free(struct run *r)
{
    if (r->logits) {
        fclose(r->logits);
    }
    generator_free(&r->generator);
    scheduler_free(&r->scheduler);
    request_free(&r->request);
    request_params_free(&r->params);
    tokenizer_ids_free(&r->prompt);
    request_model_close(&r->model);
    job_close(&r->job);
    run_options_free(&r->options);
}

int command_run(struct cluster *cluster, int argc, char **argv, int first, struct error *err)
{
    struct run *r = calloc(1, sizeof *r);
    if (!r) {
        fatal("out of memory");
    }
    int status = cluster_agree(cluster, run_options_parse(&r->options, argc, argv, first, err), err);
    if (status == 0 && r->options.common.help) {
        if (cluster->rank == 0) {
            run_options_help(stdout);
        }
    } else if (status == 0) {
        status = run_all(r, cluster, err);
    }
    run_free(r);
    free(r);
    return status;
}
