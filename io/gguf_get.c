/* Typed access to the metadata of an open file. SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <string.h>

#include "io/gguf.h"
#include "io/gguf_parse.h"

int gguf_kind_is_integer(enum gguf_kind kind)
{
    switch (kind) {
    case GGUF_U8:
    case GGUF_I8:
    case GGUF_U16:
    case GGUF_I16:
    case GGUF_U32:
    case GGUF_I32:
    case GGUF_U64:
    case GGUF_I64: return 1;
    default: return 0;
    }
}

static int is_integer(enum gguf_kind kind)
{
    return gguf_kind_is_integer(kind) || kind == GGUF_BOOL;
}

static int is_float(enum gguf_kind kind)
{
    return kind == GGUF_F32 || kind == GGUF_F64;
}

static double load_float(enum gguf_kind kind, const uint8_t *p)
{
    if (kind == GGUF_F32) {
        uint32_t bits = gguf_load_u32(p);
        float x;
        memcpy(&x, &bits, sizeof x);
        return (double)x;
    }
    uint64_t bits = gguf_load_u64(p);
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

int64_t gguf_element_i64(const struct gguf_value *value, uint64_t i)
{
    const uint8_t *p = value->data;
    uint64_t u;
    switch (value->element) {
    case GGUF_U8: return p[i];
    case GGUF_I8: return (int8_t)p[i];
    case GGUF_BOOL: return p[i] != 0;
    case GGUF_U16: return (uint16_t)(p[2 * i] | p[2 * i + 1] << 8);
    case GGUF_I16: return (int16_t)(uint16_t)(p[2 * i] | p[2 * i + 1] << 8);
    case GGUF_U32: return gguf_load_u32(p + 4 * i);
    case GGUF_I32: return (int32_t)gguf_load_u32(p + 4 * i);
    case GGUF_I64: return (int64_t)gguf_load_u64(p + 8 * i);
    case GGUF_U64: u = gguf_load_u64(p + 8 * i); return u > INT64_MAX ? INT64_MAX : (int64_t)u;
    default: return 0;
    }
}

double gguf_element_f64(const struct gguf_value *value, uint64_t i)
{
    switch (value->element) {
    case GGUF_F32: return load_float(GGUF_F32, value->data + 4 * i);
    case GGUF_F64: return load_float(GGUF_F64, value->data + 8 * i);
    case GGUF_U64: return (double)gguf_load_u64(value->data + 8 * i);
    default: return (double)gguf_element_i64(value, i);
    }
}

static int wrong_kind(const struct gguf *file, const struct gguf_value *v, const char *expected, struct error *err)
{
    char key[GGUF_SHOWN_BYTES];
    return error_set(err, "%s: key %s is of kind %s, expected %s", file->parts[0].path, gguf_shown(key, v->key),
                     gguf_kind_name(v->kind), expected);
}

static int missing(const struct gguf *file, const char *key, struct error *err)
{
    return error_set(err, "%s: key %s is missing", file->parts[0].path, key);
}

int gguf_get_i64(const struct gguf *file, const char *key, int64_t low, int64_t high, int64_t fallback, int64_t *out,
                 struct error *err)
{
    const struct gguf_value *v = gguf_find(file, key);
    if (!v) {
        *out = fallback;
        return 0;
    }
    if (is_float(v->kind)) {
        double x = gguf_element_f64(v, 0);
        /* A whole number is an integer whatever its kind; 2^53 bounds where doubles count by ones. */
        if (x >= -0x1p53 && x <= 0x1p53 && x == (double)(int64_t)x && (int64_t)x >= low && (int64_t)x <= high) {
            *out = (int64_t)x;
            return 0;
        }
        return error_set(err, "%s: key %s is %g, expected a whole number from %" PRId64 " to %" PRId64, file->parts[0].path, key,
                         x, low, high);
    }
    if (!is_integer(v->kind)) {
        return wrong_kind(file, v, "an integer", err);
    }
    int64_t x = gguf_element_i64(v, 0);
    int too_large = v->kind == GGUF_U64 && gguf_load_u64(v->data) > INT64_MAX;
    if (too_large || x < low || x > high) {
        return error_set(err, "%s: key %s is %s%" PRId64 ", expected %" PRId64 " to %" PRId64, file->parts[0].path, key,
                         too_large ? "more than " : "", x, low, high);
    }
    *out = x;
    return 0;
}

int gguf_require_i64(const struct gguf *file, const char *key, int64_t low, int64_t high, int64_t *out, struct error *err)
{
    return gguf_find(file, key) ? gguf_get_i64(file, key, low, high, 0, out, err) : missing(file, key, err);
}

int gguf_get_f64(const struct gguf *file, const char *key, double fallback, double *out, struct error *err)
{
    const struct gguf_value *v = gguf_find(file, key);
    if (!v) {
        *out = fallback;
        return 0;
    }
    if (!is_float(v->kind) && !is_integer(v->kind)) {
        return wrong_kind(file, v, "a number", err);
    }
    double x = gguf_element_f64(v, 0);
    if (!(x - x == 0.0)) { /* infinite or no number */
        return error_set(err, "%s: key %s is %g, expected a finite number", file->parts[0].path, key, x);
    }
    *out = x;
    return 0;
}

int gguf_get_bool(const struct gguf *file, const char *key, int fallback, int *out, struct error *err)
{
    const struct gguf_value *v = gguf_find(file, key);
    int64_t x = fallback;
    if (v && !is_integer(v->kind)) {
        return wrong_kind(file, v, "bool", err);
    }
    if (gguf_get_i64(file, key, 0, 1, fallback, &x, err)) {
        return -1;
    }
    *out = x != 0;
    return 0;
}

int gguf_get_string(const struct gguf *file, const char *key, struct gguf_string *out, struct error *err)
{
    *out = (struct gguf_string){0};
    const struct gguf_value *v = gguf_find(file, key);
    if (!v) {
        return 0;
    }
    if (v->kind != GGUF_STRING) {
        return wrong_kind(file, v, "string", err);
    }
    *out = v->strings[0];
    return 0;
}

int gguf_string_is(struct gguf_string s, const char *text)
{
    return s.length == strlen(text) && (s.length == 0 || memcmp(s.data, text, s.length) == 0);
}
