/* Reads GGUF v2 and v3 files (little-endian), single or split, without trusting a byte of them. SPDX-License-Identifier: MIT
 *
 * The files are mapped read-only and stay mapped until gguf_close; strings and tensor data point into the mapping.
 * Every count, size, offset and string is checked against the file before it is used. Source: ggml, docs/gguf.md. */
#ifndef IO_GGUF_H
#define IO_GGUF_H

#include "src/core/error.h"
#include "src/core/tensor.h"

enum gguf_kind {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64
};

/* Bytes of the file, not terminated. */
struct gguf_string {
    const char *data;
    size_t length;
};

struct gguf_value {
    struct gguf_string key;
    enum gguf_kind kind;
    enum gguf_kind element;      /* of an array; never GGUF_ARRAY */
    uint64_t count;              /* elements of an array, else 1 */
    const uint8_t *data;         /* first element as it stands in the file (unaligned) */
    struct gguf_string *strings; /* [count] for strings and arrays of strings, owned by the file; else NULL */
};

struct gguf_tensor {
    char name[64];
    uint32_t type;   /* number in the file; may be one the program does not know */
    uint32_t n_dims; /* 1 .. 4 */
    int64_t dims[4]; /* dims[0] is the contiguous one; unused ones are 1 */
    size_t bytes;
    const uint8_t *data; /* NULL when the part holds the directory only (has_data == 0) */
    int32_t file;        /* which part of a split file */
    uint64_t offset;     /* absolute, in that part */
};

struct gguf_part {
    char *path;
    const uint8_t *map;
    size_t bytes;
    size_t header_bytes; /* everything before the tensor data */
};

struct gguf {
    uint32_t version;
    uint64_t n_values;
    struct gguf_value *values; /* of the first part, in file order */
    uint64_t n_tensors;
    struct gguf_tensor *tensors; /* of all parts, in file order */
    int32_t n_parts;
    struct gguf_part *parts;
    int has_data; /* 0: some part ends where its tensor data would begin: good for planning and simulation, not for computing */
    struct gguf_index *index; /* private: names to places */
    int borrowed;             /* 1: the bytes are the caller's, not a mapped file */
};

/* Opens a file; of a split file (name ends in -00001-of-0000N.gguf) all N parts are opened, whichever part is named.
 * Messages begin with the path. On failure *file is zeroed. */
int gguf_open(struct gguf *file, const char *path, struct error *err);
void gguf_close(struct gguf *file);

/* The same for bytes in memory, borrowed: one part, no split. For fuzzing and tests. */
int gguf_open_memory(struct gguf *file, const void *bytes, size_t n_bytes, struct error *err);

/* NULL when there is none. */
const struct gguf_value *gguf_find(const struct gguf *file, const char *key);
const struct gguf_tensor *gguf_find_tensor(const struct gguf *file, const char *name);

/* Read a scalar of any integer, float (for i64 and bool: a whole number) or bool kind with a range check; an absent key gives the
 * default and 0, a wrong kind or a value out of range gives -1 and *err. gguf_require_* take an absent key as an error. */
int gguf_get_i64(const struct gguf *file, const char *key, int64_t low, int64_t high, int64_t fallback, int64_t *out,
                 struct error *err);
int gguf_get_f64(const struct gguf *file, const char *key, double fallback, double *out, struct error *err);
int gguf_get_bool(const struct gguf *file, const char *key, int fallback, int *out, struct error *err);
int gguf_require_i64(const struct gguf *file, const char *key, int64_t low, int64_t high, int64_t *out, struct error *err);
/* NULL data when the key is absent; -1 when it is no string. */
int gguf_get_string(const struct gguf *file, const char *key, struct gguf_string *out, struct error *err);
/* 1 when the strings are equal. */
int gguf_string_is(struct gguf_string s, const char *text);

/* Element i of a value (scalar: i = 0) of integer/bool or any numeric kind; a u64 beyond INT64_MAX reads as INT64_MAX. The caller
 * has checked kind and count. */
int64_t gguf_element_i64(const struct gguf_value *value, uint64_t i);
double gguf_element_f64(const struct gguf_value *value, uint64_t i);

/* "u8", "string", ... */
const char *gguf_kind_name(enum gguf_kind kind);

/* Matrix view of a tensor: rows = product of dims[1..]; *err when the program cannot compute with its type, when the file holds
 * no data (has_data == 0), or when the data is not aligned to its numbers (4 bytes for F32, else 2). */
int gguf_tensor_view(const struct gguf_tensor *t, struct tensor *out, struct error *err);
/* The same without data (NULL), for who only needs to know how large things are. */
int gguf_tensor_shape(const struct gguf_tensor *t, struct tensor *out, struct error *err);

/* 64-bit hash of the bytes of all headers (metadata and tensor directories) and the parts' sizes: equal on two ranks means the
 * same model file with near certainty, without reading the weights. */
uint64_t gguf_header_hash(const struct gguf *file);

#endif
