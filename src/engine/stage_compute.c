/* The compute thread of a stage. SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "src/core/clock.h"
#include "src/engine/stage_private.h"

enum { SPIN_US = 20 /* how long the compute thread polls its queues before it sleeps */ };

static void apply_pages(struct stage *stage, const struct batch *batch)
{
    for (int32_t i = 0; i < batch->header->n_pages; i++) {
        const struct batch_page *p = &batch->pages[i];
        stage->page_table[(size_t)p->slot * (size_t)stage->options.max_pages_per_slot + (size_t)p->index] = p->page;
    }
}

static int run_urgent(void *context, int32_t n_done, int32_t n_left);

static void run_forward(struct stage *stage, struct batch *batch)
{
    struct segment_pause pause = {.run = run_urgent, .context = stage};
    apply_pages(stage, batch);
    int32_t n = batch->header->n_rows;
    if (n > 0) {
        for (int32_t i = 0; i < n; i++) {
            stage->tokens[i] = batch->rows[i].token;
            stage->positions[i] = batch->rows[i].position;
            stage->slots[i] = batch->rows[i].slot;
        }
        struct backend_rows rows = {.n_rows = n,
                                    .tokens = stage->tokens,
                                    .positions = stage->positions,
                                    .slots = stage->slots,
                                    .pages = stage->page_table,
                                    .max_pages = stage->options.max_pages_per_slot};
        for (int32_t i = 0; i < stage->n_segments; i++) {
            stage->segment_s = clock_now_s();
            segment_forward(&stage->segments[i], &rows, stage->cluster->rank == 0 && i == 0, batch->hidden,
                            stage->head && stage->cluster->size > 1 ? &pause : NULL);
        }
        batch->header->flags |= stage->segments[stage->n_segments - 1].normed ? BATCH_PACKED : 0;
    }
    if (stage->cluster->rank == stage->cluster->size - 1) {
        batch_keep_wanted(batch);
    }
}

/* Runs the wanted hidden through the head, HEAD_MAX_ROWS rows at a time; each(row of hidden, its logits). */
typedef void (*row_fn)(struct stage *stage, struct stage_entry *entry, int32_t row, const float *logits);

static void run_head(struct stage *stage, struct stage_entry *entry, row_fn each)
{
    const struct batch *batch = &entry->batch;
    size_t n_vocab = (size_t)stage->head->n_vocab;
    if (batch->header->n_hidden > 0 && !(batch->header->flags & BATCH_PACKED) != (stage->head->hidden != NULL)) {
        fatal("batch %llu does not bring its hidden as the head takes it", (unsigned long long)batch->header->number);
    }
    for (int32_t first = 0; first < batch->header->n_hidden; first += HEAD_MAX_ROWS) {
        int32_t n = batch->header->n_hidden - first < HEAD_MAX_ROWS ? batch->header->n_hidden - first : HEAD_MAX_ROWS;
        const float *logits = head_forward(stage->head, batch_hidden_row(batch, first), n);
        for (int32_t i = 0; i < n; i++) {
            each(stage, entry, first + i, logits + (size_t)i * n_vocab);
        }
    }
}

/* The head is undivided: rank 0 samples from all logits. */
static void deliver_logits(struct stage *stage, struct stage_entry *entry, int32_t wanted, const float *logits)
{
    const struct batch *batch = &entry->batch;
    int32_t row = 0;
    for (int32_t seen = 0; !(batch->rows[row].flags & BATCH_ROW_WANTS_TOKEN) || seen++ < wanted;) {
        row++;
    }
    stage->options.on_logits(stage->options.on_logits_context, batch, row, logits);
}

/* Room for the answers to all rows of the batch. */
static void reserve_answer(struct stage *stage, struct stage_entry *entry)
{
    const struct stage_owner *owner = &stage->options.owners[stage->cluster->rank];
    struct logit_need need;
    const int32_t *listed;
    size_t bytes = sizeof *entry->answer;
    for (int32_t i = 0, at = 0; i < entry->batch.header->n_hidden; i++) {
        at = batch_need(&entry->batch, at, &need, &listed);
        bytes += shortlist_answer_bytes(&need, listed, owner->vocab_first, owner->vocab_end);
    }
    if (bytes > entry->answer_capacity) {
        free(entry->answer);
        entry->answer = malloc(bytes);
        entry->answer_capacity = bytes;
        if (!entry->answer) {
            fatal("out of memory for a part of the logits (%zu bytes)", bytes);
        }
    }
    entry->answer_bytes = sizeof *entry->answer;
    entry->need_at = 0;
}

