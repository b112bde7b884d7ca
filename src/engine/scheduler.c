/* SPDX-License-Identifier: MIT */
#include "src/engine/scheduler.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "src/engine/scheduler_private.h"

enum { LOOK = 64 /* waiting sequences looked at in one call: thousands may wait */ };

int scheduler_init(struct scheduler *s, const struct scheduler_options *options, struct error *err)
{
    memset(s, 0, sizeof *s);
    struct scheduler_options *o = &s->options;
    *o = *options;
    o->chunk = o->chunk < o->max_rows ? o->chunk : o->max_rows;
    o->n_ranks = o->n_ranks > 0 ? o->n_ranks : 1;
    o->max_groups = o->max_groups > o->n_ranks ? o->max_groups : o->n_ranks;
    o->stretch = o->stretch > 0 ? o->stretch : 1.8;
    s->n_slots = s->n_free_slots = o->n_slots;
    s->slots = calloc((size_t)o->n_slots, sizeof *s->slots);
    s->free_slots = malloc((size_t)o->n_slots * sizeof *s->free_slots);
    s->members = calloc((size_t)o->max_rows, sizeof *s->members);
    if (!s->slots || !s->free_slots || !s->members) {
        scheduler_free(s);
        return error_set(err, "out of memory for %d sequences", o->n_slots);
    }
    for (int32_t i = 0; i < o->n_slots; i++) {
        s->free_slots[i] = o->n_slots - 1 - i;
    }
    s->refused_at = UINT64_MAX;
    if (page_pool_init(&s->pool, o->n_pages, err)) {
        scheduler_free(s);
        return -1;
    }
    return 0;
}

void scheduler_free(struct scheduler *s)
{
    page_pool_free(&s->pool);
    free(s->slots);
    free(s->free_slots);
    free(s->members);
    memset(s, 0, sizeof *s);
}

void scheduler_set_cost(struct scheduler *s, const struct batch_cost *cost)
{
    s->options.cost = *cost;
}

/* -- lists -- */

static void insert_behind(struct sequence_list *list, struct sequence *before, struct sequence *q)
{
    q->previous = before;
    q->next = before ? before->next : list->first;
    *(q->previous ? &q->previous->next : &list->first) = q;
    *(q->next ? &q->next->previous : &list->last) = q;
    list->n++;
}

static void append(struct sequence_list *list, struct sequence *q)
{
    insert_behind(list, list->last, q);
}

/* From the end that is nearer: new ones are the youngest, preempted ones older than all that never had a slot. */
static void insert_by_age(struct sequence_list *list, struct sequence *q, int from_front)
{
    struct sequence *before = from_front ? NULL : list->last;
    if (from_front) {
        for (struct sequence *p = list->first; p && p->number < q->number; p = p->next) {
            before = p;
        }
    } else {
        while (before && before->number > q->number) {
            before = before->previous;
        }
    }
    insert_behind(list, before, q);
}

static void take_out(struct sequence_list *list, struct sequence *q)
{
    *(q->previous ? &q->previous->next : &list->first) = q->next;
    *(q->next ? &q->next->previous : &list->last) = q->previous;
    q->next = q->previous = NULL;
    list->n--;
}

static struct sequence_list *list_of(struct scheduler *s, enum sequence_place place)
{
    switch (place) {
    case SEQUENCE_WAITS: return &s->waiting;
    case SEQUENCE_PROMPT: return &s->prompts;
    case SEQUENCE_READY: return &s->ready;
    case SEQUENCE_LANDED: return &s->landed;
    case SEQUENCE_FINISHED: return &s->finished;
    default: return NULL;
    }
}

void scheduler_move(struct scheduler *s, struct sequence *q, enum sequence_place place)
{
    struct sequence_list *from = list_of(s, q->place), *to = list_of(s, place);
    if (q == s->look) {
        s->look = q->next;
    }
    if (from) {
        take_out(from, q);
    }
    if (place == SEQUENCE_WAITS || place == SEQUENCE_PROMPT) {
        insert_by_age(to, q, place == SEQUENCE_WAITS && q->place != SEQUENCE_NOWHERE);
    } else if (to) {
        append(to, q);
    }
    q->place = place;
}

