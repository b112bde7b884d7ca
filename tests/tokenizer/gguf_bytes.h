/* Writes small GGUF files in memory for tests: keys only, no tensors. SPDX-License-Identifier: MIT */
#ifndef TESTS_TOKENIZER_GGUF_BYTES_H
#define TESTS_TOKENIZER_GGUF_BYTES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Numbers of value kinds in a file. */
enum {
    GGUF_BYTES_U32 = 4,
    GGUF_BYTES_I32 = 5,
    GGUF_BYTES_F32 = 6,
    GGUF_BYTES_BOOL = 7,
    GGUF_BYTES_STRING = 8,
    GGUF_BYTES_ARRAY = 9
};

struct gguf_bytes {
    uint8_t data[1 << 16];
    size_t n;
    uint64_t n_keys;
};

static inline void gguf_bytes_put(struct gguf_bytes *g, const void *bytes, size_t n)
{
    if (n > sizeof g->data - g->n) {
        abort();
    }
    memcpy(g->data + g->n, bytes, n);
    g->n += n;
}

static inline void gguf_bytes_u32(struct gguf_bytes *g, uint32_t x)
{
    gguf_bytes_put(g, &x, 4);
}

static inline void gguf_bytes_u64(struct gguf_bytes *g, uint64_t x)
{
    gguf_bytes_put(g, &x, 8);
}

static inline void gguf_bytes_text(struct gguf_bytes *g, const char *text)
{
    gguf_bytes_u64(g, strlen(text));
    gguf_bytes_put(g, text, strlen(text));
}

static inline void gguf_bytes_init(struct gguf_bytes *g)
{
    g->n = 0;
    g->n_keys = 0;
    gguf_bytes_put(g, "GGUF", 4);
    gguf_bytes_u32(g, 3);
    gguf_bytes_u64(g, 0);
    gguf_bytes_u64(g, 0);
}

static inline void gguf_bytes_key(struct gguf_bytes *g, const char *key, uint32_t kind)
{
    gguf_bytes_text(g, key);
    gguf_bytes_u32(g, kind);
    g->n_keys++;
    memcpy(g->data + 16, &g->n_keys, 8);
}

static inline void gguf_bytes_add_text(struct gguf_bytes *g, const char *key, const char *text)
{
    gguf_bytes_key(g, key, GGUF_BYTES_STRING);
    gguf_bytes_text(g, text);
}

static inline void gguf_bytes_add_u32(struct gguf_bytes *g, const char *key, uint32_t x)
{
    gguf_bytes_key(g, key, GGUF_BYTES_U32);
    gguf_bytes_u32(g, x);
}

static inline void gguf_bytes_add_bool(struct gguf_bytes *g, const char *key, int x)
{
    uint8_t byte = x != 0;
    gguf_bytes_key(g, key, GGUF_BYTES_BOOL);
    gguf_bytes_put(g, &byte, 1);
}

static inline void gguf_bytes_array(struct gguf_bytes *g, const char *key, uint32_t element, uint64_t n)
{
    gguf_bytes_key(g, key, GGUF_BYTES_ARRAY);
    gguf_bytes_u32(g, element);
    gguf_bytes_u64(g, n);
}

#endif
