/* SPDX-License-Identifier: MIT */
#include "tests/io/gguf_bytes.h"

#include <stdlib.h>
#include <string.h>

void gguf_bytes_free(struct gguf_bytes *b)
{
    free(b->data);
    *b = (struct gguf_bytes){0};
}

void gguf_bytes_put(struct gguf_bytes *b, const void *data, size_t n)
{
    if (b->n + n > b->capacity) {
        b->capacity = 2 * (b->n + n) + 64;
        b->data = realloc(b->data, b->capacity);
        if (!b->data) {
            abort();
        }
    }
    if (n) {
        memcpy(b->data + b->n, data, n);
    }
    b->n += n;
}

static void put_number(struct gguf_bytes *b, uint64_t x, size_t n_bytes)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(x >> (8 * i));
    }
    gguf_bytes_put(b, bytes, n_bytes);
}

void gguf_bytes_u8(struct gguf_bytes *b, uint8_t x)
{
    put_number(b, x, 1);
}

void gguf_bytes_u16(struct gguf_bytes *b, uint16_t x)
{
    put_number(b, x, 2);
}

void gguf_bytes_u32(struct gguf_bytes *b, uint32_t x)
{
    put_number(b, x, 4);
}

void gguf_bytes_u64(struct gguf_bytes *b, uint64_t x)
{
    put_number(b, x, 8);
}

void gguf_bytes_f32(struct gguf_bytes *b, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    put_number(b, bits, 4);
}

void gguf_bytes_f64(struct gguf_bytes *b, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    put_number(b, bits, 8);
}

void gguf_bytes_string(struct gguf_bytes *b, const char *text)
{
    gguf_bytes_u64(b, strlen(text));
    gguf_bytes_put(b, text, strlen(text));
}

void gguf_bytes_pad(struct gguf_bytes *b, size_t alignment)
{
    while (b->n % alignment) {
        gguf_bytes_u8(b, 0);
    }
}

void gguf_bytes_begin(struct gguf_bytes *b, uint32_t version, uint64_t n_tensors, uint64_t n_values)
{
    gguf_bytes_put(b, "GGUF", 4);
    gguf_bytes_u32(b, version);
    gguf_bytes_u64(b, n_tensors);
    gguf_bytes_u64(b, n_values);
}

void gguf_bytes_key(struct gguf_bytes *b, const char *key, uint32_t kind)
{
    gguf_bytes_string(b, key);
    gguf_bytes_u32(b, kind);
}

void gguf_bytes_array(struct gguf_bytes *b, const char *key, uint32_t element, uint64_t count)
{
    gguf_bytes_key(b, key, GGUF_ARRAY);
    gguf_bytes_u32(b, element);
    gguf_bytes_u64(b, count);
}

void gguf_bytes_key_u32(struct gguf_bytes *b, const char *key, uint32_t x)
{
    gguf_bytes_key(b, key, GGUF_U32);
    gguf_bytes_u32(b, x);
}

void gguf_bytes_key_string(struct gguf_bytes *b, const char *key, const char *text)
{
    gguf_bytes_key(b, key, GGUF_STRING);
    gguf_bytes_string(b, text);
}

void gguf_bytes_tensor(struct gguf_bytes *b, const char *name, const uint64_t dims[5], uint32_t type, uint64_t offset)
{
    uint32_t n_dims = 0;
    while (n_dims < 5 && dims[n_dims]) {
        n_dims++;
    }
    gguf_bytes_string(b, name);
    gguf_bytes_u32(b, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) {
        gguf_bytes_u64(b, dims[i]);
    }
    gguf_bytes_u32(b, type);
    gguf_bytes_u64(b, offset);
}

static void put_scalars(struct gguf_bytes *b)
{
    gguf_bytes_key(b, "v.u8", GGUF_U8), gguf_bytes_u8(b, 200);
    gguf_bytes_key(b, "v.i8", GGUF_I8), gguf_bytes_u8(b, (uint8_t)-100);
    gguf_bytes_key(b, "v.u16", GGUF_U16), gguf_bytes_u16(b, 60000);
    gguf_bytes_key(b, "v.i16", GGUF_I16), gguf_bytes_u16(b, (uint16_t)-30000);
    gguf_bytes_key_u32(b, "v.u32", 4000000000u);
    gguf_bytes_key(b, "v.i32", GGUF_I32), gguf_bytes_u32(b, (uint32_t)-2000000000);
    gguf_bytes_key(b, "v.f32", GGUF_F32), gguf_bytes_f32(b, 1.5f);
    gguf_bytes_key(b, "v.bool", GGUF_BOOL), gguf_bytes_u8(b, 1);
    gguf_bytes_key_string(b, "v.string", "gr\xc3\xbc\xc3\x9f");
    gguf_bytes_key(b, "v.u64", GGUF_U64), gguf_bytes_u64(b, UINT64_MAX);
    gguf_bytes_key(b, "v.i64", GGUF_I64), gguf_bytes_u64(b, (uint64_t)INT64_MIN);
    gguf_bytes_key(b, "v.f64", GGUF_F64), gguf_bytes_f64(b, -0.1);
}

