/* Joins the symbols of a word, best pair first, and remembers words that come again. SPDX-License-Identifier: MIT */
#include "io/tokenizer_private.h"

#include <stdlib.h>
#include <string.h>

int encoder_push(struct encoder *e, int32_t id)
{
    struct tokenizer_ids *out = e->out;
    if (out->n == out->capacity) {
        size_t capacity = out->capacity ? 2 * out->capacity : 256;
        int32_t *ids = capacity > SIZE_MAX / sizeof *ids ? NULL : realloc(out->ids, capacity * sizeof *ids);
        if (!ids) {
            return error_set(e->err, "out of memory for %zu tokens", capacity);
        }
        out->ids = ids;
        out->capacity = capacity;
    }
    out->ids[out->n++] = id;
    return 0;
}

int encoder_reserve_buffer(struct encoder *e, size_t n_bytes)
{
    if (n_bytes > e->max_buffer) {
        size_t capacity = n_bytes + n_bytes / 2 + 64;
        char *buffer = realloc(e->buffer, capacity);
        if (!buffer) {
            return error_set(e->err, "out of memory for a text of %zu bytes", n_bytes);
        }
        e->buffer = buffer;
        e->max_buffer = capacity;
    }
    return 0;
}

static int comes_before(const struct merge_candidate *a, const struct merge_candidate *b)
{
    return a->order != b->order ? a->order < b->order : a->left < b->left;
}

