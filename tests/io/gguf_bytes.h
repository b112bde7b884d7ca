/* Writes GGUF files into memory, right or wrong as the test wants. SPDX-License-Identifier: MIT */
#ifndef TESTS_IO_GGUF_BYTES_H
#define TESTS_IO_GGUF_BYTES_H

#include "io/gguf.h"

struct gguf_bytes {
    uint8_t *data; /* [n] owned */
    size_t n, capacity;
};

void gguf_bytes_free(struct gguf_bytes *b);
void gguf_bytes_put(struct gguf_bytes *b, const void *data, size_t n);
void gguf_bytes_u8(struct gguf_bytes *b, uint8_t x);
void gguf_bytes_u16(struct gguf_bytes *b, uint16_t x);
void gguf_bytes_u32(struct gguf_bytes *b, uint32_t x);
void gguf_bytes_u64(struct gguf_bytes *b, uint64_t x);
void gguf_bytes_f32(struct gguf_bytes *b, float x);
void gguf_bytes_f64(struct gguf_bytes *b, double x);
void gguf_bytes_string(struct gguf_bytes *b, const char *text);
/* Zeros up to a multiple of the alignment. */
void gguf_bytes_pad(struct gguf_bytes *b, size_t alignment);

/* Magic, version and counts. */
void gguf_bytes_begin(struct gguf_bytes *b, uint32_t version, uint64_t n_tensors, uint64_t n_values);
/* Key and kind; the value follows. */
void gguf_bytes_key(struct gguf_bytes *b, const char *key, uint32_t kind);
void gguf_bytes_array(struct gguf_bytes *b, const char *key, uint32_t element, uint64_t count);
void gguf_bytes_key_u32(struct gguf_bytes *b, const char *key, uint32_t x);
void gguf_bytes_key_string(struct gguf_bytes *b, const char *key, const char *text);
/* Dimensions until the first 0. */
void gguf_bytes_tensor(struct gguf_bytes *b, const char *name, const uint64_t dims[5], uint32_t type, uint64_t offset);

/* A file with a value of every kind, arrays of them, four tensors (F32, F16, Q8_0, I32) and their data. */
void gguf_bytes_sample(struct gguf_bytes *b, uint32_t version);

/* Reads everything a file offers; the result depends on every byte of it. */
uint64_t gguf_visit(const struct gguf *file);

#endif