static void answer_row(struct stage *stage, struct stage_entry *entry, int32_t row, const float *logits)
{
    const struct stage_owner *owner = &stage->options.owners[stage->cluster->rank];
    struct logit_need need;
    const int32_t *listed;
    (void)row;
    entry->need_at = batch_need(&entry->batch, entry->need_at, &need, &listed);
    entry->answer_bytes += shortlist_answer(&need, listed, logits, owner->vocab_first, owner->vocab_end,
                                            (uint8_t *)entry->answer + entry->answer_bytes);
}

static void run_job(struct stage *stage, struct stage_entry *entry)
{
    if (entry->job == JOB_FORWARD) {
        run_forward(stage, &entry->batch);
    } else if (!stage->mail) {
        run_head(stage, entry, deliver_logits);
    } else {
        double begin_s = clock_now_s();
        reserve_answer(stage, entry);
        if (stage->head) {
            run_head(stage, entry, answer_row);
        }
        *entry->answer = (struct answer_header){.number = entry->batch.header->number, .busy_s = clock_now_s() - begin_s};
    }
}

/* Work on the entry from stage->began_s until now has been done. */
static void count_work(struct stage *stage, struct stage_entry *entry, int is_last)
{
    const struct batch_header *h = entry->batch.header;
    int forward = entry->job == JOB_FORWARD;
    double now_s = clock_now_s(), busy_s = now_s - stage->began_s;
    if (!entry->letter && !entry->origin) { /* what others lent is not written to */
        entry->batch.times[stage->cluster->rank].busy_s += (float)busy_s;
    }
    trace_work(stage->options.trace, forward ? TRACE_FORWARD : TRACE_HEAD, stage->began_s, now_s, h->number,
               (size_t)(forward ? h->n_rows : h->n_hidden));
    if (!(h->flags & BATCH_STOP)) {
        stage->totals.busy_s += busy_s;
        stage->totals.n_batches += (uint64_t)(forward && is_last);
        stage->totals.n_rows += forward && is_last ? (uint64_t)h->n_rows : 0;
    }
    stage->began_s = now_s;
}

static void run(struct stage *stage, struct stage_entry *entry)
{
    stage->began_s = clock_now_s();
    stage->at_work = entry;
    double begin_s = stage->began_s;
    run_job(stage, entry);
    count_work(stage, entry, 1);
    stage->head_s = entry->job == JOB_HEAD ? stage->began_s - begin_s : stage->head_s;
    queue_put(&stage->done, entry);
    bell_ring(&stage->main_bell);
}

/* Between two layers: parts of the head that have come in during a long chunk of prompts. Each token then comes earlier by what
 * is left of the chunk; but the batch that is interrupted, and those on the other ranks, come home later by a part of the head.
 */
static int run_urgent(void *context, int32_t n_done, int32_t n_left)
{
    struct stage *stage = context;
    struct stage_entry *forward = stage->at_work, *entry;
    double since_s = stage->began_s > stage->segment_s ? stage->began_s : stage->segment_s;
    double left_s = (clock_now_s() - since_s) / n_done * n_left;
    if (left_s < stage->head_s * stage->cluster->size || !(entry = queue_take(&stage->home))) {
        return 0;
    }
    count_work(stage, forward, 0);
    for (; entry; entry = queue_take(&stage->home)) {
        run(stage, entry);
    }
    stage->at_work = forward;
    return 1;
}

/* Parts of the head first. */
static struct stage_entry *next_job(struct stage *stage)
{
    struct stage_entry *entry = queue_take(&stage->home);
    return entry ? entry : queue_take(&stage->forward);
}

static struct stage_entry *wait_for_job(struct stage *stage)
{
    double start = clock_now_s();
    struct stage_entry *entry;
    while (!(entry = next_job(stage))) {
        if (clock_now_s() - start > SPIN_US * 1e-6) {
            bell_wait(&stage->compute_bell, -1);
        }
    }
    return entry;
}

void *stage_compute_main(void *argument)
{
    struct stage *stage = argument;
    if (stage->bind_thread) {
        stage->bind_thread(stage->bind_context);
    }
    for (int stop = 0; !stop;) {
        double idle_s = clock_now_s();
        struct stage_entry *entry = wait_for_job(stage);
        stop = entry->job == JOB_FORWARD && entry->batch.header->flags & BATCH_STOP;
        if (!stop) {
            stage->totals.wait_s += stage->totals.n_batches > 0 ? clock_now_s() - idle_s : 0;
        }
        run(stage, entry);
    }
    return NULL;
}
