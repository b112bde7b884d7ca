/* The divided head, on the main thread. SPDX-License-Identifier: MIT
 *
 * The last rank sends the wanted hidden home round the ring and, as letters, to the other owners of vocabulary rows. Each owner
 * answers rank 0 with a letter for each batch, in order; rank 0 computes its own part, and when all answers to its oldest batch
 * are there, it puts them together in the order of the vocabulary. */
#include <stdlib.h>
#include <string.h>

#include "src/core/clock.h"
#include "src/engine/stage_private.h"

/* Letters of one owner that wait for their batch, oldest first. */
struct answers {
    struct mail_letter **letters; /* [depth + 1] owned, a circle */
    int32_t first, n;
};

/* An owner's answer while it is read. */
struct reader {
    const uint8_t *bytes;
    size_t n, at;
};

/* A part of the head that is to be computed. */
struct request {
    void *memory; /* of the batch: a letter's, or that of `origin` */
    size_t bytes;
    struct mail_letter *letter;
    struct stage_entry *origin;
};

struct stage_head {
    int32_t n_slots;
    struct answers *answers;          /* [size] owned, rank 0 */
    struct reader *readers;           /* [size] owned, rank 0: scratch */
    struct shortlist list;            /* rank 0 */
    struct stage_entry *first, *last; /* rank 0: batches that are home and whose own part is done, in order */
    struct stage_entry *entries;      /* [n_slots] owned, other owners: parts being computed */
    struct stage_entry **idle;        /* [n_slots] owned */
    int32_t n_idle;
    struct request *requests; /* [n_slots] owned, a circle: those that wait for an idle entry */
    int32_t first_request, n_requests;
};

static int owns(const struct stage *stage, int32_t rank)
{
    const struct stage_owner *o = &stage->options.owners[rank];
    return o->vocab_end > o->vocab_first;
}

static int init_home(struct stage *stage, struct stage_head *h, struct error *err)
{
    int32_t size = stage->cluster->size, n_owners = 0, n_vocab = 0;
    for (int32_t i = 0; i < size; i++) {
        n_owners += owns(stage, i);
        n_vocab = owns(stage, i) ? stage->options.owners[i].vocab_end : n_vocab;
    }
    h->answers = calloc((size_t)size, sizeof *h->answers);
    h->readers = calloc((size_t)size, sizeof *h->readers);
    int failed = !h->answers || !h->readers;
    for (int32_t i = 0; !failed && i < size; i++) {
        h->answers[i].letters = calloc((size_t)h->n_slots, sizeof *h->answers[i].letters);
        failed = !h->answers[i].letters;
    }
    return failed ? error_set(err, "out of memory for the parts of the head") : shortlist_init(&h->list, n_vocab, n_owners, err);
}

static int init_owner(struct stage_head *h, struct error *err)
{
    h->entries = calloc((size_t)h->n_slots, sizeof *h->entries);
    h->idle = calloc((size_t)h->n_slots, sizeof *h->idle);
    h->requests = calloc((size_t)h->n_slots, sizeof *h->requests);
    if (!h->entries || !h->idle || !h->requests) {
        return error_set(err, "out of memory for the parts of the head");
    }
    for (int32_t i = 0; i < h->n_slots; i++) {
        h->idle[h->n_idle++] = &h->entries[i];
    }
    return 0;
}

int stage_head_init(struct stage *stage, struct error *err)
{
    struct stage_head *h = stage->split = calloc(1, sizeof *h);
    if (!h) {
        return error_set(err, "out of memory for the parts of the head");
    }
    h->n_slots = stage->options.depth + 1;
    return stage->cluster->rank == 0 ? init_home(stage, h, err) : init_owner(h, err);
}

void stage_head_free(struct stage *stage)
{
    struct stage_head *h = stage->split;
    if (!h) {
        return;
    }
    for (int32_t i = 0; h->answers && i < stage->cluster->size; i++) {
        free(h->answers[i].letters);
    }
    for (int32_t i = 0; h->entries && i < h->n_slots; i++) {
        free(h->entries[i].answer);
    }
    free(h->answers);
    free(h->readers);
    free(h->entries);
    free(h->idle);
    free(h->requests);
    shortlist_free(&h->list);
    free(h);
    stage->split = NULL;
}

