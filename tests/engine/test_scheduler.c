/* Random arrivals, lengths, beginnings in common, cancellations and costs over small pools. The stages are modelled by what the
 * pages hold: every row's whole prefix, read through the page table, must be the sequence's own when the batch is computed. And:
 * rows in order, no page lost, nobody forgotten, everything ends with the tokens that it would have had alone.
 * SPDX-License-Identifier: MIT */
#include "kernels/backend.h"
#include "src/engine/scheduler.h"
#include "tests/check.h"

enum { MAX_SLOTS = 8, MAX_IDS = 420, MAX_PAGES = 60, MAX_FLIGHT = 5, TO_ADD = 14, SLOT_PAGES = MAX_IDS / KV_PAGE + 1 };

static uint32_t state;

static int32_t random_below(int32_t n)
{
    state = state * 1664525u + 1013904223u;
    return (int32_t)((state >> 8) % (uint32_t)n);
}

/* What a position of a page holds: a key depends on all tokens up to its own. */
struct cell {
    uint64_t prefix;
    uint64_t batch; /* + 1, that wrote it */
    int32_t slot;   /* that wrote it */
};

struct world {
    struct scheduler s;
    struct scheduler_options options;
    struct batch flight[MAX_FLIGHT]; /* a circle: batches [head, tail) are under way */
    uint64_t head, tail;
    int32_t depth, n_added, n_alive;
    int tight; /* few page changes a batch */
    struct sequence sequences[TO_ADD];
    int32_t n_logits[TO_ADD]; /* prompt logits that came home */
    uint64_t seen[TO_ADD];    /* last batch with rows of it */
    uint64_t oldest_since;    /* batch at which sequence `oldest` became the oldest */
    int32_t oldest;
    int32_t table[MAX_SLOTS][SLOT_PAGES];
    struct cell cells[MAX_PAGES][KV_PAGE];
    uint32_t seed;
};
static struct world w;

static uint64_t mix(uint64_t prefix, int32_t token)
{
    uint64_t x = (prefix ^ (uint64_t)(uint32_t)token) * 0x9e3779b97f4a7c15u;
    return x ^ x >> 29;
}

static uint64_t prefix_of(const struct sequence *q, int32_t n)
{
    uint64_t prefix = 0;
    for (int32_t i = 0; i < n; i++) {
        prefix = mix(prefix, q->ids[i]);
    }
    return prefix;
}

/* The model's answer: few different ones, so that answers have beginnings in common too. */
static int32_t next_token(uint64_t prefix)
{
    return (int32_t)(prefix >> 40) % 2;
}

/* -- the stages -- */

static void write_rows(const struct batch *b)
{
    for (int32_t i = 0; i < b->header->n_rows; i++) {
        const struct batch_row *r = &b->rows[i];
        int32_t page = w.table[r->slot][r->position / KV_PAGE], k = r->position;
        CHECK_THAT(page >= 0 && page < w.options.n_pages, "no page for position %d", r->position);
        uint64_t before = k == 0 ? 0 : w.cells[w.table[r->slot][(k - 1) / KV_PAGE]][(k - 1) % KV_PAGE].prefix;
        w.cells[page][k % KV_PAGE] = (struct cell){
            .prefix = mix(before, r->token), .batch = b->header->number + 1, .slot = r->slot};
    }
}

/* All that a row at n - 1 attends to. */
static void check_prefix(const struct batch *b, const struct sequence *q, int32_t n)
{
    uint64_t prefix = 0, now = b->header->number + 1;
    for (int32_t i = 0; i < n && check_failures == 0; i++) {
        const struct cell *c = &w.cells[w.table[q->slot][i / KV_PAGE]][i % KV_PAGE];
        prefix = mix(prefix, q->ids[i]);
        CHECK_THAT(c->prefix == prefix, "seed %u: position %d of sequence %d is not its own", w.seed, i, (int)q->number);
        CHECK_THAT(c->batch < now || c->slot == q->slot, "seed %u: position %d is read in the batch that writes it", w.seed, i);
    }
}

