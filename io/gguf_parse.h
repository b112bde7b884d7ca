/* Reads the header of one GGUF file (one part of a split one) out of untrusted bytes. SPDX-License-Identifier: MIT */
#ifndef IO_GGUF_PARSE_H
#define IO_GGUF_PARSE_H

#include "io/gguf.h"
#include "io/gguf_names.h"

struct gguf_content {
    uint32_t version;
    uint64_t n_values;
    struct gguf_value *values; /* [n_values] owned */
    struct gguf_names keys;    /* into values */
    uint64_t n_tensors;
    struct gguf_tensor *tensors; /* [n_tensors] owned; the field `file` is left 0 */
    size_t header_bytes;         /* up to the tensor data */
    int has_data;                /* 0: tensors are listed but the file ends where their data would begin */
};

/* Strings and data point into bytes. Names of tensors are checked one by one, not against each other.
 * Messages do not name the file. On failure *content is zeroed. */
int gguf_parse(struct gguf_content *content, const uint8_t *bytes, size_t n_bytes, struct error *err);
void gguf_content_free(struct gguf_content *content);

/* 1 for whole numbers of any size; 0 for truth values. */
int gguf_kind_is_integer(enum gguf_kind kind);

/* Little-endian numbers at any address. */
uint32_t gguf_load_u32(const uint8_t *p);
uint64_t gguf_load_u64(const uint8_t *p);

/* The bytes as printable text for messages: others than ASCII as \xNN, long ones cut. Gives out. */
enum { GGUF_SHOWN_BYTES = 96 };
const char *gguf_shown(char out[GGUF_SHOWN_BYTES], struct gguf_string s);

#endif
