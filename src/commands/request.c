/* SPDX-License-Identifier: MIT */
#include "src/commands/request.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* -- what all share -- */

static int find_ends(struct request_model *m, struct error *err)
{
    int32_t n_tokens = tokenizer_n_tokens(m->tokenizer), n = n_tokens < m->n_vocab ? n_tokens : m->n_vocab;
    for (int32_t i = 0; i < n; i++) {
        m->n_ends += tokenizer_is_end(m->tokenizer, i);
    }
    m->ends = malloc(sizeof *m->ends * ((size_t)m->n_ends + 1));
    if (!m->ends) {
        return error_set(err, "out of memory");
    }
    for (int32_t i = 0, at = 0; i < n; i++) {
        if (tokenizer_is_end(m->tokenizer, i)) {
            m->ends[at++] = i;
        }
    }
    return 0;
}

int request_model_open(struct request_model *m, const struct gguf *file, int32_t n_vocab, int32_t n_ctx, struct error *err)
{
    *m = (struct request_model){.n_vocab = n_vocab, .n_ctx = n_ctx};
    return tokenizer_open(&m->tokenizer, file, err) || find_ends(m, err) ? -1 : 0;
}

void request_model_close(struct request_model *m)
{
    tokenizer_close(m->tokenizer);
    free(m->ends);
    memset(m, 0, sizeof *m);
}

int request_check_prompt(const struct request_model *m, const struct tokenizer_ids *prompt, struct error *err)
{
    for (size_t i = 0; i < prompt->n; i++) {
        if (prompt->ids[i] >= m->n_vocab) {
            return error_set(err, "the tokenizer gave token %d, the model knows 0 to %d", prompt->ids[i], m->n_vocab - 1);
        }
    }
    if (prompt->n == 0) {
        return error_set(err, "the prompt is empty, expected at least one token");
    }
    if (prompt->n > (size_t)m->n_ctx) {
        return error_set(err, "the prompt has %zu tokens, the context %d positions (-c)", prompt->n, m->n_ctx);
    }
    return 0;
}

/* -- parameters -- */

int request_params_add_stop(struct request_params *p, const char *text, struct error *err)
{
    char **stops = realloc(p->stops, sizeof *stops * ((size_t)p->n_stops + 1));
    char *copy = strdup(text);
    p->stops = stops ? stops : p->stops;
    if (!stops || !copy) {
        free(copy);
        return error_set(err, "out of memory");
    }
    stops[p->n_stops++] = copy;
    return 0;
}

int request_params_add_bias(struct request_params *p, int32_t id, float bias, struct error *err)
{
    struct sampler_bias *biases = realloc(p->biases, sizeof *biases * ((size_t)p->n_biases + 1));
    if (!biases) {
        return error_set(err, "out of memory");
    }
    p->biases = biases;
    biases[p->n_biases++] = (struct sampler_bias){.id = id, .bias = bias};
    p->sampling.bias = biases;
    p->sampling.n_bias = p->n_biases;
    return 0;
}

/* "ID+BIAS" or "ID-BIAS" (also inf) of --logit-bias. */
static int parse_bias(const char *text, int32_t n_vocab, struct sampler_bias *out, struct error *err)
{
    char *end, *rest;
    long id = strtol(text, &end, 10);
    if (end == text || (*end != '+' && *end != '-')) {
        return error_set(err, "--logit-bias is \"%s\", expected ID+BIAS or ID-BIAS", text);
    }
    out->bias = strtof(end, &rest);
    if (rest == end || *rest || isnan(out->bias)) {
        return error_set(err, "--logit-bias is \"%s\", expected ID+BIAS or ID-BIAS", text);
    }
    if (id < 0 || id >= n_vocab) {
        return error_set(err, "--logit-bias names token %ld, the vocabulary has 0 to %d", id, n_vocab - 1);
    }
    out->id = (int32_t)id;
    return 0;
}

int request_params_from_options(struct request_params *p, const struct common_options *o, const struct request_model *m,
                                struct error *err)
{
    *p = (struct request_params){.sampling = o->sampling, .n_predict = o->n_predict, .ignore_eos = o->ignore_eos};
    for (int i = 0; i < o->stops.n; i++) {
        if (request_params_add_stop(p, o->stops.texts[i], err)) {
            return -1;
        }
    }
    for (int i = 0; i < o->biases.n; i++) {
        struct sampler_bias bias = {0};
        if (parse_bias(o->biases.texts[i], m->n_vocab, &bias, err) || request_params_add_bias(p, bias.id, bias.bias, err)) {
            return -1;
        }
    }
    return 0;
}