static void mark(struct stage *stage, enum trace_kind kind, uint64_t number, size_t bytes, int32_t peer)
{
    if (stage->options.trace) {
        trace_mark(stage->options.trace, kind, clock_now_s(), number, bytes, peer);
    }
}

/* -- owners behind rank 0 -- */

/* Views the batch in memory that somebody else keeps until the answer has gone. */
static void start_part(struct stage *stage, const struct request *r)
{
    struct stage_head *h = stage->split;
    struct stage_entry *part = h->idle[--h->n_idle];
    struct error err;
    batch_view(&part->batch, &stage->options.shape, r->memory, r->bytes);
    if (batch_check(&part->batch, r->bytes, &err)) {
        fatal("%s", err.text);
    }
    if (!batch_is_for_head(&part->batch, 1)) {
        fatal("batch %llu does not bring what the head needs", (unsigned long long)part->batch.header->number);
    }
    part->job = JOB_HEAD;
    part->letter = r->letter;
    part->origin = r->origin;
    stage_hand_over(stage, &stage->home, part);
}

/* Parts whose answers have been sent can be used again. That an answer has gone may be seen late, when rank 0 already works on a
 * later batch: then a request waits. */
static void start_parts(struct stage *stage)
{
    struct stage_head *h = stage->split;
    for (int32_t i = 0; i < h->n_slots; i++) {
        struct stage_entry *part = &h->entries[i];
        if (part->sending && part->n_letters == 0) {
            part->sending = 0;
            h->idle[h->n_idle++] = part;
        }
    }
    for (; h->n_requests > 0 && h->n_idle > 0; h->n_requests--) {
        start_part(stage, &h->requests[h->first_request]);
        h->first_request = (h->first_request + 1) % h->n_slots;
    }
}

static void request_part(struct stage *stage, struct request r)
{
    struct stage_head *h = stage->split;
    if (h->n_requests == h->n_slots) { /* a batch is under way until all its answers are at home, and at most depth are */
        fatal("more than %d parts of the head were asked for at once", h->n_slots);
    }
    h->requests[(h->first_request + h->n_requests++) % h->n_slots] = r;
    start_parts(stage);
}

void stage_head_spread(struct stage *stage, struct stage_entry *entry)
{
    int32_t last = stage->cluster->size - 1;
    if (entry->batch.header->n_hidden == 0 || entry->batch.header->flags & BATCH_STOP) {
        return;
    }
    for (int32_t rank = 1; rank < last; rank++) {
        if (owns(stage, rank)) {
            mark(stage, TRACE_SEND_HEAD, entry->batch.header->number, batch_bytes(&entry->batch), rank);
            mail_send(stage->mail, rank, entry->batch.memory, batch_bytes(&entry->batch), &entry->n_letters);
        }
    }
    if (owns(stage, last)) {
        entry->viewed = 1;
        request_part(stage,
                     (struct request){.memory = entry->batch.memory, .bytes = batch_bytes(&entry->batch), .origin = entry});
    }
}

static int pump_owner(struct stage *stage)
{
    struct mail_letter *letter;
    int moved = 0;
    while ((letter = mail_poll(stage->mail))) {
        mark(stage, TRACE_RECEIVE_HEAD, ((const struct batch_header *)letter->memory)->number, letter->bytes, letter->from);
        request_part(stage, (struct request){.memory = letter->memory, .bytes = letter->bytes, .letter = letter});
        moved = 1;
    }
    start_parts(stage);
    return moved;
}

/* -- rank 0 -- */

static void put_answer(struct stage *stage, struct mail_letter *letter)
{
    struct answers *a = &stage->split->answers[letter->from];
    if (a->n == stage->split->n_slots || letter->bytes < sizeof(struct answer_header)) {
        fatal("rank %d sent an answer of %zu bytes that nobody asked for", letter->from, letter->bytes);
    }
    a->letters[(a->first + a->n++) % stage->split->n_slots] = letter;
    mark(stage, TRACE_RECEIVE_HEAD, ((const struct answer_header *)letter->memory)->number, letter->bytes, letter->from);
}

static int all_answered(const struct stage *stage)
{
    for (int32_t rank = 1; rank < stage->cluster->size; rank++) {
        if (owns(stage, rank) && stage->split->answers[rank].n == 0) {
            return 0;
        }
    }
    return 1;
}

