/* Who holds slots and pages: admission, sharing, preemption. SPDX-License-Identifier: MIT */
#include <assert.h>

#include "src/engine/scheduler_private.h"

enum { MAX_PROMPTS = 128 /* with a slot at a time: more than one batch can have chunks of */ };

static int32_t n_admitted(const struct scheduler *s)
{
    return s->n_slots - s->n_free_slots;
}

/* Pages of its prompt that others may have: all before the last row, which must be computed. */
static int32_t most_shared(const struct scheduler *s, const struct sequence *q)
{
    return q->want_prompt_logits || s->options.no_sharing ? 0 : (q->n_ids - 1) / KV_PAGE;
}

/* -- coming and going -- */

/* Pages that those with a slot still need for their prompts. */
static int64_t promised(const struct scheduler *s)
{
    int64_t n = 0;
    for (const struct sequence *q = s->prompts.first; q; q = q->next) {
        n += pages_for(q->n_ids) - q->n_pages;
    }
    return n;
}

/* Pages of its prompt that others hold at this moment: it would share them. */
static int32_t held_by_others(const struct scheduler *s, const struct sequence *q)
{
    uint64_t content = PAGE_NOTHING;
    int32_t n = 0, most = most_shared(s, q);
    for (int32_t i = 0; i < most; i++) {
        int32_t page = page_pool_find(&s->pool, content, q->ids + (size_t)i * KV_PAGE);
        if (page < 0) {
            break;
        }
        content = s->pool.pages[page].content;
        n += s->pool.pages[page].n_holders > 0;
    }
    return n;
}

/* Its prompt has room beside what was promised to others, with some headroom for the answers that are being written. */
static int fits(struct scheduler *s, const struct sequence *q)
{
    if (n_admitted(s) == 0) {
        return 1;
    }
    int32_t headroom = s->n_running < s->pool.n_pages / 8 ? s->n_running : s->pool.n_pages / 8;
    int64_t room = page_pool_available(&s->pool) - promised(s) - headroom;
    int32_t need = pages_for(q->n_ids);
    if (need <= room) {
        return 1;
    }
    if (s->refused_at == s->pool.n_given) { /* the search is long: once for every change to the better */
        return 0;
    }
    s->refused_at = s->pool.n_given;
    return need - held_by_others(s, q) <= room;
}

void scheduler_admit(struct scheduler *s)
{
    for (struct sequence *q; (q = s->waiting.first) && s->n_free_slots > 0 && s->prompts.n < MAX_PROMPTS;) {
        if (q->stop == SEQUENCE_RUNNING && pages_for(q->n_ids) > s->pool.n_pages) {
            q->stop = SEQUENCE_STOP_LENGTH;
        }
        if (q->stop != SEQUENCE_RUNNING) {
            scheduler_move(s, q, SEQUENCE_FINISHED);
            continue;
        }
        if (s->lacking || !fits(s, q)) {
            return;
        }
        if (!s->prompts.first) {
            s->wave_rows = s->wave_pairs = 0;
        }
        s->wave_rows += q->n_ids;
        s->wave_pairs += batch_cost_pairs(0, q->n_ids);
        s->refused_at = UINT64_MAX;
        q->slot = s->free_slots[--s->n_free_slots];
        s->slots[q->slot] = q;
        scheduler_move(s, q, SEQUENCE_PROMPT);
        if (n_admitted(s) > s->stats.peak_sequences) {
            s->stats.peak_sequences = n_admitted(s);
        }
    }
}

void scheduler_release(struct scheduler *s, struct sequence *q)
{
    assert(q->n_in_flight == 0 && s->slots[q->slot] == q);
    while (q->n_pages > 0) { /* the last first: see pages.h */
        page_pool_give(&s->pool, q->pages[--q->n_pages]);
    }
    q->n_told = q->n_chained = 0;
    q->chain = PAGE_NOTHING;
    s->n_running -= q->place != SEQUENCE_PROMPT;
    s->lacking = s->lacking == q ? NULL : s->lacking;
    s->slots[q->slot] = NULL;
    s->free_slots[s->n_free_slots++] = q->slot;
    q->slot = -1;
}

/* -- preemption -- */

/* The youngest of all that have a slot, so that those who wait are always younger; NULL when that is q itself, or has something
 * in flight. */
static struct sequence *victim_for(const struct scheduler *s, const struct sequence *q)
{
    const struct sequence *youngest = q;
    for (int32_t i = 0; i < s->n_slots; i++) {
        const struct sequence *p = s->slots[i];
        youngest = p && p->number > youngest->number ? p : youngest;
    }
    return youngest != q && youngest->n_in_flight == 0 ? s->slots[youngest->slot] : NULL;
}

static void preempt(struct scheduler *s, struct sequence *q)
{
    scheduler_release(s, q);
    q->n_scheduled = 0;
    scheduler_move(s, q, SEQUENCE_WAITS);
    s->stats.n_preemptions++;
}

int scheduler_take_page(struct scheduler *s, struct sequence *q)
{
    struct sequence *victim;
    while (page_pool_available(&s->pool) == 0 && (victim = victim_for(s, q))) {
        preempt(s, victim); /* its pages may be others' too: perhaps one more has to go */
    }
    int32_t page = page_pool_take(&s->pool);
    if (page >= 0) {
        q->pages[q->n_pages++] = page;
        return 1;
    }
    if (n_admitted(s) == 1) { /* all pages are its own */
        q->stop = SEQUENCE_STOP_LENGTH;
        s->found_wall = 1;
    } else if (!s->lacking || q->number < s->lacking->number) {
        s->lacking = q;
    }
    return 0;
}

void scheduler_serve_lacking(struct scheduler *s)
{
    struct sequence *q = s->lacking;
    s->lacking = NULL;
    if (q) {
        scheduler_take_page(s, q);
    }
}

/* -- sharing -- */

enum scheduler_share scheduler_share(struct scheduler *s, struct sequence *q, int32_t n_untold)
{
    int32_t most = most_shared(s, q);
    while (q->n_pages < most && q->n_scheduled == q->n_pages * KV_PAGE && q->n_chained == q->n_pages) {
        int32_t page = page_pool_find(&s->pool, q->chain, q->ids + q->n_scheduled);
        if (page < 0) {
            return SCHEDULER_SHARE_DONE;
        }
        const struct page *p = &s->pool.pages[page];
        if (p->batch == s->n_batches) {
            return SCHEDULER_SHARE_SOON;
        }
        if (q->n_pages - q->n_told >= n_untold) {
            return SCHEDULER_SHARE_FULL;
        }
        page_pool_hold(&s->pool, page);
        q->pages[q->n_pages++] = page;
        q->n_chained++;
        q->chain = p->content;
        q->n_scheduled += KV_PAGE;
        s->stats.shared_pages++;
        s->stats.shared_rows += KV_PAGE;
    }
    return SCHEDULER_SHARE_DONE;
}

void scheduler_publish(struct scheduler *s, struct sequence *q)
{
    for (; (q->n_chained + 1) * KV_PAGE <= q->n_scheduled; q->n_chained++) {
        int32_t at = q->n_chained;
        q->chain = page_pool_publish(&s->pool, q->pages[at], q->chain, q->ids + (size_t)at * KV_PAGE, s->n_batches);
    }
}
