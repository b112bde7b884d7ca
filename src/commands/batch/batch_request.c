/* SPDX-License-Identifier: MIT */
#include "src/commands/batch/batch_request.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "src/commands/batch/batch_fields.h"

/* Codes of refused lines; those that OpenAI has are spelled as there. */
static const char NOT_JSON[] = "invalid_json_line", INVALID[] = "invalid_request", TOO_LONG[] = "context_length_exceeded";

/* -- the prompt -- */

static int encode(struct batch_request *b, const struct batch_setup *setup, const char *text, size_t n, int flags,
                  struct error *err)
{
    return tokenizer_encode(setup->model->tokenizer, text, n, flags | (setup->no_bos ? 0 : TOKENIZER_ADD_SPECIAL), &b->prompt,
                            err);
}

static int prompt_of_text(struct batch_request *b, const struct batch_setup *setup, const json_t *text, struct error *err)
{
    return encode(b, setup, json_string_value(text), json_string_length(text), setup->no_special ? 0 : TOKENIZER_PARSE_SPECIAL,
                  err);
}

static int prompt_of_ids(struct batch_request *b, const struct batch_setup *setup, const char *name, const json_t *list,
                         struct error *err)
{
    size_t n = json_array_size(list);
    b->prompt.ids = malloc(sizeof *b->prompt.ids * (n + 1));
    if (!b->prompt.ids) {
        return error_set(err, "out of memory");
    }
    b->prompt.capacity = n + 1;
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_array_get(list, i);
        if (!json_is_integer(id)) {
            return batch_field_error(name, list, "a list of token ids", err);
        }
        if (json_integer_value(id) < 0 || json_integer_value(id) >= setup->model->n_vocab) {
            return error_set(err, "\"%s\" names token %lld, the vocabulary has 0 to %d", name, (long long)json_integer_value(id),
                             setup->model->n_vocab - 1);
        }
        b->prompt.ids[b->prompt.n++] = (int32_t)json_integer_value(id);
    }
    return 0;
}

/* "prompt": a text, a list of ids, or a list of one of these. */
static int take_prompt(struct batch_request *b, const struct batch_setup *setup, const json_t *value, struct error *err)
{
    const json_t *first = json_array_get(value, 0);
    if (json_is_string(first) || json_is_array(first)) {
        if (json_array_size(value) > 1) {
            return error_set(err, "\"prompt\" is a list of %zu prompts, expected one: a line gets one answer here",
                             json_array_size(value));
        }
        value = first;
    }
    if (json_is_string(value)) {
        return prompt_of_text(b, setup, value, err);
    }
    return json_is_array(value) ? prompt_of_ids(b, setup, "prompt", value, err)
                                : batch_field_error("prompt", value, "a text or a list of token ids", err);
}

/* The text of a message: a string, or a list of parts of which all are text (joined in *joined, owned by the caller). */
static int take_content(const json_t *content, struct chatml_message *message, char **joined, struct error *err)
{
    if (!content || json_is_null(content)) {
        message->content = "";
        return 0;
    }
    if (json_is_string(content)) {
        message->content = json_string_value(content);
        message->n_content = json_string_length(content);
        return 0;
    }
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *text = json_object_get(json_array_get(content, i), "text");
        if (!json_is_string(text)) {
            return batch_field_error("content", content, "a text or a list of parts with \"text\" in them", err);
        }
        n += json_string_length(text);
    }
    *joined = malloc(n + 1);
    if (!json_is_array(content) || !*joined) {
        return *joined ? batch_field_error("content", content, "a text or a list of parts", err)
                       : error_set(err, "out of memory");
    }
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *text = json_object_get(json_array_get(content, i), "text");
        memcpy(*joined + message->n_content, json_string_value(text), json_string_length(text));
        message->n_content += json_string_length(text);
    }
    message->content = *joined;
    return 0;
}

