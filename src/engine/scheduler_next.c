/* What the next batch holds. SPDX-License-Identifier: MIT */
#include <assert.h>
#include <math.h>

#include "src/engine/scheduler_private.h"

enum {
    LEAST_ROWS = 16,     /* of prompts in a batch, however dear: they must get on */
    SHORTEST = 8,        /* prompts that share the short ones' half of a batch */
    ROWS_FOR_PROMPTS = 8 /* of a batch's rows, 1 of so many is not given to running sequences while prompts wait */
};

/* What prompts may take of the batch: time beyond what it costs anyway, and rows. */
struct allowance {
    double time_s;
    int32_t rows;
    int32_t n_prompts; /* that took something */
};

/* -- rows -- */

/* Rows [n_scheduled, n_scheduled + n) of a sequence, behind those that the batch has. Their pages are there. */
static void add_rows(struct scheduler *s, struct batch *batch, struct sequence *q, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        int32_t position = q->n_scheduled + i;
        int prompt = q->want_prompt_logits && position < q->n_prompt && position >= q->n_wanted;
        int wants = position == q->n_ids - 1 || prompt;
        batch->rows[s->n_rows + i] = (struct batch_row){
            .token = q->ids[position], .position = position, .slot = q->slot, .flags = wants ? BATCH_ROW_WANTS_TOKEN : 0};
    }
    s->n_rows += n;
    q->n_scheduled += n;
    q->n_wanted = q->n_scheduled > q->n_wanted ? q->n_scheduled : q->n_wanted;
    q->n_in_flight++;
    q->last_batch = s->n_batches;
    s->members[s->n_members++] = q;
    s->n_changes += q->n_pages - q->n_told;
    scheduler_publish(s, q);
}

/* The batch's page changes: all that its sequences' tables have and no batch has said yet. */
static void write_changes(struct scheduler *s, struct batch *batch)
{
    int32_t at = 0;
    for (int32_t i = 0; i < s->n_members; i++) {
        struct sequence *q = s->members[i];
        for (; q->n_told < q->n_pages; q->n_told++) {
            batch->pages[at++] = (struct batch_page){.slot = q->slot, .index = q->n_told, .page = q->pages[q->n_told]};
        }
    }
    assert(at == batch->header->n_pages);
}

/* -- running sequences -- */

/* How many may go into this batch, so that they end up in the best number of groups, of equal size. */
static int32_t group_size(const struct scheduler *s, int prompts_wait)
{
    const struct scheduler_options *o = &s->options;
    int32_t n_groups = batch_cost_groups(&o->cost, &o->way, s->n_running, o->n_ranks, o->max_groups);
    int32_t free_groups = n_groups - s->n_groups_out, most = o->max_rows;
    if (free_groups <= 0) {
        return 0; /* one group more would only read the weights once more: join the next that comes home */
    }
    if (prompts_wait) {
        most = most > 1 ? most - (most + ROWS_FOR_PROMPTS - 1) / ROWS_FOR_PROMPTS : (int32_t)(s->n_batches & 1);
    }
    int32_t even = (s->n_running + n_groups - 1) / n_groups;
    int32_t left = (s->n_running - s->n_rows_out + free_groups - 1) / free_groups;
    even = left < even ? left : even;
    return even < most ? even : most;
}

static void add_running(struct scheduler *s, struct batch *batch, int prompts_wait)
{
    int32_t most = group_size(s, prompts_wait);
    double pairs = 0;
    for (struct sequence *q = s->ready.first, *next; q && s->n_rows < most; q = next) {
        int has_page = q->n_scheduled < q->n_pages * KV_PAGE || scheduler_take_page(s, q);
        next = q->next; /* not earlier: those behind may have had to give their pages */
        if (has_page && s->n_changes + q->n_pages - q->n_told <= batch->shape.max_pages) {
            pairs += batch_cost_pairs(q->n_scheduled, 1);
            scheduler_move(s, q, SEQUENCE_FLIES);
            add_rows(s, batch, q, 1);
        }
    }
    int32_t n = s->n_rows;
    if (n > 0) {
        s->answer_s = batch_cost_time(&s->options.cost, n, pairs);
        s->flights[s->n_batches % SCHEDULER_MAX_IN_FLIGHT] = n;
        s->n_rows_out += n;
        s->n_groups_out++;
        s->stats.answer_rows += (uint64_t)n;
    }
}

/* -- prompts -- */

static struct allowance allow(const struct scheduler *s)
{
    const struct scheduler_options *o = &s->options;
    struct allowance a = {.time_s = HUGE_VAL, .rows = o->max_rows - s->n_rows};
    a.rows = a.rows < o->chunk ? a.rows : o->chunk;
    if (!batch_cost_known(&o->cost)) {
        a.rows = o->blind_chunk > 0 && o->blind_chunk < a.rows ? o->blind_chunk : a.rows;
        return a;
    }
    a.time_s = batch_cost_chunk_time(&o->cost, &o->way, s->wave_rows, s->wave_pairs, o->n_ranks);
    if (s->n_running > 0) { /* somebody waits for a token: with this batch's rows, or behind it */
        double alone_s = s->answer_s > 0 ? s->answer_s : batch_cost_time(&o->cost, 1, 1);
        double beside_s = o->stretch * alone_s - (s->n_rows > 0 ? alone_s : o->cost.fixed_s);
        beside_s = batch_cost_room(&o->cost, s->n_rows, beside_s);
        a.time_s = beside_s < a.time_s ? beside_s : a.time_s;
    }
    double least_s = o->cost.row_s * LEAST_ROWS + o->cost.pair_s * batch_cost_pairs(s->prompts.first->n_scheduled, LEAST_ROWS);
    a.time_s = a.time_s > least_s ? a.time_s : least_s;
    return a;
}

