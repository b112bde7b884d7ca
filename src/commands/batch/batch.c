/* SPDX-License-Identifier: MIT */
#include "src/commands/batch/batch.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "src/commands/batch/batch_input.h"
#include "src/commands/batch/batch_options.h"
#include "src/commands/batch/batch_output.h"
#include "src/commands/batch/batch_request.h"
#include "src/commands/batch/batch_result.h"
#include "src/commands/batch/batch_stats.h"
#include "src/commands/cancel.h"
#include "src/commands/job/work.h"
#include "src/commands/progress.h"
#include "src/commands/report.h"
#include "src/commands/terminal.h"
#include "src/core/clock.h"
#include "src/core/log.h"

enum {
    MAX_SLOTS = 32,
    MIN_SLOTS = 4,
    EXIT_SIGNAL = 130, /* what shells say after Ctrl-C */
};
static const uint64_t SMALL_CACHE = 1000000000; /* bytes of KV cache that are no question */

/* Everything of one batch; what is not needed on a rank stays zeroed. */
struct batch_job {
    struct work work; /* first */
    struct batch_options options;
    struct request_params defaults;
    struct chatml chat;
    struct error no_chat;
    struct batch_setup setup;
    struct batch_input input;
    struct batch_output output;
    struct progress progress;
    const char *model_name; /* borrowed */
    struct progress_counts counts;
    double *busy_s;   /* [ranks] owned: how long each has computed on the batches that came home */
    int32_t n_active; /* requests that the generator has */
    int32_t max_active;
    int64_t n_interrupted; /* requests that a signal has ended */
    int64_t n_lost;        /* results that nobody read before the end */
    double looked_s;       /* when working_s was counted last */
};

/* -- results -- */

/* The request is over: its line goes out, or waits for those before it. */
static void put_result(struct batch_job *j, struct batch_request *b)
{
    size_t n;
    char *line = batch_result_line(b, j->model_name, (int64_t)time(NULL), &n);
    if (!line) {
        fatal("out of memory for a result");
    }
    batch_output_put(&j->output, b->index, line, n);
    batch_request_free(b);
}

static void on_token(void *context, struct sequence *q, const struct sampler_result *result)
{
    struct batch_job *j = context;
    j->counts.prompt_tokens += q->n_ids == q->n_prompt + 1 ? q->n_prompt : 0;
    j->counts.answer_tokens++;
    request_take(q->owner, result);
}

static void on_batch(struct work *w, const struct batch *batch)
{
    struct batch_job *j = (struct batch_job *)w;
    for (int32_t i = 0; i < batch->header->n_stages; i++) {
        j->busy_s[i] += (double)batch->times[i].busy_s;
    }
}

static struct batch_request *batch_request_of(struct request *r)
{
    return (struct batch_request *)(void *)((char *)r - offsetof(struct batch_request, request));
}

/* Of those that a signal ends, only what has begun to answer is told. */
static void on_end(void *context, struct sequence *q)
{
    struct batch_job *j = context;
    struct batch_request *b = batch_request_of(q->owner);
    j->n_active--;
    request_finish(&b->request);
    if (q->stop != SEQUENCE_STOP_CANCELLED) {
        j->counts.n_done++;
        put_result(j, b);
        return;
    }
    j->n_interrupted++;
    if (q->n_ids == q->n_prompt) {
        batch_request_free(b);
        return;
    }
    char message[80];
    snprintf(message, sizeof message, "a signal ended the job after %d tokens of the answer", q->n_ids - q->n_prompt);
    if (b->form != BATCH_SHORT) {
        batch_request_refuse(b, "cancelled", message);
    }
    put_result(j, b);
}

/* -- requests -- */

static void begin(struct batch_job *j, struct batch_request *b)
{
    struct error err = {0};
    if (b->code) {
        j->counts.n_done++;
        j->counts.n_failed++;
        put_result(j, b);
        return;
    }
    b->started = 1;
    if (request_init(&b->request, &j->work.model, &b->params, &b->prompt, &err)) {
        fatal("%s", err.text);
    }
    tokenizer_ids_free(&b->prompt);
    j->n_active++;
    generator_add(&j->work.generator, &b->request.sequence);
}

