/* SPDX-License-Identifier: MIT */
#include "src/commands/run.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "io/tokenizer.h"
#include "src/commands/divide.h"
#include "src/commands/job.h"
#include "src/commands/prompt.h"
#include "src/commands/report.h"
#include "src/commands/run_options.h"
#include "src/core/clock.h"
#include "src/core/log.h"
#include "src/engine/generator.h"
#include "src/engine/stop.h"

/* Everything of one run; what is not needed on a rank stays zeroed. */
struct run {
    struct run_options options;
    struct job job;
    struct scheduler scheduler;
    struct generator generator;
    struct tokenizer *tokenizer;
    struct tokenizer_ids prompt;
    struct sampler_bias *biases; /* owned */
    struct sequence sequence;
    struct tokenizer_stream stream;
    struct stop_matcher stop;
    char *piece; /* [tokenizer_max_piece] owned */
    char *text;  /* [n_text] owned: all that was shown */
    size_t n_text, text_capacity;
    struct sampler_result *logprobs; /* [max answer] owned, NULL when not wanted */
    FILE *logits;
    atomic_int write_error; /* errno of the first write that failed; the run stops then */
    const char *unwritable; /* what could not be written */
    double begin_s, first_token_s, end_s;
};

/* -- output -- */

static volatile sig_atomic_t cancelled; /* by the user's signal, or because a result cannot be written */

static void on_signal(int signal_number)
{
    (void)signal_number;
    cancelled = 1;
}

/* Ctrl-C, and the SIGTERM that mpirun makes of it, end the answer and not the program; a second one ends the program. The ranks
 * behind go on until rank 0 has stopped them. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void write_failed(struct run *r, const char *what)
{
    int none = 0;
    if (atomic_compare_exchange_strong(&r->write_error, &none, errno)) {
        r->unwritable = what;
    }
    cancelled = 1;
}

static void show(struct run *r, const char *bytes, size_t n)
{
    if (n == 0) {
        return;
    }
    if (!r->options.json) {
        if (fwrite(bytes, 1, n, stdout) != n || fflush(stdout)) {
            write_failed(r, "standard output");
        }
        return;
    }
    if (r->n_text + n > r->text_capacity) {
        size_t capacity = 2 * (r->n_text + n) + 256;
        char *text = realloc(r->text, capacity);
        if (!text) {
            fatal("out of memory for the text");
        }
        r->text = text;
        r->text_capacity = capacity;
    }
    memcpy(r->text + r->n_text, bytes, n);
    r->n_text += n;
}

/* Text on its way out passes the stop strings. */
static void put_text(struct run *r, const char *bytes, size_t n)
{
    struct error err;
    const char *shown = bytes;
    size_t n_shown = n;
    int found = stop_put(&r->stop, bytes, n, &shown, &n_shown, &err);
    if (found < 0) {
        fatal("%s", err.text);
    }
    show(r, shown, n_shown);
    if (found && r->sequence.stop == SEQUENCE_RUNNING) {
        r->sequence.stop = SEQUENCE_STOP_STRING;
    }
}

static void on_token(void *context, struct sequence *q, const struct sampler_result *result)
{
    struct run *r = context;
    int32_t index = q->n_ids - 1 - q->n_prompt;
    if (index == 0) {
        r->first_token_s = clock_now_s();
    }
    if (r->logprobs) {
        r->logprobs[index] = *result;
    }
    if (tokenizer_is_end(r->tokenizer, result->id)) {
        q->stop = SEQUENCE_STOP_EOS;
    } else if (tokenizer_kind(r->tokenizer) == TOKENIZER_NONE) {
        int n = snprintf(r->piece, tokenizer_max_piece(r->tokenizer) + 16, index ? " %d" : "%d", result->id);
        put_text(r, r->piece, (size_t)n);
    } else {
        put_text(r, r->piece, tokenizer_stream_put(&r->stream, result->id, r->piece));
    }
}

