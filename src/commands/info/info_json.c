/* SPDX-License-Identifier: MIT */
#include "src/commands/info/info_json.h"

#include <string.h>

#include "src/commands/info/info_print.h"
#include "src/commands/json_text.h"

enum { WHOLE_ARRAY = 256, FIRST_ELEMENTS = 8 };

static json_t *element_json(const struct gguf_value *v, uint64_t i)
{
    switch (v->element) {
    case GGUF_STRING: return json_text(v->strings[i].data, v->strings[i].length);
    case GGUF_BOOL: return json_boolean(gguf_element_i64(v, i));
    case GGUF_F32:
    case GGUF_F64: return json_number(gguf_element_f64(v, i));
    case GGUF_U64: /* JSON integers here are signed */
        return gguf_element_i64(v, i) == INT64_MAX ? json_number(gguf_element_f64(v, i)) : json_integer(gguf_element_i64(v, i));
    default: return json_integer(gguf_element_i64(v, i));
    }
}

static json_t *elements_json(const struct gguf_value *v, uint64_t n)
{
    json_t *list = json_array();
    for (uint64_t i = 0; i < n && list; i++) {
        if (json_array_append_new(list, element_json(v, i))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *value_json(const struct gguf_value *v)
{
    if (v->kind != GGUF_ARRAY) {
        return element_json(v, 0);
    }
    if (v->count <= WHOLE_ARRAY) {
        return elements_json(v, v->count);
    }
    return json_pack("{s:s, s:I, s:o}", "kind", gguf_kind_name(v->element), "count", (json_int_t)v->count, "first",
                     elements_json(v, FIRST_ELEMENTS));
}

static json_t *metadata_json(const struct gguf *file)
{
    json_t *object = json_object();
    for (uint64_t i = 0; i < file->n_values && object; i++) {
        const struct gguf_value *v = &file->values[i];
        json_t *key = json_text(v->key.data, v->key.length);
        int failed = !key || json_object_set_new(object, json_string_value(key), value_json(v));
        json_decref(key);
        if (failed) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *part_json(const struct gguf *file, uint64_t i)
{
    const struct gguf_part *p = &file->parts[i];
    return json_pack("{s:o, s:I, s:I}", "path", json_text(p->path, strlen(p->path)), "bytes", (json_int_t)p->bytes,
                     "header_bytes", (json_int_t)p->header_bytes);
}

static json_t *tensor_json(const struct gguf *file, uint64_t i)
{
    const struct gguf_tensor *t = &file->tensors[i];
    json_t *shape = json_array();
    for (uint32_t d = 0; d < t->n_dims && shape; d++) {
        if (json_array_append_new(shape, json_integer(t->dims[d]))) {
            json_decref(shape);
            shape = NULL;
        }
    }
    return json_pack("{s:o, s:s, s:o, s:I, s:i, s:I}", "name", json_text(t->name, strlen(t->name)), "type",
                     dtype_info(t->type)->name, "shape", shape, "bytes", (json_int_t)t->bytes, "part", (int)t->file, "offset",
                     (json_int_t)t->offset);
}

static json_t *total_json(const struct info_total *t)
{
    return json_pack("{s:s, s:I, s:I, s:I}", "type", t->type, "tensors", (json_int_t)t->n_tensors, "elements",
                     (json_int_t)t->n_elements, "bytes", (json_int_t)t->bytes);
}

static json_t *totals_json(const struct gguf *file)
{
    struct info_total totals[DTYPE_COUNT];
    int32_t n = info_totals(file, totals);
    json_t *list = json_array();
    for (int32_t i = 0; i < n && list; i++) {
        if (json_array_append_new(list, total_json(&totals[i]))) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

static json_t *list_json(const struct gguf *file, uint64_t n, json_t *(*item)(const struct gguf *, uint64_t))
{
    json_t *list = json_array();
    for (uint64_t i = 0; i < n && list; i++) {
        if (json_array_append_new(list, item(file, i))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

json_t *info_json(const struct gguf *file, int with_tensors)
{
    const char *path = file->parts[0].path;
    json_t *root = json_pack("{s:o, s:I, s:b, s:o, s:o, s:o}", "path", json_text(path, strlen(path)), "version",
                             (json_int_t)file->version, "has_data", file->has_data, "parts",
                             list_json(file, (uint64_t)file->n_parts, part_json), "metadata", metadata_json(file), "totals",
                             totals_json(file));
    if (root && with_tensors && json_object_set_new(root, "tensors", list_json(file, file->n_tensors, tensor_json))) {
        json_decref(root);
        return NULL;
    }
    return root;
}
