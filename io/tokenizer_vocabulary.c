/* Reads the vocabulary out of a GGUF file. SPDX-License-Identifier: MIT
 *
 * Source of the keys: ggml, docs/gguf.md; of the defaults when keys are absent: llama.cpp, src/llama-vocab.cpp. */
#include "io/tokenizer_private.h"

#include "src/core/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Numbers of tokenizer.ggml.token_type. */
static const uint8_t traits_of_type[] = {0,         TOKEN_NORMAL, TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_USER_DEFINED, TOKEN_UNUSED,
                                         TOKEN_BYTE};

static int out_of_memory(struct error *err, const struct tokenizer *t)
{
    return error_set(err, "out of memory for a vocabulary of %d tokens", t->n_tokens);
}

/* An array of strings or numbers with at least n_needed elements; *out = NULL when the key is absent. */
static int find_array(const struct gguf *file, const char *key, size_t n_needed, int want_strings, const struct gguf_value **out,
                      struct error *err)
{
    const struct gguf_value *value = *out = gguf_find(file, key);
    if (!value) {
        return 0;
    }
    int fits = value->kind == GGUF_ARRAY &&
               (want_strings ? value->element == GGUF_STRING : value->element != GGUF_STRING && value->element != GGUF_ARRAY);
    if (!fits) {
        return error_set(err, "%s is no array of %s", key, want_strings ? "strings" : "numbers");
    }
    if (value->count < n_needed) {
        return error_set(err, "%s has %llu entries for %zu tokens", key, (unsigned long long)value->count, n_needed);
    }
    return 0;
}

static int copy_span(struct tokenizer *t, struct span *out, const char *data, size_t n)
{
    char *copy = arena_take(&t->arena, n ? n : 1);
    if (!copy) {
        return -1;
    }
    if (n) {
        memcpy(copy, data, n);
    }
    *out = (struct span){copy, n};
    return 0;
}

static int load_texts(struct tokenizer *t, const struct gguf *file, struct error *err)
{
    const struct gguf_value *tokens;
    if (find_array(file, "tokenizer.ggml.tokens", 1, 1, &tokens, err)) {
        return -1;
    }
    if (!tokens) {
        return error_set(err, "tokenizer.ggml.tokens is missing, but tokenizer.ggml.model is \"%s\"", t->model);
    }
    if (tokens->count > INT32_MAX / 16) {
        return error_set(err, "tokenizer.ggml.tokens has %llu entries; at most %d are possible",
                         (unsigned long long)tokens->count, INT32_MAX / 16);
    }
    t->n_tokens = (int32_t)tokens->count;
    size_t n = tokens->count;
    t->texts = calloc(n, sizeof *t->texts);
    t->pieces = calloc(n, sizeof *t->pieces);
    t->traits = calloc(n, 1);
    t->ends = calloc(n, 1);
    if (!t->texts || !t->pieces || !t->traits || !t->ends) {
        return out_of_memory(err, t);
    }
    for (size_t i = 0; i < n; i++) {
        const struct gguf_string *s = &tokens->strings[i];
        if (s->length > INT32_MAX / 4) {
            return error_set(err, "token %zu of tokenizer.ggml.tokens is %zu bytes long", i, s->length);
        }
        if (copy_span(t, &t->texts[i], s->data, s->length)) {
            return out_of_memory(err, t);
        }
    }
    return 0;
}

static int load_traits(struct tokenizer *t, const struct gguf *file, struct error *err)
{
    const struct gguf_value *types;
    if (find_array(file, "tokenizer.ggml.token_type", (size_t)t->n_tokens, 0, &types, err)) {
        return -1;
    }
    for (int32_t id = 0; id < t->n_tokens; id++) {
        int64_t type = types ? gguf_element_i64(types, (uint64_t)id) : 1;
        t->traits[id] = type >= 0 && type < (int64_t)sizeof traits_of_type ? traits_of_type[type] : 0;
    }
    return 0;
}

/* Number that sorts ascending as scores sort descending; both zeros are one. */
static uint32_t order_of_score(float score)
{
    uint32_t bits;
    score += 0.0f;
    memcpy(&bits, &score, sizeof bits);
    return ~(bits >> 31 ? ~bits : bits | 0x80000000u);
}