static int render(struct batch_request *b, const struct batch_setup *setup, const json_t *list, struct chatml_message *messages,
                  char **joined, struct error *err)
{
    size_t n = json_array_size(list), n_text;
    for (size_t i = 0; i < n; i++) {
        const json_t *message = json_array_get(list, i), *role = json_object_get(message, "role");
        if (!json_is_string(role)) {
            return batch_field_error("messages", message, "objects with \"role\" and \"content\"", err);
        }
        messages[i].role = json_string_value(role);
        messages[i].n_role = json_string_length(role);
        if (take_content(json_object_get(message, "content"), &messages[i], &joined[i], err)) {
            return -1;
        }
    }
    char *text;
    if (chatml_render(setup->chat, messages, n, &text, &n_text, err)) {
        return -1;
    }
    int status = encode(b, setup, text, n_text, TOKENIZER_PARSE_SPECIAL, err);
    free(text);
    return status;
}

static int take_messages(struct batch_request *b, const struct batch_setup *setup, const json_t *list, struct error *err)
{
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n == 0) {
        return batch_field_error("messages", list, "a list of at least one message", err);
    }
    if (!setup->chat) {
        return error_set(err, "%s", setup->no_chat);
    }
    struct chatml_message *messages = calloc(n, sizeof *messages);
    char **joined = calloc(n, sizeof *joined);
    int status = messages && joined ? render(b, setup, list, messages, joined, err) : error_set(err, "out of memory");
    for (size_t i = 0; joined && i < n; i++) {
        free(joined[i]);
    }
    free(joined);
    free(messages);
    return status;
}

/* -- the line -- */

/* The object that holds prompt and parameters, or NULL with *err. Sets the form. */
static const json_t *find_body(struct batch_request *b, const json_t *root, struct error *err)
{
    const json_t *body = batch_field(root, "body"), *url = batch_field(root, "url"), *method = batch_field(root, "method");
    b->form = BATCH_SHORT;
    if (!body && !url) {
        return root;
    }
    const char *path = url ? json_string_value(url) : "";
    b->form = path && strcmp(path, "/v1/chat/completions") == 0 ? BATCH_CHAT : BATCH_COMPLETION;
    if (!path || (b->form == BATCH_COMPLETION && strcmp(path, "/v1/completions") != 0)) {
        error_set(err, "\"url\" is not /v1/completions or /v1/chat/completions");
    } else if (method && (!json_is_string(method) || strcmp(json_string_value(method), "POST") != 0)) {
        batch_field_error("method", method, "\"POST\"", err);
    } else if (!b->custom_id) {
        error_set(err, "\"custom_id\" is missing, expected a text that tells this request from others");
    } else if (!json_is_object(body)) {
        error_set(err, "\"body\" is missing or no object");
    } else {
        return body;
    }
    return NULL;
}

static int take_logprobs(struct batch_request *b, const struct batch_setup *setup, const json_t *body, struct error *err)
{
    int64_t n = b->params.sampling.n_logprobs;
    int wants = n > 0;
    if (b->form == BATCH_CHAT) {
        n = 0;
        if (batch_field_bool(body, "logprobs", &wants, err) ||
            batch_field_int(body, "top_logprobs", 0, SAMPLER_MAX_LOGPROBS, &n, err)) {
            return -1;
        }
    } else {
        const json_t *given = batch_field(body, "logprobs");
        wants = given && (b->form == BATCH_COMPLETION || json_integer_value(given) > 0);
        if (batch_field_int(body, "logprobs", 0, SAMPLER_MAX_LOGPROBS, &n, err)) {
            return -1;
        }
    }
    if (wants && setup->no_logprobs) {
        return error_set(err, "\"logprobs\" cannot be had with --device sim:BOARD, which computes nothing");
    }
    b->wants_logprobs = wants;
    b->n_top = wants ? (int32_t)n : 0;
    b->params.sampling.n_logprobs = !wants         ? 0
                                    : b->n_top > 0 ? b->n_top
                                                   : 1; /* the sampler fills logprob only when asked for some */
    return 0;
}