static void check_limits(const struct batch *b, int32_t n_answers, int32_t n_prompt_rows, int32_t running)
{
    const struct scheduler_options *o = &w.s.options;
    CHECK_THAT(n_answers <= (running + o->n_ranks - 1) / o->n_ranks, "%d of %d running in one of %d groups or more", n_answers,
               running, o->n_ranks);
    CHECK_THAT(n_prompt_rows <= o->chunk, "%d prompt rows, chunk %d", n_prompt_rows, o->chunk);
    CHECK_THAT(b->header->n_rows <= o->max_rows && b->header->n_rows == n_answers + n_prompt_rows, "%d rows", b->header->n_rows);
}

/* before: the counts without this batch. */
static void compute(const struct batch *b, const struct scheduler_stats *before)
{
    for (int32_t i = 0; i < b->header->n_pages; i++) {
        CHECK_THAT(b->pages[i].page >= 0 && b->pages[i].page < w.options.n_pages, "page %d", b->pages[i].page);
        w.table[b->pages[i].slot][b->pages[i].index] = b->pages[i].page;
    }
    write_rows(b);
    for (int32_t i = 0, n; i < b->header->n_rows && check_failures == 0; i += n) {
        const struct batch_row *r = &b->rows[i];
        struct sequence *q = w.s.slots[r->slot];
        for (n = 1; i + n < b->header->n_rows && r[n].slot == r->slot; n++) {
            CHECK_INT(r[n].position, r->position + n);
        }
        CHECK_INT(q->n_scheduled, r->position + n);
        for (int32_t k = 0; k < n; k++) {
            int wants = (r[k].flags & BATCH_ROW_WANTS_TOKEN) != 0, last = r[k].position == q->n_ids - 1;
            CHECK_INT(r[k].token, q->ids[r[k].position]);
            CHECK_THAT(wants == last || (q->want_prompt_logits && r[k].position < q->n_prompt), "wants %d, last %d", wants, last);
        }
        w.seen[q->number] = w.s.n_batches;
        check_prefix(b, q, q->n_scheduled);
    }
    check_limits(b, (int32_t)(w.s.stats.answer_rows - before->answer_rows),
                 (int32_t)(w.s.stats.prompt_rows - before->prompt_rows),
                 w.s.n_running + (int32_t)(w.s.stats.n_preemptions - before->n_preemptions));
}

/* -- the caller -- */

/* Prompts from a few texts, cut anywhere, with an end of their own; or what an earlier sequence said and a little more. */
static void add_sequence(void)
{
    struct error err = {0};
    int32_t ids[MAX_IDS], n = 1 + random_below(random_below(3) ? 90 : 330), text = random_below(3), own = random_below(n + 1);
    struct sequence *q = &w.sequences[w.n_added];
    for (int32_t i = 0; i < n; i++) {
        ids[i] = i < own ? (i * 7 + text) % 3 : random_below(2);
    }
    if (w.n_added > 0 && random_below(3) == 0) {
        const struct sequence *earlier = &w.sequences[random_below(w.n_added)];
        n = earlier->n_ids < 330 ? earlier->n_ids : 330;
        memcpy(ids, earlier->ids, sizeof *ids * (size_t)n);
        ids[n++] = 1;
    }
    CHECK_INT(sequence_init(q, ids, n, n + random_below(80), &err), 0);
    q->want_prompt_logits = random_below(6) == 0;
    w.n_logits[w.n_added] = 0;
    scheduler_add(&w.s, q);
    CHECK_INT(q->number, w.n_added);
    w.n_added++;
    w.n_alive++;
}

static void cancel_some(void)
{
    if (w.n_added > 0 && random_below(60) == 0) {
        struct sequence *q = &w.sequences[random_below(w.n_added)];
        q->stop = q->stop == SEQUENCE_RUNNING ? SEQUENCE_STOP_CANCELLED : q->stop;
    }
    if (random_below(2000) == 0) {
        scheduler_cancel_all(&w.s);
    }
}