static struct reader open_answer(const struct stage *stage, const struct stage_entry *entry, int32_t rank)
{
    const struct answers *a = &stage->split->answers[rank];
    const struct mail_letter *letter = rank == 0 ? NULL : a->letters[a->first];
    struct reader r = {.bytes = letter ? letter->memory : (const void *)entry->answer,
                       .n = letter ? letter->bytes : entry->answer_bytes,
                       .at = sizeof(struct answer_header)};
    const struct answer_header *h = (const struct answer_header *)(const void *)r.bytes;
    if (h->number != entry->batch.header->number) {
        fatal("rank %d answers to batch %llu, expected %llu", rank, (unsigned long long)h->number,
              (unsigned long long)entry->batch.header->number);
    }
    if (rank > 0) {
        entry->batch.times[rank].busy_s += (float)h->busy_s;
    }
    return r;
}

static void deliver_row(struct stage *stage, const struct batch *batch, int32_t row, const struct logit_need *need,
                        struct reader *readers)
{
    struct stage_head *h = stage->split;
    struct error err;
    shortlist_clear(&h->list);
    for (int32_t rank = 0; rank < stage->cluster->size; rank++) {
        const struct stage_owner *o = &stage->options.owners[rank];
        struct reader *r = &readers[rank];
        if (!owns(stage, rank)) {
            continue;
        }
        size_t n = shortlist_add(&h->list, need, r->bytes + r->at, r->n - r->at, o->vocab_first, o->vocab_end, &err);
        if (n == 0) {
            fatal("rank %d: %s", rank, err.text);
        }
        r->at += n;
    }
    if (need->n_best < 0) {
        stage->options.on_logits(stage->options.on_logits_context, batch, row, h->list.logits);
    } else {
        stage->options.on_shortlist(stage->options.on_logits_context, batch, row, &h->list);
    }
}

static void deliver(struct stage *stage, const struct stage_entry *entry)
{
    struct reader *readers = stage->split->readers;
    const struct batch *batch = &entry->batch;
    struct logit_need need;
    const int32_t *listed;
    for (int32_t rank = 0; rank < stage->cluster->size; rank++) {
        if (owns(stage, rank)) {
            readers[rank] = open_answer(stage, entry, rank);
        }
    }
    for (int32_t row = 0, at = 0; row < batch->header->n_rows; row++) {
        if (batch->rows[row].flags & BATCH_ROW_WANTS_TOKEN) {
            at = batch_need(batch, at, &need, &listed);
            deliver_row(stage, batch, row, &need, readers);
        }
    }
    for (int32_t rank = 1; rank < stage->cluster->size; rank++) {
        struct answers *a = &stage->split->answers[rank];
        if (owns(stage, rank)) {
            mail_release(stage->mail, a->letters[a->first]);
            a->first = (a->first + 1) % stage->split->n_slots;
            a->n--;
        }
    }
}

static int pump_home(struct stage *stage, struct stage_entry **finished)
{
    struct stage_head *h = stage->split;
    struct mail_letter *letter;
    int moved = 0;
    while ((letter = mail_poll(stage->mail))) {
        put_answer(stage, letter);
        moved = 1;
    }
    struct stage_entry *entry = h->first;
    if (*finished || !entry || (entry->batch.header->n_hidden > 0 && !all_answered(stage))) {
        return moved;
    }
    if (entry->batch.header->n_hidden > 0) {
        deliver(stage, entry);
    }
    h->first = entry->next;
    *finished = entry;
    return 1;
}

/* -- both -- */

void stage_head_answered(struct stage *stage, struct stage_entry *entry)
{
    struct stage_head *h = stage->split;
    if (stage->cluster->rank == 0) {
        entry->next = NULL;
        *(h->first ? &h->last->next : &h->first) = entry;
        h->last = entry;
        return;
    }
    if (entry->letter) {
        mail_release(stage->mail, entry->letter);
    } else {
        entry->origin->viewed = 0;
    }
    entry->sending = 1;
    mark(stage, TRACE_SEND_HEAD, entry->answer->number, entry->answer_bytes, 0);
    mail_send(stage->mail, 0, entry->answer, entry->answer_bytes, &entry->n_letters);
}

int stage_head_pump(struct stage *stage, struct stage_entry **finished)
{
    return stage->cluster->rank == 0 ? pump_home(stage, finished) : pump_owner(stage);
}
