/* SPDX-License-Identifier: MIT */
#include "src/commands/batch/batch_logprobs.h"

#include <stdlib.h>

#include "src/commands/json_text.h"

/* How many tokens of the answer are part of its text: not the one that ends it, none behind a stop string. */
static int32_t shown_tokens(const struct request *r)
{
    const struct sequence *q = &r->sequence;
    int32_t n = q->n_ids - q->n_prompt - (q->stop == SEQUENCE_STOP_EOS);
    if (q->stop != SEQUENCE_STOP_STRING) {
        return n;
    }
    size_t at = 0;
    for (int32_t i = 0; i < n; i++) {
        if (at >= r->n_text) {
            return i;
        }
        const char *bytes;
        at += tokenizer_piece(r->model->tokenizer, q->ids[q->n_prompt + i], 0, &bytes);
    }
    return n;
}

/* A token as text: as it is, or its bytes spelled out. */
static json_t *token_text(const struct request *r, int32_t id)
{
    const char *bytes;
    size_t n = tokenizer_piece(r->model->tokenizer, id, 0, &bytes);
    if (json_text_is_valid(bytes, n)) {
        return json_text(bytes, n);
    }
    char *text = malloc(4 * n + 8);
    if (!text) {
        return NULL;
    }
    int at = snprintf(text, 4 * n + 8, "bytes:");
    for (size_t i = 0; i < n; i++) {
        at += snprintf(text + at, 8, "\\x%02x", (unsigned char)bytes[i]);
    }
    json_t *string = json_string(text);
    free(text);
    return string;
}

static size_t count_characters(const struct request *r, int32_t id)
{
    const char *bytes;
    size_t n = tokenizer_piece(r->model->tokenizer, id, 0, &bytes), count = 0;
    for (size_t i = 0; i < n; i++) {
        count += ((unsigned char)bytes[i] & 0xc0) != 0x80;
    }
    return count;
}

/* The likelier of two tokens with the same text stays. */
static void put_top(json_t *object, json_t *text, float logprob)
{
    const char *key = json_string_value(text);
    if (key && !json_object_get(object, key)) {
        json_object_set_new(object, key, json_number((double)logprob));
    }
    json_decref(text);
}

json_t *batch_logprobs_completion(const struct request *r, int32_t n_top)
{
    json_t *tokens = json_array(), *logprobs = json_array(), *tops = json_array(), *offsets = json_array();
    int32_t n = shown_tokens(r);
    size_t offset = 0;
    for (int32_t i = 0; i < n; i++) {
        const struct sampler_result *s = &r->logprobs[i];
        json_t *top = json_object();
        for (int32_t k = 0; k < s->n_top && k < n_top; k++) {
            put_top(top, token_text(r, s->top_ids[k]), s->top_logprobs[k]);
        }
        put_top(top, token_text(r, s->id), s->logprob);
        json_array_append_new(tokens, token_text(r, s->id));
        json_array_append_new(logprobs, json_number((double)s->logprob));
        json_array_append_new(tops, top);
        json_array_append_new(offsets, json_integer((json_int_t)offset));
        offset += count_characters(r, s->id);
    }
    return json_pack("{s:o,s:o,s:o,s:o}", "tokens", tokens, "token_logprobs", logprobs, "top_logprobs", tops, "text_offset",
                     offsets);
}

static json_t *chat_token(const struct request *r, int32_t id, float logprob)
{
    const char *bytes;
    size_t n = tokenizer_piece(r->model->tokenizer, id, 0, &bytes);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, json_integer((unsigned char)bytes[i]));
    }
    return json_pack("{s:o,s:o,s:o}", "token", json_text(bytes, n), "logprob", json_number((double)logprob), "bytes", list);
}

json_t *batch_logprobs_chat(const struct request *r, int32_t n_top)
{
    json_t *content = json_array();
    int32_t n = shown_tokens(r);
    for (int32_t i = 0; i < n; i++) {
        const struct sampler_result *s = &r->logprobs[i];
        json_t *token = chat_token(r, s->id, s->logprob), *top = json_array();
        for (int32_t k = 0; k < s->n_top && k < n_top; k++) {
            json_array_append_new(top, chat_token(r, s->top_ids[k], s->top_logprobs[k]));
        }
        json_object_set_new(token, "top_logprobs", top);
        json_array_append_new(content, token);
    }
    return json_pack("{s:o,s:n}", "content", content, "refusal");
}
