/* SPDX-License-Identifier: MIT */
#include "io/tokenizer.h"

#include "io/tokenizer_private.h"

#include <stdlib.h>
#include <string.h>

static int fill(struct tokenizer *t, const struct gguf *file, struct error *err)
{
    if (vocabulary_load(t, file, err)) {
        return -1;
    }
    return t->kind == TOKENIZER_NONE ? 0 : special_tokens_init(t, err);
}

int tokenizer_open(struct tokenizer **out, const struct gguf *file, struct error *err)
{
    *out = NULL;
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t) {
        return error_set(err, "out of memory for the tokenizer");
    }
    if (fill(t, file, err)) {
        tokenizer_close(t);
        return -1;
    }
    *out = t;
    return 0;
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t) {
        return;
    }
    for (int32_t i = 0; i < t->n_patterns; i++) {
        pcre2_code_free(t->patterns[i]);
    }
    string_table_free(&t->key_ids);
    pair_table_free(&t->merges);
    special_tokens_free(&t->special);
    arena_free(&t->arena);
    free(t->texts);
    free(t->pieces);
    free(t->traits);
    free(t->ends);
    free(t->keys);
    free(t->orders);
    free(t);
}

enum tokenizer_kind tokenizer_kind(const struct tokenizer *t)
{
    return t->kind;
}

int32_t tokenizer_n_tokens(const struct tokenizer *t)
{
    return t->n_tokens;
}

int32_t tokenizer_bos(const struct tokenizer *t)
{
    return t->bos;
}

int32_t tokenizer_eos(const struct tokenizer *t)
{
    return t->eos;
}

int tokenizer_is_end(const struct tokenizer *t, int32_t id)
{
    return t->ends && id >= 0 && id < t->n_tokens && t->ends[id];
}

int tokenizer_adds_bos(const struct tokenizer *t)
{
    return t->add_bos && t->bos >= 0;
}

int tokenizer_adds_eos(const struct tokenizer *t)
{
    return t->add_eos && t->eos >= 0;
}

void tokenizer_ids_free(struct tokenizer_ids *ids)
{
    free(ids->ids);
    *ids = (struct tokenizer_ids){0};
}

static int encode_segments(struct encoder *e, const char *text, const struct segment *segments, size_t n_segments)
{
    int after_special = 1; /* SentencePiece puts its space at the start and after each special token */
    for (size_t i = 0; i < n_segments; i++) {
        const struct segment *s = &segments[i];
        int failed;
        if (s->id != TOKENIZER_NO_ID) {
            failed = encoder_push(e, s->id);
        } else if (e->tokenizer->kind == TOKENIZER_SPM) {
            failed = spm_encode(e, text + s->start, s->n, after_special && e->tokenizer->add_space_prefix);
        } else {
            failed = bpe_encode(e, text + s->start, s->n);
        }
        if (failed) {
            return -1;
        }
        after_special = s->id != TOKENIZER_NO_ID;
    }
    return 0;
}

/* The cache pays when words come again; a short text needs none. */
static void open_cache(struct encoder *e, size_t n_bytes)
{
    size_t n = 64;
    while (n < n_bytes / 8 && n < 32768) {
        n *= 2;
    }
    if (n_bytes >= 256) {
        e->cache = calloc(n, sizeof *e->cache);
        e->cache_mask = n - 1;
    }
}