static void check_ended(const struct sequence *q)
{
    CHECK_THAT(q->stop != SEQUENCE_RUNNING && q->n_pages == 0 && q->n_in_flight == 0 && q->slot < 0, "seed %u: stop %d, %d pages",
               w.seed, q->stop, q->n_pages);
    for (int32_t i = q->n_prompt; i < q->n_ids; i++) {
        CHECK_INT(q->ids[i], next_token(prefix_of(q, i)));
    }
    if (q->stop == SEQUENCE_STOP_LENGTH && q->n_ids < q->max_ids) {
        CHECK_THAT(pages_for(q->n_ids) > w.options.n_pages, "seed %u: stopped at %d of %d ids, %d pages", w.seed, q->n_ids,
                   q->max_ids, w.options.n_pages);
    }
    if (q->want_prompt_logits && q->n_ids > q->n_prompt) {
        CHECK_INT(w.n_logits[q->number], q->n_prompt);
    }
}

static void come_home(void)
{
    const struct batch *b = &w.flight[w.head++ % MAX_FLIGHT];
    scheduler_returned(&w.s, b);
    for (int32_t i = 0; i < b->header->n_rows; i++) {
        const struct batch_row *r = &b->rows[i];
        struct sequence *q = w.s.slots[r->slot];
        if (!(r->flags & BATCH_ROW_WANTS_TOKEN)) {
            continue;
        }
        if (q->want_prompt_logits && r->position < q->n_prompt) {
            CHECK_INT(r->position, w.n_logits[q->number]++);
        }
        if (r->position != q->n_ids - 1 || q->stop != SEQUENCE_RUNNING) {
            continue;
        }
        if (q->n_ids < q->max_ids) {
            sequence_append(q, next_token(prefix_of(q, q->n_ids)));
        }
        if (random_below(10) == 0) { /* its caller knows more than the one token */
            for (int32_t more = random_below(40); more > 0 && q->n_ids < q->max_ids; more--) {
                sequence_append(q, next_token(prefix_of(q, q->n_ids)));
            }
        }
        if (q->n_ids == q->max_ids) {
            q->stop = SEQUENCE_STOP_LENGTH;
        }
    }
    for (struct sequence *q; (q = scheduler_take_ended(&w.s)); w.n_alive--) {
        check_ended(q);
    }
}

/* The oldest that has not stopped gets a row within so many batches. */
static void check_oldest(void)
{
    int32_t oldest = 0;
    while (oldest < w.n_added && (w.sequences[oldest].stop != SEQUENCE_RUNNING)) {
        oldest++;
    }
    if (oldest != w.oldest) {
        w.oldest = oldest;
        w.oldest_since = w.s.n_batches;
    }
    if (oldest < w.n_added) {
        uint64_t since = w.seen[oldest] > w.oldest_since ? w.seen[oldest] : w.oldest_since, waited = w.s.n_batches - since;
        CHECK_THAT(waited <= (uint64_t)(8 + 2 * w.options.n_slots + 2 * w.depth), "seed %u: the oldest has waited for %d batches",
                   w.seed, (int)waited);
    }
}

