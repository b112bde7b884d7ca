/* SPDX-License-Identifier: MIT */
#include "src/commands/batch/batch_fields.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const json_t *batch_field(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_null(value) ? NULL : value;
}

int batch_field_error(const char *name, const json_t *value, const char *expected, struct error *err)
{
    enum { SHOWN = 60 };
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    int status = error_set(err, "\"%s\" is %.*s%s, expected %s", name, SHOWN, text ? text : "?",
                           text && strlen(text) > SHOWN ? "..." : "", expected);
    free(text);
    return status;
}

int batch_field_int(const json_t *object, const char *name, int64_t low, int64_t high, int64_t *out, struct error *err)
{
    const json_t *value = batch_field(object, name);
    if (!value) {
        return 0;
    }
    /* Some writers make 5.0 of 5. */
    double real = json_is_real(value) ? json_real_value(value) : 0.5;
    int whole = json_is_integer(value) || (floor(real) == real && fabs(real) < 9e15);
    int64_t n = json_is_integer(value) ? json_integer_value(value) : whole ? (int64_t)real : 0;
    if (!whole || n < low || n > high) {
        char expected[96];
        snprintf(expected, sizeof expected, "a whole number from %lld to %lld", (long long)low, (long long)high);
        return batch_field_error(name, value, expected, err);
    }
    *out = n;
    return 0;
}

int batch_field_bool(const json_t *object, const char *name, int *out, struct error *err)
{
    const json_t *value = batch_field(object, name);
    if (value && !json_is_boolean(value)) {
        return batch_field_error(name, value, "true or false", err);
    }
    *out = value ? json_is_true(value) : *out;
    return 0;
}

static int apply_floats(struct sampler_params *p, const json_t *object, struct error *err)
{
    const struct {
        const char *name;
        double low, high;
        float *out;
    } fields[] = {
        {"temperature", 0, 1000, &p->temperature},
        {"top_p", 0, 1, &p->top_p},
        {"min_p", 0, 1, &p->min_p},
        {"typical_p", 0, 1, &p->typical_p},
        {"repeat_penalty", 0.01, 100, &p->repeat_penalty},
        {"presence_penalty", -100, 100, &p->presence_penalty},
        {"frequency_penalty", -100, 100, &p->frequency_penalty},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const json_t *value = batch_field(object, fields[i].name);
        double n = value ? json_number_value(value) : fields[i].low;
        if (value && (!json_is_number(value) || !(n >= fields[i].low && n <= fields[i].high))) {
            char expected[96];
            snprintf(expected, sizeof expected, "a number from %g to %g", fields[i].low, fields[i].high);
            return batch_field_error(fields[i].name, value, expected, err);
        }
        *fields[i].out = value ? (float)n : *fields[i].out;
    }
    return 0;
}

static int apply_integers(struct request_params *p, const json_t *object, struct error *err)
{
    int64_t n_predict = p->n_predict, top_k = p->sampling.top_k, last_n = p->sampling.repeat_last_n,
            seed = (int64_t)p->sampling.seed;
    if (batch_field_int(object, "max_tokens", -1, INT32_MAX, &n_predict, err) ||
        batch_field_int(object, "max_completion_tokens", -1, INT32_MAX, &n_predict, err) ||
        batch_field_int(object, "top_k", -1, INT32_MAX, &top_k, err) ||
        batch_field_int(object, "repeat_last_n", -1, INT32_MAX, &last_n, err) ||
        batch_field_int(object, "seed", 0, INT64_MAX, &seed, err)) {
        return -1;
    }
    p->n_predict = (int32_t)n_predict;
    p->sampling.top_k = (int32_t)top_k;
    p->sampling.repeat_last_n = (int32_t)last_n;
    p->sampling.seed = (uint64_t)seed;
    return 0;
}

static int add_stop(struct request_params *p, const json_t *list, const json_t *value, struct error *err)
{
    size_t n = json_string_length(value);
    if (!json_is_string(value) || n == 0 || strlen(json_string_value(value)) != n) {
        return batch_field_error("stop", list, "a text or a list of texts, none empty or with a zero byte", err);
    }
    return request_params_add_stop(p, json_string_value(value), err);
}