/* -- sequences come and go -- */

void scheduler_add(struct scheduler *s, struct sequence *q)
{
    assert(q->n_ids >= 1 && q->n_scheduled == 0 && q->n_pages == 0 && q->n_in_flight == 0);
    q->slot = -1;
    q->place = SEQUENCE_NOWHERE;
    q->n_wanted = 0;
    q->last_batch = UINT64_MAX;
    q->number = s->n_added++;
    scheduler_move(s, q, SEQUENCE_WAITS);
}

void scheduler_cancel_all(struct scheduler *s)
{
    for (int32_t i = 0; i < s->n_slots; i++) {
        if (s->slots[i] && s->slots[i]->stop == SEQUENCE_RUNNING) {
            s->slots[i]->stop = SEQUENCE_STOP_CANCELLED;
        }
    }
    for (struct sequence *q; (q = s->waiting.first);) {
        q->stop = q->stop == SEQUENCE_RUNNING ? SEQUENCE_STOP_CANCELLED : q->stop;
        scheduler_move(s, q, SEQUENCE_FINISHED);
    }
}

int scheduler_is_empty(const struct scheduler *s)
{
    return s->n_free_slots == s->n_slots && !s->waiting.first && !s->finished.first;
}

/* Those of the list that have stopped leave. */
static void let_go(struct scheduler *s, struct sequence_list *list)
{
    for (struct sequence *q = list->first, *next; q; q = next) {
        next = q->next;
        if (q->stop != SEQUENCE_RUNNING && q->n_in_flight == 0) {
            scheduler_release(s, q);
            scheduler_move(s, q, SEQUENCE_FINISHED);
        }
    }
}

void scheduler_settle(struct scheduler *s)
{
    let_go(s, &s->landed);
    let_go(s, &s->ready);
    let_go(s, &s->prompts);
    for (struct sequence *q = s->landed.first, *next; q; q = next) {
        next = q->next;
        if (q->n_ids > q->n_scheduled + 1) { /* its caller gave it more than the token */
            s->n_running--;
            scheduler_move(s, q, SEQUENCE_PROMPT);
        } else if (q->n_ids > q->n_scheduled) {
            scheduler_move(s, q, SEQUENCE_READY);
        }
    }
    for (int32_t i = 0; i < LOOK && i < s->waiting.n; i++) {
        struct sequence *q = s->look ? s->look : s->waiting.first;
        s->look = q->next;
        if (q->stop != SEQUENCE_RUNNING) {
            scheduler_move(s, q, SEQUENCE_FINISHED);
        }
    }
}

struct sequence *scheduler_take_ended(struct scheduler *s)
{
    if (!s->finished.first) {
        scheduler_settle(s);
    }
    struct sequence *q = s->finished.first;
    if (q) {
        scheduler_move(s, q, SEQUENCE_NOWHERE);
    }
    return q;
}

void scheduler_returned(struct scheduler *s, const struct batch *batch)
{
    int32_t *flight = &s->flights[batch->header->number % SCHEDULER_MAX_IN_FLIGHT];
    s->n_rows_out -= *flight;
    s->n_groups_out -= *flight > 0;
    *flight = 0;
    s->n_home++;
    int32_t last = -1; /* rows of a sequence stand together in a batch */
    for (int32_t i = 0; i < batch->header->n_rows; i++) {
        int32_t slot = batch->rows[i].slot;
        struct sequence *q = s->slots[slot];
        if (slot != last && --q->n_in_flight == 0 && q->place == SEQUENCE_FLIES) {
            scheduler_move(s, q, SEQUENCE_LANDED);
        }
        last = slot;
    }
}

void scheduler_get_stats(const struct scheduler *s, struct scheduler_stats *out)
{
    *out = s->stats;
    out->n_batches = s->n_batches;
    out->n_evicted = s->pool.n_evicted;
}