static int heap_push(struct encoder *e, struct merge_candidate candidate)
{
    if (e->n_candidates == e->max_candidates) {
        size_t capacity = e->max_candidates ? 2 * e->max_candidates : 256;
        struct merge_candidate *candidates = realloc(e->candidates, capacity * sizeof *candidates);
        if (!candidates) {
            return error_set(e->err, "out of memory for %zu merge candidates", capacity);
        }
        e->candidates = candidates;
        e->max_candidates = capacity;
    }
    size_t at = e->n_candidates++;
    while (at > 0 && comes_before(&candidate, &e->candidates[(at - 1) / 2])) {
        e->candidates[at] = e->candidates[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    e->candidates[at] = candidate;
    return 0;
}

static struct merge_candidate heap_pop(struct encoder *e)
{
    struct merge_candidate *heap = e->candidates;
    struct merge_candidate top = heap[0], last = heap[--e->n_candidates];
    size_t at = 0, n = e->n_candidates;
    for (size_t child = 1; child < n; child = 2 * at + 1) {
        child += child + 1 < n && comes_before(&heap[child + 1], &heap[child]);
        if (!comes_before(&heap[child], &last)) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return top;
}

static int consider(struct encoder *e, const char *word, int32_t left, int32_t right)
{
    const struct tokenizer *t = e->tokenizer;
    if (left < 0 || right < 0) {
        return 0;
    }
    const struct merge_symbol *l = &e->symbols[left], *r = &e->symbols[right];
    struct merge_candidate candidate = {.left = left, .right = right, .n = l->n + r->n};
    if (t->kind == TOKENIZER_SPM) {
        candidate.key = string_table_find(&t->key_ids, t->keys, word + l->start, candidate.n);
        if (candidate.key == TOKENIZER_NO_ID) {
            return 0;
        }
        candidate.order = t->orders[candidate.key];
    } else {
        const struct pair_entry *merge = pair_table_find(&t->merges, l->key, r->key);
        if (!merge) {
            return 0;
        }
        candidate.key = merge->result;
        candidate.order = merge->rank;
    }
    return heap_push(e, candidate);
}

static int split_symbols(struct encoder *e, const char *word, size_t n)
{
    const struct tokenizer *t = e->tokenizer;
    if (n > e->max_symbols) {
        size_t capacity = n + n / 2 + 64;
        struct merge_symbol *symbols = realloc(e->symbols, capacity * sizeof *symbols);
        if (!symbols) {
            return error_set(e->err, "out of memory for a word of %zu bytes", n);
        }
        e->symbols = symbols;
        e->max_symbols = capacity;
    }
    int32_t n_symbols = 0;
    for (size_t at = 0; at < n;) {
        size_t length = t->kind == TOKENIZER_SPM ? utf8_length((uint8_t)word[at]) : 1;
        length = length < n - at ? length : n - at;
        int32_t key = t->kind == TOKENIZER_SPM ? string_table_find(&t->key_ids, t->keys, word + at, length)
                                               : t->byte_ids[(uint8_t)word[at]];
        e->symbols[n_symbols] = (struct merge_symbol){(uint32_t)at, (uint32_t)length, n_symbols - 1, n_symbols + 1, key};
        n_symbols++;
        at += length;
    }
    e->symbols[n_symbols - 1].next = -1;
    return n_symbols;
}

/* What no token stands for goes out byte by byte. A byte without a token is the unknown token in SentencePiece and nothing in
 * byte-level BPE, whose vocabularies may lack bytes that no UTF-8 text of their training had. */
static int push_bytes(struct encoder *e, const char *bytes, size_t n)
{
    const struct tokenizer *t = e->tokenizer;
    for (size_t i = 0; i < n; i++) {
        int32_t id = t->byte_ids[(uint8_t)bytes[i]];
        if (id < 0 || id >= t->n_tokens) {
            id = t->kind == TOKENIZER_SPM ? t->unknown : TOKENIZER_NO_ID;
        }
        if (id >= 0 && encoder_push(e, id)) {
            return -1;
        }
    }
    return 0;
}

static int push_symbols(struct encoder *e, const char *word)
{
    for (int32_t i = 0; i >= 0; i = e->symbols[i].next) {
        const struct merge_symbol *symbol = &e->symbols[i];
        int is_token = symbol->key >= 0 && symbol->key < e->tokenizer->n_tokens;
        if (is_token ? encoder_push(e, symbol->key) : push_bytes(e, word + symbol->start, symbol->n)) {
            return -1;
        }
    }
    return 0;
}

int merge_word(struct encoder *e, const char *word, size_t n)
{
    if (n == 0) {
        return 0;
    }
    int32_t n_symbols = split_symbols(e, word, n);
    if (n_symbols < 0) {
        return -1;
    }
    e->n_candidates = 0;
    for (int32_t i = 1; i < n_symbols; i++) {
        if (consider(e, word, i - 1, i)) {
            return -1;
        }
    }
    while (e->n_candidates) {
        struct merge_candidate best = heap_pop(e);
        struct merge_symbol *left = &e->symbols[best.left], *right = &e->symbols[best.right];
        if (left->n == 0 || right->n == 0 || left->n + right->n != best.n) {
            continue;
        }
        left->n += right->n;
        left->key = best.key;
        left->next = right->next;
        right->n = 0;
        if (right->next >= 0) {
            e->symbols[right->next].previous = best.left;
        }
        if (consider(e, word, left->previous, best.left) || consider(e, word, best.left, left->next)) {
            return -1;
        }
    }
    return push_symbols(e, word);
}

int merge_cached_word(struct encoder *e, const char *word, size_t n, int (*encode)(struct encoder *e, const char *word, size_t n))
{
    if (!e->cache) {
        return encode(e, word, n);
    }
    struct word_cache_entry *entry = &e->cache[string_hash(word, n) & e->cache_mask];
    if (entry->n == n && memcmp(entry->data, word, n) == 0) {
        for (uint32_t i = 0; i < entry->n_ids; i++) {
            if (encoder_push(e, e->out->ids[entry->first_id + i])) {
                return -1;
            }
        }
        return 0;
    }
    size_t first_id = e->out->n;
    if (encode(e, word, n)) {
        return -1;
    }
    *entry = (struct word_cache_entry){word, (uint32_t)n, (uint32_t)(e->out->n - first_id), first_id};
    return 0;
}