static int apply_stop(struct request_params *p, const json_t *object, struct error *err)
{
    const json_t *value = batch_field(object, "stop");
    if (!value) {
        return 0;
    }
    while (p->n_stops > 0) {
        free(p->stops[--p->n_stops]);
    }
    if (!json_is_array(value)) {
        return add_stop(p, value, value, err);
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (add_stop(p, value, json_array_get(value, i), err)) {
            return -1;
        }
    }
    return 0;
}

static int apply_bias(struct request_params *p, const json_t *object, int32_t n_vocab, struct error *err)
{
    json_t *map = json_object_get(object, "logit_bias"), *value;
    const char *key;
    if (!map || json_is_null(map)) {
        return 0;
    }
    p->n_biases = p->sampling.n_bias = 0;
    if (!json_is_object(map)) {
        return batch_field_error("logit_bias", map, "an object such as {\"50256\": -100}", err);
    }
    json_object_foreach(map, key, value)
    {
        char *end;
        errno = 0;
        long id = strtol(key, &end, 10);
        if (end == key || *end || errno || id < 0 || id >= n_vocab) {
            return error_set(err, "\"logit_bias\" names token \"%.40s\", the vocabulary has 0 to %d", key, n_vocab - 1);
        }
        if (!json_is_number(value) || !isfinite((float)json_number_value(value))) {
            return batch_field_error("logit_bias", value, "numbers in its object", err);
        }
        if (request_params_add_bias(p, (int32_t)id, (float)json_number_value(value), err)) {
            return -1;
        }
    }
    return 0;
}

int batch_fields_apply(struct request_params *p, const json_t *object, int32_t n_vocab, struct error *err)
{
    return apply_floats(&p->sampling, object, err) || apply_integers(p, object, err) || apply_stop(p, object, err) ||
                   apply_bias(p, object, n_vocab, err) || batch_field_bool(object, "ignore_eos", &p->ignore_eos, err)
               ? -1
               : 0;
}

/* Empty lists, objects and texts, and false, ask for nothing. */
static int asks_for_nothing(const json_t *value)
{
    return !value || json_is_false(value) || (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0) || (json_is_string(value) && json_string_length(value) == 0);
}

/* A misspelt field would silently give another answer than the one that was wanted. */
static int check_known(const json_t *object, struct error *err)
{
    static const char known[] =
        " id custom_id prompt ids messages model max_tokens max_completion_tokens temperature top_p top_k min_p typical_p repeat_penalty "
        "repeat_last_n presence_penalty frequency_penalty logit_bias seed stop logprobs top_logprobs ignore_eos n best_of "
        "response_format user metadata store stream_options service_tier ";
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        char word[64];
        snprintf(word, sizeof word, " %.60s ", key);
        if (!strstr(known, word) && !asks_for_nothing(value) && !json_is_null(value)) {
            return error_set(err, "\"%.60s\" is not a field that is known here", key);
        }
    }
    return 0;
}

int batch_fields_check_unsupported(const json_t *object, struct error *err)
{
    static const char *const counts[] = {"n", "best_of"};
    static const char *const features[] = {"echo", "suffix", "tools", "functions", "audio", "grammar", "json_schema", "stream"};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        int64_t n = 1;
        if (batch_field_int(object, counts[i], 1, 1, &n, err)) {
            return error_set(err, "\"%s\" is not 1: one answer a request is all that can be had here", counts[i]);
        }
    }
    for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
        if (!asks_for_nothing(batch_field(object, features[i]))) {
            return error_set(err, "\"%s\" cannot be honoured here", features[i]);
        }
    }
    const json_t *format = batch_field(object, "response_format");
    const char *type = json_string_value(json_object_get(format, "type"));
    return format && (!type || strcmp(type, "text") != 0)
               ? batch_field_error("response_format", format, "{\"type\":\"text\"}, the only one here", err)
               : check_known(object, err);
}
