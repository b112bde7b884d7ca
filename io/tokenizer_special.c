/* Finds special tokens in a text. SPDX-License-Identifier: MIT
 *
 * The longest token wins wherever it stands, then the next shorter one in what is left; of equals the leftmost. */
#include "io/tokenizer_private.h"

#include <stdlib.h>
#include <string.h>

static int is_special(uint8_t traits)
{
    return (traits & (TOKEN_CONTROL | TOKEN_USER_DEFINED | TOKEN_UNKNOWN)) != 0;
}

/* Control and unknown tokens are only looked for on request, user-defined ones always. */
static uint8_t start_bits(uint8_t traits)
{
    return traits & (TOKEN_CONTROL | TOKEN_UNKNOWN) ? SPECIAL_ON_REQUEST : SPECIAL_ALWAYS | SPECIAL_ON_REQUEST;
}

static int descending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x < y) - (x > y);
}

static void note_start(struct special_tokens *s, const struct span *text, uint8_t bits)
{
    size_t first = (size_t)(uint8_t)text->data[0] << 8;
    if (text->n > 1) {
        s->starts[first | (uint8_t)text->data[1]] |= bits;
        return;
    }
    for (size_t second = 0; second < 256; second++) {
        s->starts[first | second] |= bits;
    }
}

int special_tokens_init(struct tokenizer *t, struct error *err)
{
    struct special_tokens *s = &t->special;
    size_t n = 0;
    for (int32_t id = 0; id < t->n_tokens; id++) {
        n += is_special(t->traits[id]) && t->texts[id].n;
    }
    s->lengths = malloc((n + 1) * sizeof *s->lengths);
    s->starts = calloc(65536, 1);
    if (!s->lengths || !s->starts || string_table_init(&s->table, n)) {
        return error_set(err, "out of memory for %zu special tokens", n);
    }
    n = 0;
    for (int32_t id = 0; id < t->n_tokens; id++) {
        if (is_special(t->traits[id]) && t->texts[id].n) {
            string_table_put(&s->table, t->texts, id);
            note_start(s, &t->texts[id], start_bits(t->traits[id]));
            s->lengths[n++] = (uint32_t)t->texts[id].n;
        }
    }
    qsort(s->lengths, n, sizeof *s->lengths, descending);
    for (size_t i = 0; i < n; i++) {
        if (s->n_lengths == 0 || s->lengths[s->n_lengths - 1] != s->lengths[i]) {
            s->lengths[s->n_lengths++] = s->lengths[i];
        }
    }
    return 0;
}

void special_tokens_free(struct special_tokens *s)
{
    string_table_free(&s->table);
    free(s->lengths);
    free(s->starts);
    *s = (struct special_tokens){0};
}

/* A search: which bytes are taken, and what was found. */
struct search {
    const struct tokenizer *t;
    const char *text;
    size_t n;
    uint8_t wanted;
    uint8_t *taken;        /* [n] owned */
    struct segment *found; /* [max_found] owned */
    size_t n_found, max_found;
};

static int may_start(const struct search *s, size_t p)
{
    size_t first = (size_t)(uint8_t)s->text[p] << 8;
    size_t second = p + 1 < s->n ? (uint8_t)s->text[p + 1] : 0;
    return s->t->special.starts[first | second] & s->wanted;
}

static int32_t match(const struct search *s, size_t p, size_t length)
{
    const struct tokenizer *t = s->t;
    if (length > s->n - p) {
        return TOKENIZER_NO_ID;
    }
    int32_t id = string_table_find(&t->special.table, t->texts, s->text + p, length);
    return id != TOKENIZER_NO_ID && start_bits(t->traits[id]) & s->wanted ? id : TOKENIZER_NO_ID;
}

static int is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int take(struct search *s, size_t p, size_t length, int32_t id)
{
    if (s->n_found == s->max_found) {
        size_t capacity = s->max_found ? 2 * s->max_found : 64;
        struct segment *found = realloc(s->found, capacity * sizeof *found);
        if (!found) {
            return -1;
        }
        s->found = found;
        s->max_found = capacity;
    }
    size_t end = p + length;
    while (s->t->traits[id] & TOKEN_STRIP_RIGHT && end < s->n && !s->taken[end] && is_space(s->text[end])) {
        end++;
    }
    memset(s->taken + p, 1, end - p);
    s->found[s->n_found++] = (struct segment){p, end - p, id};
    return 0;
}

static int take_all(struct search *s, size_t first, size_t last, size_t length)
{
    for (size_t p = first; p <= last && length <= s->n - p; p++) {
        if (s->taken[p] || !may_start(s, p)) {
            continue;
        }
        int32_t id = match(s, p, length);
        if (id != TOKENIZER_NO_ID && !memchr(s->taken + p, 1, length) && take(s, p, length, id)) {
            return -1;
        }
    }
    return 0;
}

static int by_start(const void *a, const void *b)
{
    size_t x = ((const struct segment *)a)->start, y = ((const struct segment *)b)->start;
    return (x > y) - (x < y);
}

/* Looks once at every place, so that a text without special tokens (nearly all of them) costs no more than that. */
static int search_run(struct search *s)
{
    const struct special_tokens *special = &s->t->special;
    uint8_t *seen = calloc(special->n_lengths + 1, 1);
    size_t first = s->n, last = 0;
    int failed = !seen;
    for (size_t p = 0; p < s->n && !failed; p++) {
        for (size_t i = 0; may_start(s, p) && i < special->n_lengths; i++) {
            if (match(s, p, special->lengths[i]) != TOKENIZER_NO_ID) {
                seen[i] = 1;
                first = first < p ? first : p;
                last = p;
            }
        }
    }
    if (!failed && first < s->n) {
        s->taken = calloc(s->n, 1);
        failed = !s->taken;
        for (size_t i = 0; i < special->n_lengths && !failed; i++) {
            failed = seen[i] && take_all(s, first, last, special->lengths[i]);
        }
    }
    free(seen);
    return failed ? -1 : 0;
}

int special_tokens_split(const struct tokenizer *t, const char *text, size_t n, int parse_special, struct segment **segments,
                         size_t *n_segments)
{
    struct search s = {.t = t, .text = text, .n = n, .wanted = parse_special ? SPECIAL_ON_REQUEST : SPECIAL_ALWAYS};
    *segments = NULL;
    *n_segments = 0;
    int failed = search_run(&s);
    if (!failed) {
        *segments = malloc((2 * s.n_found + 1) * sizeof **segments);
        failed = !*segments;
    }
    if (!failed) {
        if (s.n_found) {
            qsort(s.found, s.n_found, sizeof *s.found, by_start);
        }
        size_t at = 0;
        for (size_t i = 0; i <= s.n_found; i++) {
            size_t next = i < s.n_found ? s.found[i].start : n;
            if (next > at) {
                (*segments)[(*n_segments)++] = (struct segment){at, next - at, TOKENIZER_NO_ID};
            }
            if (i < s.n_found) {
                (*segments)[(*n_segments)++] = s.found[i];
                at = next + s.found[i].n;
            }
        }
    }
    free(s.taken);
    free(s.found);
    return failed ? -1 : 0;
}
