/* SPDX-License-Identifier: MIT */
#include "io/gguf_parse.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Smallest entries: they bound the counts by the bytes that are left, before anything is allocated. */
enum { PAIR_MIN_BYTES = 8 + 4 + 1, TENSOR_MIN_BYTES = 8 + 4 + 8 + 4 + 8, HEADER_MIN_BYTES = 4 + 4 + 8 + 8 };

struct kind_info {
    const char *name;
    size_t bytes; /* 0: not of fixed size */
};

static const struct kind_info kinds[] = {
    [GGUF_U8] = {"u8", 1},         [GGUF_I8] = {"i8", 1},       [GGUF_U16] = {"u16", 2}, [GGUF_I16] = {"i16", 2},
    [GGUF_U32] = {"u32", 4},       [GGUF_I32] = {"i32", 4},     [GGUF_F32] = {"f32", 4}, [GGUF_BOOL] = {"bool", 1},
    [GGUF_STRING] = {"string", 0}, [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"u64", 8}, [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

struct cursor {
    const uint8_t *at;
    size_t left;
    const char *what; /* for messages: what is being read, number item of n_items */
    uint64_t item, n_items;
};

const char *gguf_kind_name(enum gguf_kind kind)
{
    return (unsigned)kind < N_KINDS ? kinds[kind].name : "unknown";
}

uint32_t gguf_load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint64_t gguf_load_u64(const uint8_t *p)
{
    return (uint64_t)gguf_load_u32(p) | (uint64_t)gguf_load_u32(p + 4) << 32;
}

const char *gguf_shown(char out[GGUF_SHOWN_BYTES], struct gguf_string s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.length; i++) {
        if (n + 4 + 4 > GGUF_SHOWN_BYTES) { /* one escape, then the dots and the end */
            memcpy(out + n, "...", 3);
            n += 3;
            break;
        }
        unsigned char c = (unsigned char)s.data[i];
        if (c >= 0x20 && c < 0x7f) {
            out[n++] = (char)c;
        } else {
            n += (size_t)snprintf(out + n, 5, "\\x%02x", c);
        }
    }
    out[n] = '\0';
    return out;
}

static int too_short(const struct cursor *c, uint64_t wanted, struct error *err)
{
    return error_set(
        err, "%s %" PRIu64 " of %" PRIu64 " wants %" PRIu64 " more bytes, but the file has only %zu left (cut off or corrupt?)",
        c->what, c->item + 1, c->n_items, wanted, c->left);
}

/* NULL with *err when fewer than n bytes are left. */
static const uint8_t *take(struct cursor *c, uint64_t n, struct error *err)
{
    if (n > c->left) {
        too_short(c, n, err);
        return NULL;
    }
    const uint8_t *p = c->at;
    c->at += n;
    c->left -= (size_t)n;
    return p;
}

static int take_u32(struct cursor *c, uint32_t *out, struct error *err)
{
    const uint8_t *p = take(c, 4, err);
    if (!p) {
        return -1;
    }
    *out = gguf_load_u32(p);
    return 0;
}

static int take_u64(struct cursor *c, uint64_t *out, struct error *err)
{
    const uint8_t *p = take(c, 8, err);
    if (!p) {
        return -1;
    }
    *out = gguf_load_u64(p);
    return 0;
}

static int take_string(struct cursor *c, struct gguf_string *out, struct error *err)
{
    uint64_t length;
    if (take_u64(c, &length, err)) {
        return -1;
    }
    const uint8_t *p = take(c, length, err);
    if (!p) {
        return -1;
    }
    *out = (struct gguf_string){.data = (const char *)p, .length = (size_t)length};
    return 0;
}

/* v->element, v->count elements of it; v->key is there for messages. */
static int take_elements(struct cursor *c, struct gguf_value *v, struct error *err)
{
    size_t element_bytes = kinds[v->element].bytes;
    if (v->element == GGUF_STRING) {
        element_bytes = 8; /* an empty one is its length */
    }
    if (v->count > c->left / element_bytes) {
        char key[GGUF_SHOWN_BYTES];
        return error_set(err,
                         "key %s has %" PRIu64 " elements of kind %s, but the file has only %zu bytes left (cut off or corrupt?)",
                         gguf_shown(key, v->key), v->count, gguf_kind_name(v->element), c->left);
    }
    v->data = c->at;
    if (v->element != GGUF_STRING) {
        return take(c, v->count * element_bytes, err) ? 0 : -1;
    }
    v->strings = calloc(v->count ? (size_t)v->count : 1, sizeof *v->strings);
    if (!v->strings) {
        return error_set(err, "out of memory for %" PRIu64 " strings", v->count);
    }
    for (uint64_t i = 0; i < v->count; i++) {
        if (take_string(c, &v->strings[i], err)) {
            return -1;
        }
    }
    return 0;
}

static int take_value(struct cursor *c, struct gguf_value *v, struct error *err)
{
    uint32_t kind, element;
    char key[GGUF_SHOWN_BYTES];
    if (take_string(c, &v->key, err) || take_u32(c, &kind, err)) {
        return -1;
    }
    if (kind >= N_KINDS) {
        return error_set(err, "key %s has value kind %" PRIu32 ", expected 0 to %d", gguf_shown(key, v->key), kind, N_KINDS - 1);
    }
    v->kind = (enum gguf_kind)kind;
    v->element = v->kind;
    v->count = 1;
    if (v->kind == GGUF_ARRAY) {
        if (take_u32(c, &element, err) || take_u64(c, &v->count, err)) {
            return -1;
        }
        if (element >= N_KINDS || element == GGUF_ARRAY) {
            return error_set(err, "key %s is an array of kind %" PRIu32 ", expected 0 to %d and not %d (arrays of arrays)",
                             gguf_shown(key, v->key), element, N_KINDS - 1, (int)GGUF_ARRAY);
        }
        v->element = (enum gguf_kind)element;
    }
    return take_elements(c, v, err);
}

static int parse_values(struct gguf_content *content, struct cursor *c, struct error *err)
{
    uint64_t n = content->n_values;
    content->n_values = 0;
    content->values = calloc(n ? (size_t)n : 1, sizeof *content->values);
    if (!content->values || gguf_names_init(&content->keys, n)) {
        return error_set(err, "out of memory for %" PRIu64 " metadata pairs", n);
    }
    c->what = "metadata pair";
    c->n_items = n;
    for (c->item = 0; c->item < n; c->item++) {
        struct gguf_value *v = &content->values[c->item];
        content->n_values++; /* counted before it is complete, so that its strings are freed */
        if (take_value(c, v, err)) {
            return -1;
        }
        if (gguf_names_add(&content->keys, v->key, c->item)) {
            char key[GGUF_SHOWN_BYTES];
            return error_set(err, "key %s appears twice", gguf_shown(key, v->key));
        }
    }
    return 0;
}

/* Power of two, default 32. */
static int find_alignment(const struct gguf_content *content, uint64_t *alignment, struct error *err)
{
    static const char key[] = "general.alignment";
    uint64_t place;
    *alignment = 32;
    if (!gguf_names_find(&content->keys, (struct gguf_string){key, sizeof key - 1}, &place)) {
        return 0;
    }
    const struct gguf_value *v = &content->values[place];
    if (v->kind != GGUF_U32) {
        return error_set(err, "%s is of kind %s, expected u32", key, gguf_kind_name(v->kind));
    }
    *alignment = gguf_load_u32(v->data);
    if (*alignment == 0 || (*alignment & (*alignment - 1))) {
        return error_set(err, "%s is %" PRIu64 ", expected a power of two", key, *alignment);
    }
    return 0;
}

static int take_name(struct cursor *c, struct gguf_tensor *t, struct error *err)
{
    struct gguf_string name;
    char shown[GGUF_SHOWN_BYTES];
    if (take_string(c, &name, err)) {
        return -1;
    }
    if (name.length >= sizeof t->name) {
        return error_set(err, "tensor name %s has %zu bytes, expected at most %zu", gguf_shown(shown, name), name.length,
                         sizeof t->name - 1);
    }
    if (memchr(name.data, '\0', name.length)) {
        return error_set(err, "tensor name %s holds a zero byte", gguf_shown(shown, name));
    }
    memcpy(t->name, name.data, name.length);
    return 0;
}

static int take_dims(struct cursor *c, struct gguf_tensor *t, const char *name, struct error *err)
{
    if (take_u32(c, &t->n_dims, err)) {
        return -1;
    }
    if (t->n_dims < 1 || t->n_dims > 4) {
        return error_set(err, "tensor %s has %" PRIu32 " dimensions, expected 1 to 4", name, t->n_dims);
    }
    int64_t n = 1;
    for (uint32_t d = 0; d < 4; d++) {
        uint64_t dim = 1;
        if (d < t->n_dims && take_u64(c, &dim, err)) {
            return -1;
        }
        if (dim == 0 || dim > (uint64_t)(INT64_MAX / n)) {
            return error_set(err,
                             "tensor %s has dimension %" PRIu32 " of %" PRIu64
                             ", expected at least 1 and fewer than 2^63 elements in all",
                             name, d, dim);
        }
        t->dims[d] = (int64_t)dim;
        n *= (int64_t)dim;
    }
    return 0;
}

/* Sets t->bytes from type and dims. */
static int measure(struct gguf_tensor *t, const char *name, struct error *err)
{
    const struct dtype_info *info = dtype_info(t->type);
    if (!info) {
        return error_set(err, "tensor %s has type number %" PRIu32 ", which is none of GGUF's (or is retired)", name, t->type);
    }
    if (t->dims[0] % info->block) {
        return error_set(err, "tensor %s has rows of %" PRId64 " elements, expected a multiple of %" PRId32 " (the block of %s)",
                         name, t->dims[0], info->block, info->name);
    }
    uint64_t n_blocks = (uint64_t)(t->dims[0] / info->block) * (uint64_t)(t->dims[1] * t->dims[2] * t->dims[3]);
    if (n_blocks > (uint64_t)(PTRDIFF_MAX / 4) / (uint64_t)info->block_bytes) {
        return error_set(err, "tensor %s has %" PRIu64 " blocks of %" PRId32 " bytes, too large for any machine", name, n_blocks,
                         info->block_bytes);
    }
    t->bytes = (size_t)n_blocks * (size_t)info->block_bytes;
    return 0;
}

/* Offsets are still relative to the data section; *end is where the tensor before ended, padded. */
static int take_tensor(struct cursor *c, struct gguf_tensor *t, uint64_t alignment, uint64_t *end, struct error *err)
{
    if (take_name(c, t, err)) {
        return -1;
    }
    char name[GGUF_SHOWN_BYTES];
    gguf_shown(name, (struct gguf_string){t->name, strlen(t->name)});
    if (take_dims(c, t, name, err) || take_u32(c, &t->type, err) || take_u64(c, &t->offset, err) || measure(t, name, err)) {
        return -1;
    }
    if (t->offset % alignment) {
        return error_set(err, "tensor %s begins at offset %" PRIu64 ", expected a multiple of %" PRIu64 " (the alignment)", name,
                         t->offset, alignment);
    }
    if (t->offset != *end) {
        return error_set(err, "tensor %s begins at offset %" PRIu64 ", expected %" PRIu64 " (right after the one before)", name,
                         t->offset, *end);
    }
    uint64_t padded = (t->bytes + (alignment - 1)) & ~(alignment - 1);
    if (padded > (uint64_t)(PTRDIFF_MAX / 4) - *end) {
        return error_set(err, "tensor %s ends beyond what any machine can hold", name);
    }
    *end += padded;
    return 0;
}

/* Turns the offsets into absolute ones. The padding after the last tensor counts, as in the reference reader. */
static int place_tensors(struct gguf_content *content, const uint8_t *bytes, size_t n_bytes, uint64_t data_begin,
                         uint64_t data_bytes, struct error *err)
{
    content->has_data = data_begin < n_bytes || data_bytes == 0;
    content->header_bytes = data_begin < n_bytes ? (size_t)data_begin : n_bytes;
    if (content->has_data && data_bytes > n_bytes - content->header_bytes) {
        return error_set(err, "holds %zu bytes of tensor data, expected %" PRIu64 " (cut off?)", n_bytes - content->header_bytes,
                         data_bytes);
    }
    for (uint64_t i = 0; i < content->n_tensors; i++) {
        struct gguf_tensor *t = &content->tensors[i];
        t->offset += data_begin;
        t->data = content->has_data ? bytes + t->offset : NULL;
    }
    return 0;
}

static int parse_tensors(struct gguf_content *content, struct cursor *c, const uint8_t *bytes, size_t n_bytes, struct error *err)
{
    uint64_t n = content->n_tensors, alignment, data_bytes = 0;
    if (find_alignment(content, &alignment, err)) {
        return -1;
    }
    if (n > c->left / TENSOR_MIN_BYTES) {
        return error_set(err, "lists %" PRIu64 " tensors, but only %zu bytes are left for their directory (cut off or corrupt?)",
                         n, c->left);
    }
    content->tensors = calloc(n ? (size_t)n : 1, sizeof *content->tensors);
    if (!content->tensors) {
        return error_set(err, "out of memory for %" PRIu64 " tensors", n);
    }
    c->what = "tensor";
    c->n_items = n;
    for (c->item = 0; c->item < n; c->item++) {
        if (take_tensor(c, &content->tensors[c->item], alignment, &data_bytes, err)) {
            return -1;
        }
    }
    uint64_t header_end = (uint64_t)(c->at - bytes);
    return place_tensors(content, bytes, n_bytes, (header_end + (alignment - 1)) & ~(alignment - 1), data_bytes, err);
}

static int parse_version(struct gguf_content *content, const uint8_t *bytes, size_t n_bytes, struct error *err)
{
    if (n_bytes < 4 || memcmp(bytes, "GGUF", 4) != 0) {
        char shown[GGUF_SHOWN_BYTES];
        return error_set(err, "begins with \"%s\", expected \"GGUF\": this is no GGUF file",
                         gguf_shown(shown, (struct gguf_string){(const char *)bytes, n_bytes < 4 ? n_bytes : 4}));
    }
    if (n_bytes < HEADER_MIN_BYTES) {
        return error_set(err, "has %zu bytes, expected at least %d (cut off?)", n_bytes, HEADER_MIN_BYTES);
    }
    uint32_t version = gguf_load_u32(bytes + 4);
    if (version && (version & 0xffffu) == 0) {
        return error_set(
            err, "is a big-endian GGUF file, expected a little-endian one (convert it with gguf_convert_endian.py of llama.cpp)");
    }
    if (version == 1) {
        return error_set(err, "is of GGUF version 1, expected 2 or 3 (convert the model again with a current converter)");
    }
    if (version != 2 && version != 3) {
        return error_set(err, "is of GGUF version %" PRIu32 ", expected 2 or 3", version);
    }
    content->version = version;
    return 0;
}

static int parse(struct gguf_content *content, const uint8_t *bytes, size_t n_bytes, struct error *err)
{
    if (parse_version(content, bytes, n_bytes, err)) {
        return -1;
    }
    struct cursor c = {.at = bytes + HEADER_MIN_BYTES, .left = n_bytes - HEADER_MIN_BYTES};
    content->n_tensors = gguf_load_u64(bytes + 8);
    uint64_t n_values = gguf_load_u64(bytes + 16);
    if (n_values > c.left / PAIR_MIN_BYTES || content->n_tensors > c.left / TENSOR_MIN_BYTES) {
        return error_set(err,
                         "lists %" PRIu64 " metadata pairs and %" PRIu64
                         " tensors, more than its %zu bytes can hold (cut off or corrupt?)",
                         n_values, content->n_tensors, n_bytes);
    }
    content->n_values = n_values;
    return parse_values(content, &c, err) || parse_tensors(content, &c, bytes, n_bytes, err) ? -1 : 0;
}

int gguf_parse(struct gguf_content *content, const uint8_t *bytes, size_t n_bytes, struct error *err)
{
    *content = (struct gguf_content){0};
    if (parse(content, bytes, n_bytes, err)) {
        gguf_content_free(content);
        return -1;
    }
    return 0;
}

void gguf_content_free(struct gguf_content *content)
{
    for (uint64_t i = 0; i < content->n_values; i++) {
        free(content->values[i].strings);
    }
    free(content->values);
    free(content->tensors);
    gguf_names_free(&content->keys);
    *content = (struct gguf_content){0};
}
