/* SPDX-License-Identifier: MIT */
#include "src/commands/batch/batch_result.h"

#include <stdlib.h>
#include <string.h>

#include "src/commands/batch/batch_logprobs.h"
#include "src/commands/json_text.h"
#include "src/commands/request_json.h"

/* PREFIX and the request's 16 hexadecimal digits. */
static json_t *id_of(const struct batch_request *b, const char *prefix)
{
    return json_sprintf("%s%016llx", prefix, (unsigned long long)b->id_bits);
}

static json_t *error_of(const struct batch_request *b)
{
    return json_pack("{s:s,s:o}", "code", b->code, "message", json_text(b->error, strlen(b->error)));
}

static json_t *usage(const struct sequence *q)
{
    return json_pack("{s:i,s:i,s:i}", "prompt_tokens", q->n_prompt, "completion_tokens", q->n_ids - q->n_prompt, "total_tokens",
                     q->n_ids);
}

static const char *finish_reason(const struct sequence *q)
{
    return q->stop == SEQUENCE_STOP_LENGTH ? "length" : "stop";
}

/* choices[0] of a completion or a chat completion. */
static json_t *choice(const struct batch_request *b)
{
    const struct request *r = &b->request;
    json_t *text = json_text(r->text ? r->text : "", r->n_text);
    const char *reason = finish_reason(&r->sequence);
    if (b->form == BATCH_CHAT) {
        json_t *message = json_pack("{s:s,s:o,s:n}", "role", "assistant", "content", text, "refusal");
        json_t *logprobs = b->wants_logprobs ? batch_logprobs_chat(r, b->n_top) : json_null();
        return json_pack("{s:i,s:o,s:o,s:s}", "index", 0, "message", message, "logprobs", logprobs, "finish_reason", reason);
    }
    json_t *logprobs = b->wants_logprobs ? batch_logprobs_completion(r, b->n_top) : json_null();
    return json_pack("{s:o,s:i,s:o,s:s}", "text", text, "index", 0, "logprobs", logprobs, "finish_reason", reason);
}

/* What POST to the URL would have given. */
static json_t *response_body(const struct batch_request *b, const char *model, int64_t created)
{
    int chat = b->form == BATCH_CHAT;
    return json_pack("{s:o,s:s,s:I,s:s,s:[o],s:o,s:I}", "id", id_of(b, chat ? "chatcmpl-" : "cmpl-"), "object",
                     chat ? "chat.completion" : "text_completion", "created", (json_int_t)created, "model", model, "choices",
                     choice(b), "usage", usage(&b->request.sequence), "seed", (json_int_t)b->request.sequence.sampling.seed);
}

static json_t *custom_id_or_null(const struct batch_request *b)
{
    return b->custom_id ? json_incref(b->custom_id) : json_null();
}

static json_t *openai_result(const struct batch_request *b, const char *model, int64_t created)
{
    json_t *response = b->code ? json_null()
                               : json_pack("{s:i,s:o,s:o}", "status_code", 200, "request_id", id_of(b, "req_"), "body",
                                           response_body(b, model, created));
    return json_pack("{s:o,s:o,s:o,s:o}", "id", id_of(b, "batch_req_"), "custom_id", custom_id_or_null(b), "response", response,
                     "error", b->code ? error_of(b) : json_null());
}

static json_t *short_result(const struct batch_request *b)
{
    json_t *result = json_object();
    if (b->custom_id) {
        json_object_set(result, "custom_id", b->custom_id);
    }
    if (b->id) {
        json_object_set(result, "id", b->id);
    }
    json_object_set_new(result, "line", json_integer(b->line));
    if (b->code) {
        json_object_set_new(result, "error", error_of(b));
        return result;
    }
    json_t *answer = request_json(&b->request);
    json_object_update(result, answer);
    json_decref(answer);
    json_object_set_new(result, "usage", usage(&b->request.sequence));
    return result;
}

char *batch_result_line(const struct batch_request *b, const char *model, int64_t created, size_t *n)
{
    json_t *result = b->form == BATCH_SHORT ? short_result(b) : openai_result(b, model, created);
    char *text = result ? json_dumps(result, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(result);
    if (!text) {
        return NULL;
    }
    *n = strlen(text) + 1;
    char *line = realloc(text, *n);
    if (!line) {
        free(text);
        return NULL;
    }
    line[*n - 1] = '\n';
    return line;
}