static int load_scores(struct tokenizer *t, const struct gguf *file, struct error *err)
{
    const struct gguf_value *scores;
    if (find_array(file, "tokenizer.ggml.scores", (size_t)t->n_tokens, 0, &scores, err)) {
        return -1;
    }
    t->orders = malloc((size_t)t->n_tokens * sizeof *t->orders);
    if (!t->orders) {
        return out_of_memory(err, t);
    }
    for (int32_t id = 0; id < t->n_tokens; id++) {
        t->orders[id] = order_of_score(scores ? (float)gguf_element_f64(scores, (uint64_t)id) : 0.0f);
    }
    return 0;
}

static int grow_keys(struct tokenizer *t)
{
    int32_t max_keys = t->max_keys + t->max_keys / 2 + 1024;
    struct span *keys = realloc(t->keys, (size_t)max_keys * sizeof *keys);
    if (!keys) {
        return -1;
    }
    t->keys = keys;
    t->max_keys = max_keys;
    string_table_free(&t->key_ids);
    if (string_table_init(&t->key_ids, (size_t)max_keys)) {
        return -1;
    }
    for (int32_t key = 0; key < t->n_keys; key++) {
        if (t->keys[key].n) {
            string_table_put(&t->key_ids, t->keys, key);
        }
    }
    return 0;
}

/* The key with these bytes, made when there is none; TOKENIZER_NO_ID: out of memory. */
static int32_t intern_key(struct tokenizer *t, const char *bytes, size_t n)
{
    int32_t key = string_table_find(&t->key_ids, t->keys, bytes, n);
    if (key != TOKENIZER_NO_ID) {
        return key;
    }
    if ((t->n_keys == t->max_keys && grow_keys(t)) || copy_span(t, &t->keys[t->n_keys], bytes, n)) {
        return TOKENIZER_NO_ID;
    }
    string_table_put(&t->key_ids, t->keys, t->n_keys);
    return t->n_keys++;
}

static int init_keys(struct tokenizer *t, struct error *err)
{
    t->keys = calloc((size_t)t->n_tokens, sizeof *t->keys);
    if (!t->keys) {
        return out_of_memory(err, t);
    }
    t->n_keys = t->max_keys = t->n_tokens;
    for (int32_t id = 0; id < t->n_tokens; id++) {
        const struct span *text = &t->texts[id];
        if (t->kind == TOKENIZER_SPM) {
            t->keys[id] = *text;
            continue;
        }
        char *bytes = arena_take(&t->arena, text->n + 1);
        if (!bytes) {
            return out_of_memory(err, t);
        }
        ptrdiff_t n = bpe_decode_text(text->data, text->n, bytes);
        t->keys[id] = (struct span){bytes, n < 0 ? 0 : (size_t)n};
    }
    return grow_keys(t) ? out_of_memory(err, t) : 0;
}

static void find_spm_bytes(struct tokenizer *t)
{
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        int n = snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
        char itself = (char)byte;
        t->byte_ids[byte] = string_table_find(&t->key_ids, t->keys, text, (size_t)n);
        if (t->byte_ids[byte] == TOKENIZER_NO_ID) {
            t->byte_ids[byte] = string_table_find(&t->key_ids, t->keys, &itself, 1);
        }
    }
}

static void find_space_joins(struct tokenizer *t)
{
    for (int32_t id = 0; id < t->n_tokens; id++) {
        const struct span *text = &t->texts[id];
        for (size_t i = 1; i + 3 <= text->n; i++) {
            if (memcmp(text->data + i, "\xe2\x96\x81", 3) == 0) {
                t->joins_space[(uint8_t)text->data[i - 1]] = 1;
            }
        }
    }
}

/* One line "left right" of the merges. A part that no text can give is no error: that merge never happens. */
static int load_merge(struct tokenizer *t, const struct gguf_string *line, uint32_t rank, char *scratch)
{
    const char *space = line->length > 1 ? memchr(line->data + 1, ' ', line->length - 1) : NULL;
    if (!space) {
        return 0;
    }
    size_t n_left = (size_t)(space - line->data);
    ptrdiff_t left_bytes = bpe_decode_text(line->data, n_left, scratch);
    ptrdiff_t right_bytes = left_bytes <= 0 ? -1 : bpe_decode_text(space + 1, line->length - n_left - 1, scratch + left_bytes);
    if (right_bytes <= 0) {
        return 0;
    }
    int32_t left = intern_key(t, scratch, (size_t)left_bytes);
    int32_t right = left < 0 ? left : intern_key(t, scratch + left_bytes, (size_t)right_bytes);
    int32_t result = right < 0 ? right : intern_key(t, scratch, (size_t)(left_bytes + right_bytes));
    if (result < 0) {
        return -1;
    }
    pair_table_put(&t->merges, (struct pair_entry){(uint64_t)(uint32_t)left << 32 | (uint32_t)right, rank, result});
    return 0;
}

