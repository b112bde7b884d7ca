/* SPDX-License-Identifier: MIT */
#include "src/engine/scheduler.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"

int scheduler_init(struct scheduler *s, const struct scheduler_options *options, struct error *err)
{
    memset(s, 0, sizeof *s);
    s->n_slots = options->n_slots;
    s->max_rows = options->max_rows;
    s->chunk = options->chunk < options->max_rows ? options->chunk : options->max_rows;
    s->slots = calloc((size_t)options->n_slots, sizeof *s->slots);
    if (!s->slots) {
        return error_set(err, "out of memory for %d sequences", options->n_slots);
    }
    if (page_pool_init(&s->pool, options->n_pages, err)) {
        scheduler_free(s);
        return -1;
    }
    return 0;
}

void scheduler_free(struct scheduler *s)
{
    page_pool_free(&s->pool);
    free(s->slots);
    memset(s, 0, sizeof *s);
}

void scheduler_add(struct scheduler *s, struct sequence *sequence)
{
    assert(sequence->slot >= 0 && sequence->slot < s->n_slots && !s->slots[sequence->slot]);
    s->slots[sequence->slot] = sequence;
}

void scheduler_remove(struct scheduler *s, struct sequence *sequence)
{
    assert(s->slots[sequence->slot] == sequence && sequence->n_in_flight == 0);
    for (int32_t i = sequence->n_pages - 1; i >= 0; i--) {
        page_pool_give(&s->pool, sequence->pages[i]);
    }
    sequence->n_pages = 0;
    s->slots[sequence->slot] = NULL;
}

static int32_t pages_for(int32_t n_positions)
{
    return (n_positions + KV_PAGE - 1) / KV_PAGE;
}

/* How many of `want` more rows of the sequence have room in its pages and `n_free` more; takes what they need from n_free. */
static int32_t reserve_rows(const struct sequence *q, int32_t want, int32_t *n_free)
{
    int64_t room = ((int64_t)q->n_pages + *n_free) * KV_PAGE - q->n_scheduled;
    int32_t n = want < room ? want : (int32_t)room;
    int32_t needed = pages_for(q->n_scheduled + n);
    *n_free -= needed > q->n_pages ? needed - q->n_pages : 0;
    return n;
}

/* Rows [n_scheduled, n_scheduled + n) of a sequence, written behind the batch's rows so far. */
static void add_rows(struct batch *batch, struct sequence *q, int32_t at, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        int32_t position = q->n_scheduled + i;
        int wants = position == q->n_ids - 1 || (q->want_prompt_logits && position < q->n_prompt);
        batch->rows[at + i] = (struct batch_row){
            .token = q->ids[position], .position = position, .slot = q->slot, .flags = wants ? BATCH_ROW_WANTS_TOKEN : 0};
    }
    q->n_scheduled += n;
    q->n_in_flight++;
}

/* One pass over the sequences: those in their answer (one row, none in flight), or those in their prompt (a chunk, any number in
 * flight). */
static int32_t add_sequences(struct scheduler *s, struct batch *batch, int32_t n_rows, int prompts, int32_t *n_free)
{
    for (int32_t i = 0; i < s->n_slots && n_rows < s->max_rows; i++) {
        struct sequence *q = s->slots[i];
        if (!q || q->stop != SEQUENCE_RUNNING || q->n_scheduled >= q->n_ids || (q->n_scheduled < q->n_prompt) != prompts) {
            continue;
        }
        int32_t want = q->n_ids - q->n_scheduled, limit = s->max_rows - n_rows;
        limit = limit < s->chunk ? limit : s->chunk;
        int32_t n = reserve_rows(q, want < limit ? want : limit, n_free);
        if (n > 0) {
            add_rows(batch, q, n_rows, n);
            n_rows += n;
        }
    }
    return n_rows;
}

static void take_pages(struct scheduler *s, struct batch *batch)
{
    int32_t at = 0;
    for (int32_t i = 0; i < s->n_slots; i++) {
        struct sequence *q = s->slots[i];
        while (q && q->n_pages < pages_for(q->n_scheduled)) {
            int32_t page = page_pool_take(&s->pool);
            assert(page >= 0);
            batch->pages[at++] = (struct batch_page){.slot = q->slot, .index = q->n_pages, .page = page};
            q->pages[q->n_pages++] = page;
        }
    }
}

int32_t scheduler_next(struct scheduler *s, struct batch *batch)
{
    batch_clear(batch, s->n_batches);
    int32_t n_free = s->pool.n_free;
    int32_t n_rows = add_sequences(s, batch, 0, 0, &n_free);
    n_rows = add_sequences(s, batch, n_rows, 1, &n_free);
    if (n_rows == 0) {
        return 0;
    }
    batch_set_counts(batch, n_rows, s->pool.n_free - n_free, n_rows);
    take_pages(s, batch);
    s->n_batches++;
    return n_rows;
}

void scheduler_returned(struct scheduler *s, const struct batch *batch)
{
    int32_t last = -1; /* rows of a sequence stand together in a batch */
    for (int32_t i = 0; i < batch->header->n_rows; i++) {
        int32_t slot = batch->rows[i].slot;
        if (slot != last && s->slots[slot]) {
            s->slots[slot]->n_in_flight--;
        }
        last = slot;
    }
}