enum { N_SCALARS = 12, N_ARRAYS = 5 };

static void put_arrays(struct gguf_bytes *b)
{
    gguf_bytes_array(b, "a.string", GGUF_STRING, 3);
    gguf_bytes_string(b, "one"), gguf_bytes_string(b, ""), gguf_bytes_string(b, "three");
    gguf_bytes_array(b, "a.i16", GGUF_I16, 3);
    gguf_bytes_u16(b, 1), gguf_bytes_u16(b, (uint16_t)-2), gguf_bytes_u16(b, 3);
    gguf_bytes_array(b, "a.f32", GGUF_F32, 2);
    gguf_bytes_f32(b, 0.25f), gguf_bytes_f32(b, -8.0f);
    gguf_bytes_array(b, "a.u64", GGUF_U64, 2);
    gguf_bytes_u64(b, 7), gguf_bytes_u64(b, (uint64_t)1 << 40);
    gguf_bytes_array(b, "a.none", GGUF_STRING, 0);
}

void gguf_bytes_sample(struct gguf_bytes *b, uint32_t version)
{
    gguf_bytes_begin(b, version, 4, N_SCALARS + N_ARRAYS);
    put_scalars(b);
    put_arrays(b);
    gguf_bytes_tensor(b, "a.weight", (uint64_t[5]){3, 2}, DTYPE_F32, 0);        /* 24 bytes, padded to 32 */
    gguf_bytes_tensor(b, "b.weight", (uint64_t[5]){5, 1, 2, 2}, DTYPE_F16, 32); /* 40, padded to 64 */
    gguf_bytes_tensor(b, "c.weight", (uint64_t[5]){64, 2}, DTYPE_Q8_0, 96);     /* 136, padded to 160 */
    gguf_bytes_tensor(b, "d.ids", (uint64_t[5]){4}, 26, 256);                   /* 16, padded to 32 */
    gguf_bytes_pad(b, 32);
    for (int i = 0; i < 288; i++) {
        gguf_bytes_u8(b, (uint8_t)(i * 7 + 1));
    }
}

static uint64_t add(uint64_t h, const void *data, size_t n)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ p[i]) * 0x100000001b3u;
    }
    return h;
}

static uint64_t visit_value(uint64_t h, const struct gguf *file, const struct gguf_value *v)
{
    struct error err;
    struct gguf_string s;
    char key[256];
    int64_t i64 = 0;
    double f64 = 0.0;
    int flag = 0;
    h = add(h, v->key.data, v->key.length);
    if (v->key.length < sizeof key) {
        memcpy(key, v->key.data, v->key.length);
        key[v->key.length] = '\0';
        if (strlen(key) == v->key.length && gguf_find(file, key) != v) {
            abort();
        }
        gguf_get_i64(file, key, -10, 1000, 0, &i64, &err);
        gguf_get_f64(file, key, 0.0, &f64, &err);
        gguf_get_bool(file, key, 0, &flag, &err);
        gguf_get_string(file, key, &s, &err);
        h = add(h, &i64, sizeof i64);
        h = add(h, &flag, sizeof flag);
    }
    for (uint64_t i = 0; i < v->count; i++) {
        if (v->element == GGUF_STRING) {
            h = add(h, v->strings[i].data, v->strings[i].length);
        } else {
            i64 = gguf_element_i64(v, i);
            f64 = gguf_element_f64(v, i);
            h = add(add(h, &i64, sizeof i64), &f64, sizeof f64);
        }
    }
    return h;
}

uint64_t gguf_visit(const struct gguf *file)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (uint64_t i = 0; i < file->n_values; i++) {
        h = visit_value(h, file, &file->values[i]);
    }
    for (uint64_t i = 0; i < file->n_tensors; i++) {
        const struct gguf_tensor *t = &file->tensors[i];
        struct tensor view;
        struct error err;
        if (gguf_find_tensor(file, t->name) != t) {
            abort();
        }
        if (gguf_tensor_view(t, &view, &err) == 0 && (size_t)view.rows * view.row_bytes != t->bytes) {
            abort();
        }
        h = add(h, t->name, sizeof t->name);
        h = add(h, t->dims, sizeof t->dims);
        h = add(h, t->data, t->data ? t->bytes : 0);
    }
    return add(h, &(uint64_t){gguf_header_hash(file)}, 8);
}