int request_params_copy(struct request_params *p, const struct request_params *from, struct error *err)
{
    *p = (struct request_params){.sampling = from->sampling, .n_predict = from->n_predict, .ignore_eos = from->ignore_eos};
    p->sampling.bias = NULL;
    p->sampling.n_bias = 0;
    for (int i = 0; i < from->n_stops; i++) {
        if (request_params_add_stop(p, from->stops[i], err)) {
            return -1;
        }
    }
    for (int32_t i = 0; i < from->n_biases; i++) {
        if (request_params_add_bias(p, from->biases[i].id, from->biases[i].bias, err)) {
            return -1;
        }
    }
    return 0;
}

void request_params_free(struct request_params *p)
{
    for (int i = 0; i < p->n_stops; i++) {
        free(p->stops[i]);
    }
    free(p->stops);
    free(p->biases);
    memset(p, 0, sizeof *p);
}

/* -- one request -- */

int request_init(struct request *r, const struct request_model *m, struct request_params *params,
                 const struct tokenizer_ids *prompt, struct error *err)
{
    *r = (struct request){.model = m, .params = *params};
    memset(params, 0, sizeof *params);
    struct request_params *p = &r->params;
    for (int32_t i = 0; p->ignore_eos && i < m->n_ends; i++) {
        if (request_params_add_bias(p, m->ends[i], -INFINITY, err)) {
            return -1;
        }
    }
    int32_t n_prompt = (int32_t)prompt->n, room = m->n_ctx - n_prompt;
    int32_t n_answer = p->n_predict < 0 || p->n_predict > room ? room : p->n_predict;
    if (sequence_init(&r->sequence, prompt->ids, n_prompt, n_prompt + n_answer, err) ||
        stop_init(&r->stop, (const char *const *)p->stops, p->n_stops, err)) {
        return -1;
    }
    r->sequence.sampling = p->sampling;
    r->sequence.owner = r;
    tokenizer_stream_init(&r->stream, m->tokenizer, 0, 0);
    r->piece = malloc(tokenizer_max_piece(m->tokenizer) + 16);
    return r->piece ? 0 : error_set(err, "out of memory");
}

void request_free(struct request *r)
{
    stop_free(&r->stop);
    sequence_free(&r->sequence);
    request_params_free(&r->params);
    free(r->piece);
    free(r->text);
    free(r->logprobs);
    memset(r, 0, sizeof *r);
}

static void append_text(struct request *r, const char *bytes, size_t n)
{
    if (n == 0) {
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
static void put_text(struct request *r, const char *bytes, size_t n)
{
    struct error err;
    const char *shown = bytes;
    size_t n_shown = n;
    int found = stop_put(&r->stop, bytes, n, &shown, &n_shown, &err);
    if (found < 0) {
        fatal("%s", err.text);
    }
    append_text(r, shown, n_shown);
    if (found && r->sequence.stop == SEQUENCE_RUNNING) {
        r->sequence.stop = SEQUENCE_STOP_STRING;
    }
}

static void keep_logprobs(struct request *r, int32_t index, const struct sampler_result *result)
{
    if (index >= r->logprobs_capacity) {
        int32_t capacity = 2 * index + 16;
        struct sampler_result *logprobs = realloc(r->logprobs, sizeof *logprobs * (size_t)capacity);
        if (!logprobs) {
            fatal("out of memory for the log-probabilities of %d tokens", capacity);
        }
        r->logprobs = logprobs;
        r->logprobs_capacity = capacity;
    }
    r->logprobs[index] = *result;
}

void request_take(struct request *r, const struct sampler_result *result)
{
    const struct tokenizer *t = r->model->tokenizer;
    int32_t index = r->sequence.n_ids - 1 - r->sequence.n_prompt;
    if (r->params.sampling.n_logprobs > 0) {
        keep_logprobs(r, index, result);
    }
    if (tokenizer_is_end(t, result->id)) {
        r->sequence.stop = SEQUENCE_STOP_EOS;
    } else if (tokenizer_kind(t) == TOKENIZER_NONE) {
        int n = snprintf(r->piece, tokenizer_max_piece(t) + 16, index ? " %d" : "%d", result->id);
        put_text(r, r->piece, (size_t)n);
    } else {
        put_text(r, r->piece, tokenizer_stream_put(&r->stream, result->id, r->piece));
    }
}

void request_finish(struct request *r)
{
    put_text(r, r->piece, tokenizer_stream_flush(&r->stream, r->piece));
    const char *rest;
    size_t n;
    stop_flush(&r->stop, &rest, &n);
    append_text(r, rest, n);
}