/* Before every batch, and now and then while there is none. */
static int on_more(void *context)
{
    struct batch_job *j = context;
    struct batch_request *b;
    double now_s = clock_now_s();
    j->counts.working_s += j->n_active > 0 ? now_s - j->looked_s : 0;
    j->looked_s = now_s;
    if (batch_output_has_failed(&j->output)) {
        cancel_now();
    }
    while (!*cancel_flag() && j->n_active < j->max_active && !batch_output_is_full(&j->output) &&
           (b = batch_input_take(&j->input))) {
        begin(j, b);
    }
    j->counts.n_total = batch_input_total(&j->input);
    progress_show(&j->progress, &j->counts);
    return !batch_input_is_done(&j->input);
}

static void wake(void *context)
{
    generator_wake(context);
}

/* -- set-up -- */

/* Input and output, before anything that takes long. */
static int open_files(struct work *w, struct error *err)
{
    struct batch_job *j = (struct batch_job *)w;
    const struct batch_options *o = &j->options;
    return batch_input_open(&j->input, o->input, err) || batch_output_open(&j->output, o->output, o->unordered, j->input.fd, err)
               ? -1
               : 0;
}

/* How many sequences when -np does not say: many when --kv-memory says what they share, else as many as have room in a cache that
 * is no larger than the weights or SMALL_CACHE, but a few in any case. By the file alone, so all ranks come to the same. */
static int choose_slots(struct work *w, struct error *err)
{
    struct job *job = &w->job;
    struct job_options *o = &job->options;
    struct plan_options po = {.n_ranks = 1,
                              .n_ctx = o->n_ctx,
                              .n_slots = 1,
                              .max_rows = o->max_rows,
                              .depth = o->depth,
                              .k_type = (enum kv_type)o->k_type,
                              .v_type = (enum kv_type)o->v_type};
    struct plan_rank all;
    if (o->n_slots > 0 || o->kv_memory > 0) {
        o->n_slots = o->n_slots > 0 ? o->n_slots : MAX_SLOTS;
        return 0;
    }
    if (plan_make(&job->sizes, &job->config, &po, &all, err)) {
        return -1;
    }
    uint64_t room = all.weight_bytes > SMALL_CACHE ? all.weight_bytes : SMALL_CACHE, n = room / (all.kv_bytes + 1);
    o->n_slots = n < MIN_SLOTS ? MIN_SLOTS : n > MAX_SLOTS ? MAX_SLOTS : (int32_t)n;
    return 0;
}

static int prepare_requests(struct work *w, struct error *err)
{
    struct batch_job *j = (struct batch_job *)w;
    struct common_options *o = &j->options.common;
    const char *slash = strrchr(o->job.model, '/');
    j->model_name = slash ? slash + 1 : o->job.model;
    int has_chat = chatml_open(&j->chat, &j->work.job.file, &j->no_chat) == 0;
    j->setup = (struct batch_setup){.model = &j->work.model,
                                    .defaults = &j->defaults,
                                    .chat = has_chat ? &j->chat : NULL,
                                    .no_chat = j->no_chat.text,
                                    .no_bos = o->no_bos,
                                    .no_special = o->no_special,
                                    .no_logprobs = job_is_simulated(&j->work.job)};
    if (job_is_simulated(&j->work.job)) {
        log_info("simulated boards: times are by their profiles, the texts mean nothing");
    }
    j->setup.seed = common_options_seed(o);
    return request_params_from_options(&j->defaults, o, &j->work.model, err);
}

static int prepare_generator(struct work *w, struct error *err)
{
    struct batch_job *j = (struct batch_job *)w;
    j->busy_s = calloc((size_t)j->work.job.cluster->size, sizeof *j->busy_s);
    if (!j->busy_s) {
        return error_set(err, "out of memory");
    }
    j->work.generator.on_token = on_token;
    j->work.generator.on_end = on_end;
    j->work.generator.more = on_more;
    j->max_active = 2 * j->work.job.options.n_slots; /* so that a slot that becomes free is not free for long */
    j->counts.busy_s = j->busy_s;
    j->counts.n_ranks = j->work.job.cluster->size;
    return 0;
}