static int load_merges(struct tokenizer *t, const struct gguf *file, struct error *err)
{
    const struct gguf_value *merges;
    if (find_array(file, "tokenizer.ggml.merges", 0, 1, &merges, err)) {
        return -1;
    }
    if (!merges) {
        return error_set(err, "tokenizer.ggml.merges is missing, but tokenizer.ggml.model is \"gpt2\"");
    }
    size_t longest = 0;
    for (uint64_t i = 0; i < merges->count; i++) {
        longest = merges->strings[i].length > longest ? merges->strings[i].length : longest;
    }
    if (merges->count > INT32_MAX / 16 || longest > INT32_MAX / 4) {
        return error_set(err, "tokenizer.ggml.merges has %llu entries, the longest of %zu bytes: too large",
                         (unsigned long long)merges->count, longest);
    }
    char *scratch = malloc(longest + 1);
    int failed = !scratch || pair_table_init(&t->merges, merges->count);
    for (uint64_t i = 0; i < merges->count && !failed; i++) {
        failed = load_merge(t, &merges->strings[i], (uint32_t)i, scratch);
    }
    free(scratch);
    return failed ? out_of_memory(err, t) : 0;
}

static int load_bpe(struct tokenizer *t, const struct gguf *file, struct error *err)
{
    struct gguf_string name;
    if (gguf_get_string(file, "tokenizer.ggml.pre", &name, err)) {
        return -1;
    }
    if (!name.data) {
        log_warn("the file names no pre-tokenizer (tokenizer.ggml.pre): \"default\" is taken, the tokens may be wrong");
        name = (struct gguf_string){"default", strlen("default")};
    }
    char known[768];
    t->pre = bpe_find_pre_tokenizer(name, known, sizeof known);
    if (!t->pre) {
        return error_set(err, "tokenizer.ggml.pre is \"%.*s\"; known are %s", (int)(name.length < 64 ? name.length : 64),
                         name.data, known);
    }
    if (bpe_compile_patterns(t, err) || init_keys(t, err)) {
        return -1;
    }
    for (int byte = 0; byte < 256; byte++) {
        char itself = (char)byte;
        t->byte_ids[byte] = intern_key(t, &itself, 1);
        if (t->byte_ids[byte] == TOKENIZER_NO_ID) {
            return out_of_memory(err, t);
        }
    }
    return load_merges(t, file, err);
}

static int load_spm(struct tokenizer *t, const struct gguf *file, struct error *err)
{
    if (load_scores(t, file, err) || init_keys(t, err)) {
        return -1;
    }
    find_spm_bytes(t);
    find_space_joins(t);
    return 0;
}

/* 4294967295 means "none". Other numbers without a token are common enough in real files to be no error. */
static int load_id(const struct tokenizer *t, const struct gguf *file, const char *key, int32_t fallback, int32_t *out,
                   struct error *err)
{
    int64_t id;
    if (gguf_get_i64(file, key, INT32_MIN, UINT32_MAX, fallback < t->n_tokens ? fallback : -1, &id, err)) {
        return -1;
    }
    if (id >= t->n_tokens && id != UINT32_MAX) {
        log_warn("%s is %lld, but there are %d tokens: ignored", key, (long long)id, t->n_tokens);
    }
    *out = id >= 0 && id < t->n_tokens ? (int32_t)id : -1;
    return 0;
}

static int load_special_ids(struct tokenizer *t, const struct gguf *file, struct error *err)
{
    int spm = t->kind == TOKENIZER_SPM;
    if (load_id(t, file, "tokenizer.ggml.bos_token_id", spm ? 1 : -1, &t->bos, err) ||
        load_id(t, file, "tokenizer.ggml.eos_token_id", spm ? 2 : -1, &t->eos, err) ||
        load_id(t, file, "tokenizer.ggml.unknown_token_id", spm ? 0 : -1, &t->unknown, err)) {
        return -1;
    }
    return gguf_get_bool(file, "tokenizer.ggml.add_bos_token", spm || t->pre->add_bos, &t->add_bos, err) ||
                   gguf_get_bool(file, "tokenizer.ggml.add_eos_token", 0, &t->add_eos, err) ||
                   gguf_get_bool(file, "tokenizer.ggml.add_space_prefix", spm, &t->add_space_prefix, err)
               ? -1
               : 0;
}

