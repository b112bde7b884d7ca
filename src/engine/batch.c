/* SPDX-License-Identifier: MIT */
#include "src/engine/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };

static size_t align_up(size_t n)
{
    return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

static size_t rows_offset(int32_t n_stages)
{
    return align_up(sizeof(struct batch_header) + (size_t)n_stages * sizeof(struct batch_stage_times));
}

static size_t pages_offset(int32_t n_stages, int32_t n_rows)
{
    return rows_offset(n_stages) + (size_t)n_rows * sizeof(struct batch_row);
}

static size_t needs_offset(int32_t n_stages, int32_t n_rows, int32_t n_pages)
{
    return pages_offset(n_stages, n_rows) + (size_t)n_pages * sizeof(struct batch_page);
}

static size_t hidden_offset(int32_t n_stages, int32_t n_rows, int32_t n_pages, int32_t n_need_words)
{
    return align_up(needs_offset(n_stages, n_rows, n_pages) + (size_t)n_need_words * sizeof(int32_t));
}

size_t batch_capacity(const struct batch_shape *shape)
{
    return align_up(hidden_offset(shape->n_stages, shape->max_rows, shape->max_pages, shape->max_need_words) +
                    (size_t)shape->max_rows * (size_t)shape->dim * sizeof(float));
}

static void place(struct batch *b)
{
    const struct batch_header *h = b->header;
    uint8_t *memory = b->memory;
    b->pages = (struct batch_page *)(void *)(memory + pages_offset(h->n_stages, h->n_rows));
    b->needs = (int32_t *)(void *)(memory + needs_offset(h->n_stages, h->n_rows, h->n_pages));
    b->hidden = (float *)(void *)(memory + hidden_offset(h->n_stages, h->n_rows, h->n_pages, h->n_need_words));
}

/* Fixed places of a block with this shape. */
static void set_parts(struct batch *b, const struct batch_shape *shape, void *memory, size_t capacity)
{
    b->memory = memory;
    b->capacity = capacity;
    b->shape = *shape;
    b->header = memory;
    b->times = (struct batch_stage_times *)(void *)(b->header + 1);
    b->rows = (struct batch_row *)(void *)((uint8_t *)memory + rows_offset(shape->n_stages));
}

int batch_init(struct batch *b, const struct batch_shape *shape, struct error *err)
{
    memset(b, 0, sizeof *b);
    size_t capacity = batch_capacity(shape);
    void *memory = aligned_alloc(ALIGN, capacity);
    if (!memory) {
        return error_set(err, "out of memory for a batch of %d rows (%zu bytes); -b N makes it smaller", shape->max_rows,
                         capacity);
    }
    set_parts(b, shape, memory, capacity);
    memset(b->header, 0, sizeof *b->header);
    b->header->dim = shape->dim;
    b->header->n_stages = shape->n_stages;
    batch_clear(b, 0);
    return 0;
}

void batch_free(struct batch *b)
{
    free(b->memory);
    memset(b, 0, sizeof *b);
}

void batch_view(struct batch *b, const struct batch_shape *shape, void *memory, size_t n_bytes)
{
    memset(b, 0, sizeof *b);
    set_parts(b, shape, memory, n_bytes);
}

void batch_clear(struct batch *b, uint64_t number)
{
    struct batch_header *h = b->header;
    h->magic = BATCH_MAGIC;
    h->flags = 0;
    h->number = number;
    h->started_s = 0;
    memset(b->times, 0, (size_t)h->n_stages * sizeof *b->times);
    batch_set_counts(b, 0, 0, 0);
}

void batch_set_counts(struct batch *b, int32_t n_rows, int32_t n_pages, int32_t n_hidden)
{
    assert(n_rows >= 0 && n_rows <= b->shape.max_rows && n_pages >= 0 && n_pages <= b->shape.max_pages && n_hidden >= 0 &&
           n_hidden <= n_rows);
    b->header->n_rows = n_rows;
    b->header->n_pages = n_pages;
    b->header->n_hidden = n_hidden;
    b->header->n_need_words = 0;
    place(b);
}

void batch_set_needs(struct batch *b, int32_t n_words)
{
    assert(n_words >= 0 && n_words <= b->shape.max_need_words);
    b->header->n_need_words = n_words;
    place(b);
}

int32_t batch_need(const struct batch *b, int32_t at, struct logit_need *need, const int32_t **listed)
{
    *need = (struct logit_need){.n_best = b->needs[at], .sums = b->needs[at + 1], .n_listed = b->needs[at + 2]};
    *listed = b->needs + at + BATCH_NEED_WORDS;
    return at + BATCH_NEED_WORDS + need->n_listed;
}

size_t batch_row_bytes(const struct batch_header *h)
{
    size_t dim = (size_t)h->dim;
    return h->flags & BATCH_PACKED ? dim + dim / 32 * sizeof(float) : dim * sizeof(float);
}

void *batch_hidden_row(const struct batch *b, int32_t row)
{
    return (uint8_t *)b->hidden + (size_t)row * batch_row_bytes(b->header);
}

void batch_keep_wanted(struct batch *b)
{
    struct batch_header *h = b->header;
    int32_t kept = 0;
    for (int32_t i = 0; i < h->n_rows; i++) {
        if (b->rows[i].flags & BATCH_ROW_WANTS_TOKEN) {
            memmove(batch_hidden_row(b, kept), batch_hidden_row(b, i), batch_row_bytes(h));
            kept++;
        }
    }
    h->n_hidden = kept;
}

int batch_is_for_head(const struct batch *b, int needs)
{
    int32_t n_wanted = 0;
    for (int32_t i = 0; i < b->header->n_rows; i++) {
        n_wanted += (b->rows[i].flags & BATCH_ROW_WANTS_TOKEN) != 0;
    }
    return b->header->n_hidden == n_wanted && (!needs || n_wanted == 0 || b->header->n_need_words > 0);
}

size_t batch_bytes(const struct batch *b)
{
    const struct batch_header *h = b->header;
    return hidden_offset(h->n_stages, h->n_rows, h->n_pages, h->n_need_words) + (size_t)h->n_hidden * batch_row_bytes(h);
}

/* One need for each row that wants a token, or none at all, each within its limits. */
static int needs_are_good(const struct batch *b)
{
    int32_t n_words = b->header->n_need_words, at = 0;
    for (int32_t i = 0; n_words > 0 && i < b->header->n_rows; i++) {
        if (!(b->rows[i].flags & BATCH_ROW_WANTS_TOKEN)) {
            continue;
        }
        if (at + BATCH_NEED_WORDS > n_words) {
            return 0;
        }
        const int32_t *need = b->needs + at;
        if (need[0] < -1 || need[0] > SHORTLIST_MAX_BEST || need[2] < 0 || need[2] > SHORTLIST_MAX_LISTED) {
            return 0;
        }
        at += BATCH_NEED_WORDS + need[2];
    }
    return at == n_words;
}

int batch_check(struct batch *b, size_t n_bytes, struct error *err)
{
    const struct batch_header *h = b->header;
    if (n_bytes < sizeof *h || h->magic != BATCH_MAGIC) {
        return error_set(err, "a message of %zu bytes is no batch of this program's version", n_bytes);
    }
    if (h->dim != b->shape.dim || (h->flags & BATCH_PACKED && h->dim % 32 != 0) || h->n_stages != b->shape.n_stages ||
        h->n_rows < 0 || h->n_rows > b->shape.max_rows || h->n_pages < 0 || h->n_pages > b->shape.max_pages || h->n_hidden < 0 ||
        h->n_hidden > h->n_rows || h->n_need_words < 0 || h->n_need_words > b->shape.max_need_words ||
        batch_bytes(b) != n_bytes || n_bytes > b->capacity) {
        return error_set(err, "a batch of %d rows, %d pages, %d hidden in %zu bytes does not fit the job's shape", h->n_rows,
                         h->n_pages, h->n_hidden, n_bytes);
    }
    place(b);
    return needs_are_good(b) ? 0 : error_set(err, "a batch does not say what it needs of each row that wants a token");
}