/* -- the work -- */

static int generate(struct work *w, struct error *err)
{
    struct batch_job *j = (struct batch_job *)w;
    int on_screen = strcmp(j->options.output, "-") == 0 && terminal_reached(STDOUT_FILENO);
    progress_init(&j->progress, terminal_reached(STDERR_FILENO) && !on_screen);
    j->looked_s = clock_now_s();
    batch_input_start(&j->input, &j->setup, wake, &j->work.generator);
    generator_run(&j->work.generator);
    progress_clear(&j->progress);
    struct error input_error = {0};
    int read_failed = batch_input_close(&j->input, &input_error),
        write_failed = batch_output_close(&j->output, cancel_flag(), &j->n_lost, err);
    if (read_failed && !write_failed) {
        return error_set(err, "%s", input_error.text);
    }
    return write_failed;
}

static int report(struct work *w, const struct job_report *ranks, int failed, struct error *err)
{
    const struct batch_job *j = (const struct batch_job *)w;
    const struct progress_counts *c = &j->counts;
    double s = c->working_s > 0 ? c->working_s : 1;
    (void)err;
    struct scheduler_stats stats;
    char text[BATCH_STATS_BYTES];
    log_info("load     %.2f s", j->work.job.report.load_s);
    log_info("requests %lld in %.2f s, %.2f a second, %d at a time", (long long)c->n_done, c->working_s, (double)c->n_done / s,
             j->work.job.options.n_slots);
    log_info("prompts  %lld tokens, %.1f tokens/s", (long long)c->prompt_tokens, (double)c->prompt_tokens / s);
    log_info("answers  %lld tokens, %.1f tokens/s", (long long)c->answer_tokens, (double)c->answer_tokens / s);
    scheduler_get_stats(&j->work.scheduler, &stats);
    batch_stats_text(&stats, text);
    if (text[0]) {
        log_info("%s", text);
    }
    report_ranks(ranks, j->work.job.cluster->size, job_hop_s(&j->work.job));
    if (c->n_failed > 0) {
        log_warn("%lld of %lld requests failed; their lines say why", (long long)c->n_failed, (long long)c->n_done);
    }
    if (*cancel_flag() && !failed) {
        log_warn("ended early: %lld requests were interrupted", (long long)j->n_interrupted);
    }
    if (j->n_lost > 0 && !failed) {
        log_warn("%lld results were not written to their end: nobody reads them", (long long)j->n_lost);
    }
    w->exit_status = *cancel_flag() ? EXIT_SIGNAL : 0;
    return 0;
}

static int parse(struct work *w, int argc, char **argv, int first, struct error *err)
{
    struct batch_job *j = (struct batch_job *)w;
    w->options = &j->options.common;
    return batch_options_parse(&j->options, argc, argv, first, err);
}

static void batch_job_free(struct work *w)
{
    struct batch_job *j = (struct batch_job *)w;
    batch_input_close(&j->input, NULL);
    batch_output_close(&j->output, NULL, NULL, NULL);
    chatml_close(&j->chat);
    free(j->busy_s);
    request_params_free(&j->defaults);
    batch_options_free(&j->options);
}

int command_batch(struct cluster *cluster, int argc, char **argv, int first, struct error *err)
{
    static const struct work_steps steps = {.size = sizeof(struct batch_job),
                                            .parse = parse,
                                            .help = batch_options_help,
                                            .open = open_files,
                                            .look = choose_slots,
                                            .read = prepare_requests,
                                            .prepare = prepare_generator,
                                            .generate = generate,
                                            .report = report,
                                            .on_batch = on_batch,
                                            .free = batch_job_free};
    return work_run(&steps, cluster, argc, argv, first, err);
}