/* Value of "<0xXX>", else -1. */
static int byte_of_text(const struct span *text)
{
    int high = -1, low = -1;
    if (text->n == 6 && memcmp(text->data, "<0x", 3) == 0 && text->data[5] == '>') {
        static const char digits[] = "0123456789ABCDEF0123456789abcdef";
        const char *h = memchr(digits, text->data[3], sizeof digits - 1), *l = memchr(digits, text->data[4], sizeof digits - 1);
        high = h ? (int)(h - digits) % 16 : -1;
        low = l ? (int)(l - digits) % 16 : -1;
    }
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Space marks become spaces. Only ever shorter than the text. */
static size_t unmark_spaces(const struct span *text, char *out)
{
    size_t written = 0;
    for (size_t i = 0; i < text->n;) {
        int mark = text->n - i >= 3 && memcmp(text->data + i, "\xe2\x96\x81", 3) == 0;
        out[written++] = mark ? ' ' : text->data[i];
        i += mark ? 3 : 1;
    }
    return written;
}

static int make_piece(struct tokenizer *t, int32_t id)
{
    const struct span *text = &t->texts[id];
    if (t->traits[id] & (TOKEN_UNKNOWN | TOKEN_CONTROL | TOKEN_USER_DEFINED)) {
        t->pieces[id] = *text;
    } else if (t->traits[id] & TOKEN_BYTE && byte_of_text(text) >= 0) {
        char byte = (char)byte_of_text(text);
        return copy_span(t, &t->pieces[id], &byte, 1);
    } else if (t->traits[id] & TOKEN_NORMAL && t->kind == TOKENIZER_BPE) {
        t->pieces[id] = t->keys[id].n ? t->keys[id] : *text;
    } else if (t->traits[id] & TOKEN_NORMAL) {
        char *bytes = arena_take(&t->arena, text->n + 1);
        if (!bytes) {
            return -1;
        }
        t->pieces[id] = (struct span){bytes, unmark_spaces(text, bytes)};
    }
    return 0;
}

static int make_pieces(struct tokenizer *t, struct error *err)
{
    for (int32_t id = 0; id < t->n_tokens; id++) {
        if (make_piece(t, id)) {
            return out_of_memory(err, t);
        }
        t->max_piece = t->pieces[id].n > t->max_piece ? t->pieces[id].n : t->max_piece;
    }
    return 0;
}

/* A file without a tokenizer that is known here: only the number of tokens matters. */
static int load_none(struct tokenizer *t, const struct gguf *file, struct error *err)
{
    t->bos = t->eos = t->unknown = -1;
    const struct gguf_value *tokens = gguf_find(file, "tokenizer.ggml.tokens");
    int64_t n = 0;
    if (tokens && tokens->kind == GGUF_ARRAY) {
        n = tokens->count < INT32_MAX ? (int64_t)tokens->count : INT32_MAX;
    } else {
        struct gguf_string architecture;
        if (gguf_get_string(file, "general.architecture", &architecture, err)) {
            return -1;
        }
        char key[128];
        snprintf(key, sizeof key, "%.*s.vocab_size", (int)(architecture.length < 64 ? architecture.length : 64),
                 architecture.data ? architecture.data : "");
        if (gguf_get_i64(file, key, 0, INT32_MAX, 0, &n, err)) {
            return -1;
        }
    }
    t->n_tokens = (int32_t)n;
    return 0;
}

int vocabulary_load(struct tokenizer *t, const struct gguf *file, struct error *err)
{
    struct gguf_string model;
    if (gguf_get_string(file, "tokenizer.ggml.model", &model, err)) {
        return -1;
    }
    snprintf(t->model, sizeof t->model, "%.*s", model.data ? (int)(model.length < 31 ? model.length : 31) : 4,
             model.data ? model.data : "none");
    t->kind = gguf_string_is(model, "llama") ? TOKENIZER_SPM : gguf_string_is(model, "gpt2") ? TOKENIZER_BPE : TOKENIZER_NONE;
    if (t->kind == TOKENIZER_NONE) {
        return load_none(t, file, err);
    }
    if (load_texts(t, file, err) || load_traits(t, file, err)) {
        return -1;
    }
    if (t->kind == TOKENIZER_SPM ? load_spm(t, file, err) : load_bpe(t, file, err)) {
        return -1;
    }
    return load_special_ids(t, file, err) || vocabulary_find_ends(t, file, err) || make_pieces(t, err) ? -1 : 0;
}
