/* SPDX-License-Identifier: MIT */
#include "src/commands/run.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "src/commands/cancel.h"
#include "src/commands/job/divide.h"
#include "src/commands/job/work.h"
#include "src/commands/prompt.h"
#include "src/commands/report.h"
#include "src/commands/request.h"
#include "src/commands/run_options.h"
#include "src/core/clock.h"
#include "src/core/log.h"

/* Everything of one run; what is not needed on a rank stays zeroed. */
struct run {
    struct work work; /* first */
    struct run_options options;
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

static void on_prompt_logits(void *context, const struct sequence *q, int32_t position, const float *logits)
{
    struct run *r = context;
    (void)q;
    (void)position;
    if (fwrite(logits, sizeof *logits, (size_t)r->work.generator.n_vocab, r->logits) != (size_t)r->work.generator.n_vocab) {
        write_failed(r, r->options.logits_path);
    }
}

/* -- set-up on rank 0 -- */

static int read_prompt(struct work *w, struct error *err)
{
    struct run *r = (struct run *)w;
    struct run_options *o = &r->options;
    struct prompt_source source = {.text = o->prompt,
                                   .path = o->prompt_file,
                                   .ids = &o->ids,
                                   .no_bos = o->common.no_bos,
                                   .no_special = o->common.no_special};
    if (prompt_ids(&source, r->work.model.tokenizer, r->work.model.n_vocab, &r->prompt, err) ||
        request_check_prompt(&r->work.model, &r->prompt, err) ||
        request_params_from_options(&r->params, &o->common, &r->work.model, err)) {
        return -1;
    }
    r->params.sampling.seed = common_options_seed(&o->common);
    return 0;
}

static int prepare_answer(struct work *w, struct error *err)
{
    struct run *r = (struct run *)w;
    const struct run_options *o = &r->options;
    if (request_check_prompt(&r->work.model, &r->prompt, err) ||
        request_init(&r->request, &r->work.model, &r->params, &r->prompt, err)) {
        return -1;
    }
    r->request.sequence.want_prompt_logits = o->logits_path != NULL;
    if (o->logits_path && !(r->logits = fopen(o->logits_path, "wb"))) {
        return error_set(err, "%s: cannot be written: %s", o->logits_path, strerror(errno));
    }
    r->work.generator.on_token = on_token;
    r->work.generator.on_prompt_logits = r->logits ? on_prompt_logits : NULL;
    return 0;
}

/* -- the work -- */

static int generate(struct work *w, struct error *err)
{
    struct run *r = (struct run *)w;
    (void)err; /* what cannot be written is told with the report */
    divide_log_verdict(&r->work.job);
    r->begin_s = r->first_token_s = clock_now_s();
    generator_add(&r->work.generator, &r->request.sequence);
    generator_run(&r->work.generator);
    r->end_s = clock_now_s();
    request_finish(&r->request);
    show_new_text(r);
    show(r, "\n", 1);
    if (r->logits && fclose(r->logits)) {
        write_failed(r, r->options.logits_path);
    }
    r->logits = NULL;
    const struct sequence *q = &r->request.sequence;
    int is_full = q->n_ids == r->work.model.n_ctx && q->stop == SEQUENCE_STOP_LENGTH;
    if (is_full && r->work.model.n_ctx == r->work.job.options.n_ctx) {
        log_info("the context of %d positions is full; -c N makes it larger", r->work.model.n_ctx);
    } else if (is_full) {
        log_info("the KV cache of %d positions is full; --kv-memory BYTES makes it larger", r->work.model.n_ctx);
    }
    return 0;
}

static struct run_timings timings_of(const struct run *r)
{
    const struct sequence *q = &r->request.sequence;
    int32_t n_answer = q->n_ids - q->n_prompt;
    double first_s = n_answer > 0 ? r->first_token_s : r->end_s;
    struct run_timings t = {.load_s = r->work.job.report.load_s,
                            .prefill_tokens = q->n_prompt,
                            .prefill_s = first_s - r->begin_s,
                            .decode_tokens = n_answer > 1 ? n_answer - 1 : 0,
                            .decode_s = n_answer > 1 ? r->end_s - first_s : 0,
                            .hop_s = job_hop_s(&r->work.job),
                            .bytes_per_token = slice_token_bytes(&r->work.job.sizes)};
    return t;
}

static int report(struct work *w, const struct job_report *ranks, int failed, struct error *err)
{
    struct run *r = (struct run *)w;
    struct run_result result = {
        .request = &r->request, .timings = timings_of(r), .ranks = ranks, .n_ranks = r->work.job.cluster->size};
    (void)failed;
    if (atomic_load(&r->write_error)) {
        return error_set(err, "%s: cannot be written: %s", r->unwritable, strerror(atomic_load(&r->write_error)));
    }
    int status = r->options.json ? report_json(stdout, &result, err) : 0;
    report_summary(&result);
    return status;
}

/* Simulated boards have no logits to show. */
static int check_simulated(struct work *w, struct error *err)
{
    const struct run *r = (const struct run *)w;
    int wants_file = r->options.logits_path != NULL;
    if (!job_is_simulated(&r->work.job) || (!wants_file && r->options.common.sampling.n_logprobs == 0)) {
        return 0;
    }
    return error_set(err, "%s was given with --device sim:BOARD, which computes nothing: there are no logits",
                     wants_file ? "--logits-out" : "--logprobs");
}

static int parse(struct work *w, int argc, char **argv, int first, struct error *err)
{
    struct run *r = (struct run *)w;
    w->options = &r->options.common;
    return run_options_parse(&r->options, argc, argv, first, err);
}

static void run_free(struct work *w)
{
    struct run *r = (struct run *)w;
    if (r->logits) {
        fclose(r->logits);
    }
    request_free(&r->request);
    request_params_free(&r->params);
    tokenizer_ids_free(&r->prompt);
    run_options_free(&r->options);
}

int command_run(struct cluster *cluster, int argc, char **argv, int first, struct error *err)
{
    static const struct work_steps steps = {.size = sizeof(struct run),
                                            .parse = parse,
                                            .help = run_options_help,
                                            .look = check_simulated,
                                            .read = read_prompt,
                                            .prepare = prepare_answer,
                                            .generate = generate,
                                            .report = report,
                                            .free = run_free};
    return work_run(&steps, cluster, argc, argv, first, err);
}
