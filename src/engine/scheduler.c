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

static void queue_push(struct scheduler_queue *queue, struct sequence *q)
{
    q->next = NULL;
    if (queue->last) {
        queue->last->next = q;
    } else {
        queue->first = q;
    }
    queue->last = q;
}

static struct sequence *queue_pop(struct scheduler_queue *queue)
{
    struct sequence *q = queue->first;
    if (q) {
        queue->first = q->next;
        queue->last = queue->first ? queue->last : NULL;
    }
    return q;
}

void scheduler_add(struct scheduler *s, struct sequence *sequence)
{
    sequence->slot = -1;
    queue_push(&s->waiting, sequence);
}

void scheduler_cancel_all(struct scheduler *s)
{
    for (int32_t i = 0; i < s->n_slots; i++) {
        if (s->slots[i] && s->slots[i]->stop == SEQUENCE_RUNNING) {
            s->slots[i]->stop = SEQUENCE_STOP_CANCELLED;
        }
    }
    for (struct sequence *q; (q = queue_pop(&s->waiting));) {
        q->stop = SEQUENCE_STOP_CANCELLED;
        queue_push(&s->ended, q);
    }
}

int scheduler_is_empty(const struct scheduler *s)
{
    for (int32_t i = 0; i < s->n_slots; i++) {
        if (s->slots[i]) {
            return 0;
        }
    }
    return !s->waiting.first && !s->ended.first;
}

/* Slots of sequences that are through become free, and go to those that wait. */
static void turn_over(struct scheduler *s)
{
    for (int32_t i = 0; i < s->n_slots; i++) {
        struct sequence *q = s->slots[i];
        if (q && q->stop != SEQUENCE_RUNNING && q->n_in_flight == 0) {
            while (q->n_pages > 0) {
                page_pool_give(&s->pool, q->pages[--q->n_pages]);
            }
            s->slots[i] = NULL;
            queue_push(&s->ended, q);
        }
        if (!s->slots[i] && (q = queue_pop(&s->waiting))) {
            q->slot = i;
            s->slots[i] = q;
        }
    }
}

struct sequence *scheduler_take_ended(struct scheduler *s)
{
    turn_over(s);
    return queue_pop(&s->ended);
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
    turn_over(s);
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