static void start(uint32_t seed)
{
    struct error err = {0};
    memset(&w, 0, sizeof w);
    w.seed = state = seed;
    struct scheduler_options *o = &w.options;
    *o = (struct scheduler_options){.n_slots = 1 + random_below(MAX_SLOTS),
                                    .n_pages = 1 + random_below(random_below(2) ? 12 : MAX_PAGES),
                                    .max_rows = 1 + random_below(random_below(2) ? 20 : 150),
                                    .chunk = 1 + random_below(100),
                                    .n_ranks = 1 + random_below(5),
                                    .max_groups = random_below(12),
                                    .way = {random_below(2), random_below(3) * 0.01}};
    if (random_below(3)) {
        o->cost = (struct batch_cost){random_below(40), random_below(3), 0.001 * random_below(20),
                                      random_below(2) * random_below(60), random_below(3)};
    }
    w.depth = 1 + random_below(MAX_FLIGHT);
    int32_t changes = random_below(3) == 0 ? 2 : o->max_rows / KV_PAGE + o->n_slots + 1 + SLOT_PAGES;
    struct batch_shape shape = {.max_rows = o->max_rows, .max_pages = changes, .dim = 1, .n_stages = 2};
    memset(w.table, 0xff, sizeof w.table);
    CHECK_INT(scheduler_init(&w.s, o, &err), 0);
    for (int i = 0; i < MAX_FLIGHT; i++) {
        CHECK_INT(batch_init(&w.flight[i], &shape, &err), 0);
    }
}

static void finish(struct scheduler_stats *total)
{
    struct scheduler_stats stats;
    scheduler_get_stats(&w.s, &stats);
    total->n_preemptions += stats.n_preemptions;
    total->shared_pages += stats.shared_pages;
    total->n_evicted += stats.n_evicted;
    total->n_batches += stats.n_batches;
    CHECK_THAT(w.n_added == TO_ADD && w.n_alive == 0, "seed %u: %d sequences never ended", w.seed, w.n_alive);
    CHECK_INT(scheduler_is_empty(&w.s), 1);
    CHECK_INT(page_pool_available(&w.s.pool), w.options.n_pages);
    CHECK_INT(w.s.n_running + w.s.n_rows_out + w.s.n_groups_out, 0);
    for (int32_t i = 0; i < w.options.n_pages; i++) {
        const struct page *p = &w.s.pool.pages[i];
        CHECK_INT(p->n_holders, 0);
    }
    for (int i = 0; i < MAX_FLIGHT; i++) {
        batch_free(&w.flight[i]);
    }
    for (int i = 0; i < w.n_added; i++) {
        sequence_free(&w.sequences[i]);
    }
    scheduler_free(&w.s);
}

static void run(uint32_t seed, struct scheduler_stats *total)
{
    start(seed);
    for (int32_t idle = 0; (w.n_added < TO_ADD || w.n_alive) && idle < 1000 && check_failures == 0; idle++) {
        while (w.n_added < TO_ADD && random_below(4) == 0) {
            add_sequence();
        }
        cancel_some();
        if (w.tail - w.head < (uint64_t)w.depth && random_below(4)) {
            struct batch *b = &w.flight[w.tail % MAX_FLIGHT];
            struct scheduler_stats before = w.s.stats;
            if (scheduler_next(&w.s, b) > 0) {
                compute(b, &before);
                w.tail++;
                idle = 0;
            }
            check_oldest();
        } else if (w.tail > w.head) {
            come_home();
            idle = 0;
        }
        if (w.tail == w.head) {
            for (struct sequence *q; (q = scheduler_take_ended(&w.s)); w.n_alive--) {
                check_ended(q);
            }
        }
    }
    finish(total);
}

int main(int argc, char **argv)
{
    uint32_t first = argc > 1 ? (uint32_t)atoi(argv[1]) : 1, last = argc > 1 ? first : 3000;
    struct scheduler_stats total = {0};
    for (uint32_t seed = first; seed <= last && !check_failures; seed++) {
        run(seed, &total);
    }
    /* The test is only worth something when these things happened. */
    if (first != last) {
        CHECK_THAT(total.n_preemptions > 500 && total.shared_pages > 1000 && total.n_evicted > 1000,
                   "%d preemptions, %d shared pages, %d evicted", (int)total.n_preemptions, (int)total.shared_pages,
                   (int)total.n_evicted);
    }
    printf("%d batches, %d preemptions, %d shared pages, %d evicted\n", (int)total.n_batches, (int)total.n_preemptions,
           (int)total.shared_pages, (int)total.n_evicted);
    return check_result();
}
