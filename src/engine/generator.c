/* SPDX-License-Identifier: MIT */
#include "src/engine/generator.h"

#include <stdlib.h>
#include <string.h>

enum { LEARN_EVERY = 16 /* batches between two looks at what they cost */ };

int generator_init(struct generator *g, struct stage *stage, struct scheduler *scheduler, int32_t n_vocab, struct error *err)
{
    memset(g, 0, sizeof *g);
    g->stage = stage;
    g->scheduler = scheduler;
    g->n_vocab = n_vocab;
    g->results = calloc((size_t)scheduler->n_slots, sizeof *g->results);
    if (!g->results) {
        return error_set(err, "out of memory for the results of %d sequences", scheduler->n_slots);
    }
    if (sampler_init(&g->sampler, n_vocab, err)) {
        generator_free(g);
        return -1;
    }
    return 0;
}

void generator_free(struct generator *g)
{
    sampler_free(g->sampler);
    free(g->results);
    memset(g, 0, sizeof *g);
}

/* Where nothing is computed the token is a hash of seed and position, none that ends the text (of a vocabulary that has others).
 */
static void pick_without_logits(const struct generator *g, const struct sequence *q, struct sampler_result *out)
{
    memset(out, 0, sizeof *out);
    for (uint32_t draw = 0; draw < 100; draw++) {
        out->id = (int32_t)(sampler_random(q->sampling.seed, (uint32_t)q->n_ids, draw) % (uint64_t)g->n_vocab);
        if (!g->is_end || !g->is_end(g->context, out->id)) {
            return;
        }
    }
}

void generator_on_logits(void *context, const struct batch *batch, int32_t row, const float *logits)
{
    struct generator *g = context;
    const struct batch_row *r = &batch->rows[row];
    /* The main thread does not touch ids or slots of a sequence whose token is under way. */
    const struct sequence *q = g->scheduler->slots[r->slot];
    if (!g->stage->segments[0].backend->ops->computes) {
        pick_without_logits(g, q, &g->results[r->slot]);
        return;
    }
    if (q->want_prompt_logits && r->position < q->n_prompt && g->on_prompt_logits) {
        g->on_prompt_logits(g->context, q, r->position, logits);
    }
    if (r->position == q->n_ids - 1) {
        sampler_pick(g->sampler, &q->sampling, logits, g->n_vocab, q->ids, q->n_ids, q->n_ids, &g->results[r->slot]);
    }
}

void generator_on_shortlist(void *context, const struct batch *batch, int32_t row, const struct shortlist *list)
{
    struct generator *g = context;
    const struct batch_row *r = &batch->rows[row];
    const struct sequence *q = g->scheduler->slots[r->slot];
    if (!g->stage->segments[0].backend->ops->computes) {
        pick_without_logits(g, q, &g->results[r->slot]);
    } else if (r->position == q->n_ids - 1) {
        sampler_pick_short(g->sampler, &q->sampling, list, q->ids, q->n_ids, q->n_ids, &g->results[r->slot]);
    }
}

/* Tells the owners of the divided head what is needed of each row that wants a token. Listed tokens that find no room any more
 * turn the need into every logit. */
static void write_needs(struct generator *g, struct batch *batch)
{
    static const struct logit_need all = {.n_best = -1};
    int32_t room = batch->shape.max_need_words, at = 0, listed[SHORTLIST_MAX_LISTED];
    for (int32_t i = 0; i < batch->header->n_rows; i++) {
        const struct batch_row *r = &batch->rows[i];
        const struct sequence *q = g->scheduler->slots[r->slot];
        struct logit_need need = all;
        if (!(r->flags & BATCH_ROW_WANTS_TOKEN)) {
            continue;
        }
        if (!q->want_prompt_logits || r->position >= q->n_prompt) {
            sampler_need(g->sampler, &q->sampling, g->n_vocab, q->ids, q->n_ids, &need, listed);
        }
        if (at + need.n_listed + BATCH_NEED_WORDS * (batch->header->n_rows - i) > room) {
            need = all;
        }
        memcpy(batch->needs + at, (const int32_t[]){need.n_best, need.sums, need.n_listed}, BATCH_NEED_WORDS * sizeof(int32_t));
        memcpy(batch->needs + at + BATCH_NEED_WORDS, listed, (size_t)need.n_listed * sizeof *listed);
        at += BATCH_NEED_WORDS + need.n_listed;
    }
    batch_set_needs(batch, at);
}

static void take_tokens(struct generator *g, const struct batch *batch)
{
    for (int32_t i = 0; i < batch->header->n_rows; i++) {
        const struct batch_row *r = &batch->rows[i];
        struct sequence *q = g->scheduler->slots[r->slot];
        if (!(r->flags & BATCH_ROW_WANTS_TOKEN) || r->position != q->n_ids - 1 || q->stop != SEQUENCE_RUNNING) {
            continue;
        }
        if (q->n_ids < q->max_ids) {
            sequence_append(q, g->results[r->slot].id);
            g->on_token(g->context, q, &g->results[r->slot]);
        }
        if (q->stop == SEQUENCE_RUNNING && q->n_ids == q->max_ids) {
            q->stop = SEQUENCE_STOP_LENGTH;
        }
    }
}

void generator_add(struct generator *g, struct sequence *sequence)
{
    scheduler_add(g->scheduler, sequence);
}

void generator_wake(struct generator *g)
{
    stage_wake(g->stage);
}

static void fill_pipe(struct generator *g)
{
    struct batch *batch;
    while ((batch = stage_batch(g->stage))) {
        if (scheduler_next(g->scheduler, batch) == 0) {
            stage_return(g->stage, batch);
            return;
        }
        if (g->stage->mail) {
            write_needs(g, batch);
        }
        stage_submit(g->stage, batch);
    }
}

static void hand_back_ended(struct generator *g)
{
    struct sequence *q;
    while ((q = scheduler_take_ended(g->scheduler))) {
        if (g->on_end) {
            g->on_end(g->context, q);
        }
    }
}

/* What the slowest stage needed for a batch teaches the scheduler how to cut prompts. */
static void learn_cost(struct generator *g, const struct batch *batch)
{
    const struct batch_header *h = batch->header;
    double seconds = 0, pairs = 0;
    for (int32_t i = 0; i < h->n_stages; i++) {
        seconds = (double)batch->times[i].busy_s > seconds ? (double)batch->times[i].busy_s : seconds;
    }
    for (int32_t i = 0; i < h->n_rows; i++) {
        pairs += batch->rows[i].position + 1;
    }
    struct batch_cost cost;
    if (seconds > 0) {
        cost_fit_add(&g->cost, h->n_rows, pairs, seconds);
    }
    if (h->number % LEARN_EVERY == 0 && cost_fit_get(&g->cost, &cost)) {
        scheduler_set_cost(g->scheduler, &cost);
    }
}

void generator_run(struct generator *g)
{
    for (;;) {
        int more = g->more && g->more(g->context);
        if (g->cancel && *g->cancel) {
            scheduler_cancel_all(g->scheduler);
            more = 0;
        }
        fill_pipe(g);
        hand_back_ended(g);
        if (g->stage->n_in_flight == 0 && !more && scheduler_is_empty(g->scheduler)) {
            return;
        }
        struct batch *batch = stage_wait(g->stage);
        if (batch) {
            learn_cost(g, batch);
            scheduler_returned(g->scheduler, batch);
            take_tokens(g, batch);
            if (g->on_batch) {
                g->on_batch(g->context, batch);
            }
            stage_return(g->stage, batch);
        }
    }
}