static int is_end(void *context, int32_t id)
{
    const struct run *r = context;
    return tokenizer_is_end(r->tokenizer, id);
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

/* --logit-bias and --ignore-eos as one list. */
static int make_biases(struct run *r, struct error *err)
{
    int32_t n_vocab = r->job.config.n_vocab, n_tokens = tokenizer_n_tokens(r->tokenizer);
    int n = r->options.biases.n;
    for (int32_t i = 0; r->options.ignore_eos && i < n_tokens; i++) {
        n += tokenizer_is_end(r->tokenizer, i);
    }
    r->biases = calloc((size_t)n + 1, sizeof *r->biases);
    if (!r->biases) {
        return error_set(err, "out of memory");
    }
    int at = 0;
    for (; at < r->options.biases.n; at++) {
        if (run_options_parse_bias(r->options.biases.texts[at], n_vocab, &r->biases[at], err)) {
            return -1;
        }
    }
    for (int32_t i = 0; r->options.ignore_eos && i < n_tokens && i < n_vocab; i++) {
        if (tokenizer_is_end(r->tokenizer, i)) {
            r->biases[at++] = (struct sampler_bias){.id = i, .bias = -INFINITY};
        }
    }
    r->options.sampling.bias = r->biases;
    r->options.sampling.n_bias = at;
    return 0;
}

static void choose_seed(struct run *r)
{
    uint32_t random = 0;
    if (r->options.seed < 0) {
        if (getrandom(&random, sizeof random, 0) != sizeof random) {
            random = (uint32_t)(clock_now_s() * 1e6);
        }
        r->options.seed = random;
        if (r->options.sampling.temperature > 0) {
            log_info("seed %u", random);
        }
    }
    r->options.sampling.seed = (uint64_t)r->options.seed;
}

static int read_prompt(struct run *r, struct error *err)
{
    const struct run_options *o = &r->options;
    struct prompt_source source = {
        .text = o->prompt, .path = o->prompt_file, .ids = &o->ids, .no_bos = o->no_bos, .no_special = o->no_special};
    if (tokenizer_open(&r->tokenizer, &r->job.file, err)) {
        return error_prefix(err, "%s", o->job.model);
    }
    if (prompt_ids(&source, r->tokenizer, r->job.config.n_vocab, &r->prompt, err) || make_biases(r, err)) {
        return -1;
    }
    for (size_t i = 0; i < r->prompt.n; i++) {
        if (r->prompt.ids[i] >= r->job.config.n_vocab) {
            return error_set(err, "the tokenizer gave token %d, the model knows 0 to %d", r->prompt.ids[i],
                             r->job.config.n_vocab - 1);
        }
    }
    if (r->prompt.n == 0) {
        return error_set(err, "the prompt is empty, expected at least one token");
    }
    if (r->prompt.n > (size_t)r->job.options.n_ctx) {
        return error_set(err, "the prompt has %zu tokens, the context %d positions (-c)", r->prompt.n, r->job.options.n_ctx);
    }
    return 0;
}

static int prepare_answer(struct run *r, struct error *err)
{
    const struct run_options *o = &r->options;
    int32_t n_prompt = (int32_t)r->prompt.n, room = r->job.options.n_ctx - n_prompt;
    int32_t n_answer = o->n_predict < 0 || o->n_predict > room ? room : o->n_predict;
    if (sequence_init(&r->sequence, r->prompt.ids, n_prompt, n_prompt + n_answer, err) ||
        stop_init(&r->stop, o->stops.texts, o->stops.n, err)) {
        return -1;
    }
    r->sequence.sampling = o->sampling;
    r->sequence.want_prompt_logits = o->logits_path != NULL;
    tokenizer_stream_init(&r->stream, r->tokenizer, 0, 0);
    r->piece = malloc(tokenizer_max_piece(r->tokenizer) + 16);
    if (o->sampling.n_logprobs > 0) {
        r->logprobs = calloc((size_t)n_answer + 1, sizeof *r->logprobs);
    }
    if (!r->piece || (o->sampling.n_logprobs > 0 && !r->logprobs)) {
        return error_set(err, "out of memory");
    }
    if (o->logits_path && !(r->logits = fopen(o->logits_path, "wb"))) {
        return error_set(err, "%s: cannot be written: %s", o->logits_path, strerror(errno));
    }
    struct scheduler_options so = {.n_slots = r->job.options.n_slots,
                                   .n_pages = plan_pages(r->job.options.n_ctx) * r->job.options.n_slots,
                                   .max_rows = r->job.options.max_rows,
                                   .chunk = r->job.options.chunk};
    if (scheduler_init(&r->scheduler, &so, err) ||
        generator_init(&r->generator, &r->job.stage, &r->scheduler, r->job.config.n_vocab, err)) {
        return -1;
    }
    r->generator.on_token = on_token;
    r->generator.on_prompt_logits = r->logits ? on_prompt_logits : NULL;
    r->generator.is_end = is_end;
    r->generator.context = r;
    r->generator.cancel = &cancelled;
    return 0;
}

/* -- the work -- */

static void generate(struct run *r)
{
    r->begin_s = r->first_token_s = clock_now_s();
    generator_add(&r->generator, &r->sequence);
    catch_signals();
    generator_run(&r->generator);
    r->end_s = clock_now_s();
    put_text(r, r->piece, tokenizer_stream_flush(&r->stream, r->piece));
    const char *rest;
    size_t n;
    stop_flush(&r->stop, &rest, &n);
    show(r, rest, n);
    if (!r->options.json) {
        show(r, "\n", 1);
    }
    if (r->logits && fclose(r->logits)) {
        write_failed(r, r->options.logits_path);
    }
    r->logits = NULL;
    if (r->sequence.n_ids == r->job.options.n_ctx && r->sequence.stop == SEQUENCE_STOP_LENGTH) {
        log_info("the context of %d positions is full; -c N makes it larger", r->job.options.n_ctx);
    }
    stage_stop(&r->job.stage);
}

static struct run_timings timings_of(const struct run *r)
{
    const struct sequence *q = &r->sequence;
    const struct stage *stage = &r->job.stage;
    int32_t n_answer = q->n_ids - q->n_prompt, size = r->job.cluster->size;
    double first_s = n_answer > 0 ? r->first_token_s : r->end_s;
    struct run_timings t = {.load_s = r->job.report.load_s,
                            .prefill_tokens = q->n_prompt,
                            .prefill_s = first_s - r->begin_s,
                            .decode_tokens = n_answer > 1 ? n_answer - 1 : 0,
                            .decode_s = n_answer > 1 ? r->end_s - first_s : 0,
                            .hop_s = size > 1 && stage->n_rounds ? stage->hops_s / (double)stage->n_rounds / size : 0,
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
        struct run_result result = {.sequence = &r->sequence,
                                    .text = r->text ? r->text : "",
                                    .n_text = r->n_text,
                                    .logprobs = r->logprobs,
                                    .timings = timings_of(r),
                                    .ranks = reports,
                                    .n_ranks = c->size};
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
    if (!job_is_simulated(&r->job)) {
        return 0;
    }
    if (r->options.logits_path || r->options.sampling.n_logprobs > 0) {
        return error_set(err, "%s was given with --device sim:BOARD, which computes nothing: there are no logits",
                         r->options.logits_path ? "--logits-out" : "--logprobs");
    }
    if (r->job.cluster->rank == 0) {
        log_info("simulated boards: times are by their profiles, the text means nothing");
    }
    return 0;
}

static int run_all(struct run *r, struct cluster *cluster, struct error *err)
{
    int first = cluster->rank == 0;
    if (job_open(&r->job, cluster, &r->options.job, err) || cluster_agree(cluster, check_simulated(r, err), err)) {
        return -1;
    }
    if (first && r->options.gpu_layers && strcmp(r->options.gpu_layers, "0") != 0 && strcmp(r->options.gpu_layers, "auto") != 0) {
        log_warn("-ngl %s: this build has no GPU backend, all layers stay on the CPU", r->options.gpu_layers);
    }
    if (cluster_agree(cluster, first ? read_prompt(r, err) : 0, err)) {
        return -1;
    }
    if (first) {
        choose_seed(r);
    }
    if (job_start(&r->job, &r->generator, err)) {
        return -1;
    }
    int status = cluster_agree(cluster, first ? prepare_answer(r, err) : 0, err);
    if (!first) {
        catch_signals();
        stage_work(&r->job.stage);
    } else if (status) {
        stage_stop(&r->job.stage);
    } else {
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
    stop_free(&r->stop);
    sequence_free(&r->sequence);
    tokenizer_ids_free(&r->prompt);
    tokenizer_close(r->tokenizer);
    free(r->biases);
    free(r->logprobs);
    free(r->piece);
    free(r->text);
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
    if (status == 0 && r->options.help) {
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