static int take_any_prompt(struct batch_request *b, const struct batch_setup *setup, const json_t *body, struct error *err)
{
    const json_t *prompt = batch_field(body, "prompt"), *ids = batch_field(body, "ids"),
                 *messages = batch_field(body, "messages");
    ids = b->form == BATCH_SHORT ? ids : NULL;
    prompt = b->form == BATCH_CHAT ? NULL : prompt;
    messages = b->form == BATCH_COMPLETION ? NULL : messages;
    if ((prompt != NULL) + (ids != NULL) + (messages != NULL) != 1) {
        static const char *const expected[] = {
            [BATCH_SHORT] = "one of \"prompt\", \"ids\" and \"messages\"",
            [BATCH_COMPLETION] = "\"prompt\" in the body",
            [BATCH_CHAT] = "\"messages\" in the body",
        };
        return error_set(err, "%s prompt, expected %s", prompt || ids || messages ? "more than one" : "no", expected[b->form]);
    }
    if (messages) {
        return take_messages(b, setup, messages, err);
    }
    if (ids && !json_is_array(ids)) {
        return batch_field_error("ids", ids, "a list of token ids", err);
    }
    return ids ? prompt_of_ids(b, setup, "ids", ids, err) : take_prompt(b, setup, prompt, err);
}

/* The code of what is wrong, or NULL. */
static const char *parse(struct batch_request *b, const struct batch_setup *setup, const char *text, size_t n, json_t **root,
                         struct error *err)
{
    json_error_t json_error;
    *root = json_loadb(text, n, JSON_ALLOW_NUL, &json_error);
    if (!json_is_object(*root)) {
        error_set(err, *root ? "no JSON object but a list" : "no JSON: %s (column %d)", json_error.text, json_error.column);
        return NOT_JSON;
    }
    b->custom_id = json_incref(json_object_get(*root, "custom_id"));
    b->id = json_incref(json_object_get(*root, "id"));
    const json_t *body = find_body(b, *root, err);
    if (!body) {
        return INVALID;
    }
    b->model = json_incref(json_object_get(body, "model"));
    if (b->form != BATCH_SHORT && !json_is_string(b->custom_id)) {
        batch_field_error("custom_id", b->custom_id, "a text", err);
        return INVALID;
    }
    if (batch_fields_check_unsupported(body, err) || batch_fields_apply(&b->params, body, setup->model->n_vocab, err) ||
        take_logprobs(b, setup, body, err) || take_any_prompt(b, setup, body, err)) {
        return INVALID;
    }
    if (request_check_prompt(setup->model, &b->prompt, err)) {
        return b->prompt.n > (size_t)setup->model->n_ctx ? TOO_LONG : INVALID;
    }
    return NULL;
}

void batch_request_refuse(struct batch_request *b, const char *code, const char *message)
{
    char text[1100];
    snprintf(text, sizeof text, "line %lld: %s", (long long)b->line, message);
    free(b->error);
    b->code = code;
    b->error = strdup(text);
    if (!b->error) {
        fatal("out of memory");
    }
}

struct batch_request *batch_request_parse(const struct batch_setup *setup, int64_t line, const char *text, size_t n)
{
    struct batch_request *b = calloc(1, sizeof *b);
    struct error err = {0};
    json_t *root = NULL;
    if (!b) {
        return NULL;
    }
    b->line = line;
    b->id_bits = sampler_random(setup->seed, (uint32_t)line, 1);
    const char *code = request_params_copy(&b->params, setup->defaults, &err) ? INVALID : NULL;
    b->params.sampling.seed = sampler_random(setup->seed, (uint32_t)line, 0) >> 32;
    code = code ? code : parse(b, setup, text, n, &root, &err);
    json_decref(root);
    if (code) {
        batch_request_refuse(b, code, err.text);
    }
    return b;
}

void batch_request_free(struct batch_request *b)
{
    if (!b) {
        return;
    }
    if (b->started) {
        request_free(&b->request);
    }
    request_params_free(&b->params);
    tokenizer_ids_free(&b->prompt);
    json_decref(b->custom_id);
    json_decref(b->id);
    json_decref(b->model);
    free(b->error);
    free(b);
}