static int encode_text(struct encoder *e, const char *text, size_t n_bytes, int parse_special)
{
    if (e->tokenizer->kind == TOKENIZER_BPE) {
        e->match = pcre2_match_data_create(1, NULL);
        if (!e->match) {
            return error_set(e->err, "out of memory for the pre-tokenizer");
        }
    }
    open_cache(e, n_bytes);
    struct segment *segments;
    size_t n_segments;
    if (special_tokens_split(e->tokenizer, text, n_bytes, parse_special, &segments, &n_segments)) {
        return error_set(e->err, "out of memory for the special tokens of a text of %zu bytes", n_bytes);
    }
    int rc = encode_segments(e, text, segments, n_segments);
    free(segments);
    return rc;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n_bytes, int flags, struct tokenizer_ids *out,
                     struct error *err)
{
    if (t->kind == TOKENIZER_NONE) {
        return error_set(err,
                         "the model's tokenizer is \"%s\", which turns no text into tokens here (known: llama, gpt2): give ids",
                         t->model);
    }
    if (n_bytes > INT32_MAX / 4) {
        return error_set(err, "a text of %zu bytes is too long to tokenize at once (at most %d)", n_bytes, INT32_MAX / 4);
    }
    struct encoder e = {.tokenizer = t, .out = out, .err = err};
    int rc = 0;
    if (flags & TOKENIZER_ADD_SPECIAL && tokenizer_adds_bos(t)) {
        rc = encoder_push(&e, t->bos);
    }
    if (rc == 0) {
        rc = encode_text(&e, text, n_bytes, flags & TOKENIZER_PARSE_SPECIAL);
    }
    if (rc == 0 && flags & TOKENIZER_ADD_SPECIAL && tokenizer_adds_eos(t)) {
        rc = encoder_push(&e, t->eos);
    }
    pcre2_match_data_free(e.match);
    free(e.symbols);
    free(e.candidates);
    free(e.buffer);
    free(e.cache);
    return rc;
}

size_t tokenizer_piece(const struct tokenizer *t, int32_t id, int special, const char **bytes)
{
    *bytes = "";
    if (t->kind == TOKENIZER_NONE || id < 0 || id >= t->n_tokens) {
        return 0;
    }
    if (!special && t->traits[id] & (TOKEN_CONTROL | TOKEN_UNKNOWN)) {
        return 0;
    }
    *bytes = t->pieces[id].n ? t->pieces[id].data : "";
    return t->pieces[id].n;
}

size_t tokenizer_max_piece(const struct tokenizer *t)
{
    return t->max_piece + sizeof((struct tokenizer_stream *)0)->held;
}

void tokenizer_stream_init(struct tokenizer_stream *s, const struct tokenizer *t, int at_start, int special)
{
    *s = (struct tokenizer_stream){.tokenizer = t, .at_start = at_start, .special = special};
}

/* Bytes a sequence with this first byte has, or 0 when none begins so. */
static size_t strict_length(uint8_t first)
{
    return first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
}

/* Bytes at the end of text that are the beginning of a sequence whose rest may yet come. */
static size_t incomplete_tail(const uint8_t *s, size_t n)
{
    for (size_t tail = 1; tail <= 3 && tail <= n; tail++) {
        uint8_t first = s[n - tail];
        if ((first & 0xc0) == 0x80) {
            continue;
        }
        if (tail >= strict_length(first)) {
            return 0;
        }
        if (tail == 1) {
            return 1;
        }
        uint8_t second = s[n - tail + 1];
        int possible = first == 0xe0   ? second >= 0xa0
                       : first == 0xed ? second < 0xa0
                       : first == 0xf0 ? second >= 0x90
                                       : first != 0xf4 || second < 0x90;
        return possible ? tail : 0;
    }
    return 0;
}

size_t tokenizer_stream_put(struct tokenizer_stream *s, int32_t id, char *out)
{
    const struct tokenizer *t = s->tokenizer;
    const char *piece;
    size_t n = tokenizer_piece(t, id, s->special, &piece);
    int is_text = t->kind != TOKENIZER_NONE && id >= 0 && id < t->n_tokens && !(t->traits[id] & (TOKEN_CONTROL | TOKEN_UNKNOWN));
    if (s->at_start && is_text) {
        s->at_start = 0;
        if (t->kind == TOKENIZER_SPM && t->add_space_prefix && n && piece[0] == ' ') {
            piece++;
            n--;
        }
    }
    size_t total = (size_t)s->n_held;
    memcpy(out, s->held, total);
    memcpy(out + total, piece, n);
    total += n;
    size_t tail = incomplete_tail((const uint8_t *)out, total);
    memcpy(s->held, out + total - tail, tail);
    s->n_held = (int)tail;
    return total - tail;
}

size_t tokenizer_stream_flush(struct tokenizer_stream *s, char *out)
{
    size_t n = (size_t)s->n_held;
    memcpy(out, s->held, n);
    s->n_held = 0;
    return n;
}
