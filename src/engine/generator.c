/* SPDX-License-Identifier: MIT */
#include "src/engine/generator.h"

#include <stdlib.h>
#include <string.h>

int generator_init(struct generator *g, struct stage *stage, struct scheduler *scheduler, int32_t n_vocab, struct error *err)
{
    memset(g, 0, sizeof *g);
    g->stage = stage;
    g->scheduler = scheduler;
    g->n_vocab = n_vocab;
    g->results = calloc((size_t)scheduler->n_slots, sizeof *g->results);
    g->busy_s = calloc((size_t)stage->cluster->size, sizeof *g->busy_s);
    if (!g->results || !g->busy_s) {
        generator_free(g);
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
    free(g->busy_s);
    memset(g, 0, sizeof *g);
}

void generator_on_logits(void *context, const struct batch *batch, int32_t row, const float *logits)
{
    struct generator *g = context;
    const struct batch_row *r = &batch->rows[row];
    /* The main thread does not touch ids or slots of a sequence whose token is under way. */
    const struct sequence *q = g->scheduler->slots[r->slot];
    if (q->want_prompt_logits && r->position < q->n_prompt && g->on_prompt_logits) {
        g->on_prompt_logits(g->context, q, r->position, logits);
    }
    if (r->position == q->n_ids - 1) {
        sampler_pick(g->sampler, &q->sampling, logits, g->n_vocab, q->ids, q->n_ids, q->n_ids, &g->results[r->slot]);
    }
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

static void count_busy(struct generator *g, const struct batch *batch)
{
    for (int32_t i = 0; i < batch->header->n_stages; i++) {
        g->busy_s[i] += (double)batch->times[i].busy_s;
    }
}

static void fill_pipe(struct generator *g)
{
    struct batch *batch;
    while ((batch = stage_batch(g->stage))) {
        if (scheduler_next(g->scheduler, batch) == 0) {
            stage_return(g->stage, batch);
            return;
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
            scheduler_returned(g->scheduler, batch);
            take_tokens(g, batch);
            count_busy(g, batch);
            stage_return(g->stage, batch);
        }
    }
}