/* Pages for up to n more rows, of which the first matters. Returns how many rows have room. */
static int32_t take_pages(struct scheduler *s, const struct batch *batch, struct sequence *q, int32_t n)
{
    int32_t changes = batch->shape.max_pages - s->n_changes - (q->n_pages - q->n_told);
    int needed = q->n_scheduled == q->n_pages * KV_PAGE;
    for (; changes > 0 && q->n_pages < pages_for(q->n_scheduled + n); changes--) {
        int32_t page = needed ? -1 : page_pool_take(&s->pool);
        if (page >= 0) {
            q->pages[q->n_pages++] = page;
        } else if (!needed || !scheduler_take_page(s, q)) {
            break;
        }
        needed = 0;
    }
    int32_t room = changes < 0 ? 0 : q->n_pages * KV_PAGE - q->n_scheduled;
    return n < room ? n : room;
}

/* As much of a prompt as `part` allows; *part and *all are less by it. */
static void add_chunk(struct scheduler *s, struct batch *batch, struct sequence *q, struct allowance *part, struct allowance *all)
{
    const struct batch_cost *cost = &s->options.cost;
    if (q->place != SEQUENCE_PROMPT || q->stop != SEQUENCE_RUNNING || q->last_batch == s->n_batches) {
        return;
    }
    if (s->lacking && s->lacking->number < q->number) {
        return; /* that one may need this one's pages: soon nothing of it shall be in flight */
    }
    enum scheduler_share found = scheduler_share(s, q, batch->shape.max_pages - s->n_changes - pages_for(part->rows) - 1);
    if (found == SCHEDULER_SHARE_SOON || (found == SCHEDULER_SHARE_FULL && all->n_prompts > 0 && q->previous)) {
        return; /* the next batch will know more pages, or have more room for changes; the oldest need not wait for that */
    }
    int32_t left = q->n_ids - q->n_scheduled;
    int32_t n = batch_cost_rows(cost, q->n_scheduled, part->time_s, left < part->rows ? left : part->rows);
    n = n > 0 ? take_pages(s, batch, q, n) : 0;
    if (n <= 0) {
        return;
    }
    double time_s = batch_cost_work(cost, n, batch_cost_pairs(q->n_scheduled, n));
    add_rows(s, batch, q, n);
    part->time_s -= time_s;
    part->rows -= n;
    if (part != all) {
        all->time_s -= time_s;
        all->rows -= n;
    }
    all->n_prompts++;
    s->stats.prompt_rows += (uint64_t)n;
    if (q->n_scheduled == q->n_ids) {
        s->n_running++;
        scheduler_move(s, q, SEQUENCE_FLIES);
    }
}

static int32_t rows_left(const struct sequence *q)
{
    return q->n_ids - q->n_scheduled;
}

/* The shortest of the prompts that are shorter than the oldest, shortest first. */
static int32_t find_shortest(const struct scheduler *s, struct sequence **found)
{
    int32_t n = 0;
    for (struct sequence *q = s->prompts.first->next; q; q = q->next) {
        int32_t at = n;
        if (rows_left(q) >= rows_left(n < SHORTEST ? s->prompts.first : found[n - 1])) {
            continue;
        }
        n += n < SHORTEST;
        for (at = n - 1; at > 0 && rows_left(found[at - 1]) > rows_left(q); at--) {
            found[at] = found[at - 1];
        }
        found[at] = q;
    }
    return n;
}

static void add_prompts(struct scheduler *s, struct batch *batch)
{
    struct allowance all = allow(s), half = all;
    struct sequence *shortest[SHORTEST];
    int32_t n = find_shortest(s, shortest);
    half.time_s /= 2;
    half.rows = (half.rows + (int32_t)(s->n_batches & 1)) / 2;
    for (int32_t i = 0; i < n && half.rows > 0; i++) {
        add_chunk(s, batch, shortest[i], &half, &all);
    }
    const struct batch_cost *cost = &s->options.cost;
    for (struct sequence *q = s->prompts.first, *next; q && batch_cost_rows(cost, 0, all.time_s, all.rows) > 0; q = next) {
        struct sequence *before = q->previous;
        add_chunk(s, batch, q, &all, &all);
        next = q->place == SEQUENCE_PROMPT ? q->next : before ? before->next : s->prompts.first;
    }
}

/* -- the batch -- */

static void fill(struct scheduler *s, struct batch *batch)
{
    batch_clear(batch, s->n_batches);
    s->n_rows = s->n_members = s->n_changes = 0;
    add_running(s, batch, s->prompts.first != NULL);
    /* A batch of prompts alone delays those that run by its own time: only where a stage would have nothing to do. */
    int alone = s->n_rows == 0 && s->n_running > 0;
    if (s->prompts.first && !(alone && s->n_batches - s->n_home >= (uint64_t)s->options.n_ranks)) {
        add_prompts(s, batch);
    }
    if (s->n_rows == 0) { /* the prompts that rows were kept for cannot use them */
        add_running(s, batch, 0);
    }
}

int32_t scheduler_next(struct scheduler *s, struct batch *batch)
{
    do {
        s->found_wall = 0;
        scheduler_settle(s);
        scheduler_serve_lacking(s);
        scheduler_admit(s);
        fill(s, batch);
    } while (s->n_rows == 0 && s->found_wall);
    if (s->n_rows == 0) {
        return 0;
    }
    batch_set_counts(batch, s->n_rows, s->n_changes, s->n_rows);
    write_changes(s, batch);
    s->n_batches++;
    int32_t held = s->pool.n_pages - page_pool_available(&s->pool);
    s->stats.peak_pages = held > s->stats.peak_pages ? held : s->stats.peak_pages;
    return s->n_rows;
}
