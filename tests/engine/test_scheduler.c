/* Random arrivals and lengths over a small pool: rows come in order and once, pages are never shared or lost, everything ends.
 * SPDX-License-Identifier: MIT */
#include "kernels/backend.h"
#include "src/engine/scheduler.h"
#include "tests/check.h"

enum { SLOTS = 6, MAX_IDS = 400, MAX_FLIGHT = 4, TO_ADD = 12 };

static uint32_t state;

static int32_t random_below(int32_t n)
{
    state = state * 1664525u + 1013904223u;
    return (int32_t)((state >> 8) % (uint32_t)n);
}

/* What the stages would know: the page tables, built from the batches alone, and how far each slot was computed. */
struct model {
    int32_t table[SLOTS][MAX_IDS / KV_PAGE + 1];
    int32_t computed[SLOTS];
};

static void compute(struct model *m, const struct batch *b, int32_t n_pool, int32_t chunk)
{
    int32_t rows_of[SLOTS] = {0};
    for (int32_t i = 0; i < b->header->n_pages; i++) {
        CHECK_THAT(b->pages[i].page >= 0 && b->pages[i].page < n_pool, "page %d", b->pages[i].page);
        m->table[b->pages[i].slot][b->pages[i].index] = b->pages[i].page;
    }
    for (int32_t i = 0; i < b->header->n_rows; i++) {
        const struct batch_row *r = &b->rows[i];
        CHECK_INT(r->position, m->computed[r->slot]);
        CHECK_THAT(m->table[r->slot][r->position / KV_PAGE] >= 0, "no page for position %d", r->position);
        CHECK_THAT(++rows_of[r->slot] <= chunk, "chunk of %d", rows_of[r->slot]);
        m->computed[r->slot]++;
    }
    for (int32_t a = 0; a < SLOTS; a++) { /* no two positions in one page */
        for (int32_t c = 0; c < a; c++) {
            for (int32_t i = 0; i < (m->computed[a] + KV_PAGE - 1) / KV_PAGE; i++) {
                for (int32_t k = 0; k < (m->computed[c] + KV_PAGE - 1) / KV_PAGE; k++) {
                    CHECK_THAT(m->table[a][i] != m->table[c][k], "page %d is in slots %d and %d", m->table[a][i], a, c);
                }
            }
        }
    }
}

static void finish(struct model *m, struct sequence *q)
{
    CHECK_INT(m->computed[q->slot], q->n_scheduled);
    m->computed[q->slot] = 0;
    sequence_free(q);
}

/* The answer token of each row that wants one, and the end of sequences that are long enough. */
static int take_tokens(struct scheduler *s, struct model *m, const struct batch *b)
{
    for (int32_t i = 0; i < b->header->n_rows; i++) {
        const struct batch_row *r = &b->rows[i];
        struct sequence *q = s->slots[r->slot];
        if (!(r->flags & BATCH_ROW_WANTS_TOKEN) || r->position != q->n_ids - 1) {
            continue;
        }
        CHECK_INT(q->n_scheduled, q->n_ids);
        if (q->n_ids == q->max_ids) {
            q->stop = SEQUENCE_STOP_LENGTH;
        } else {
            sequence_append(q, 1000 + q->n_ids);
        }
    }
    int ended = 0;
    for (struct sequence *q; (q = scheduler_take_ended(s)); ended++) {
        finish(m, q);
    }
    return ended;
}

static void run(uint32_t seed)
{
    static struct sequence sequences[TO_ADD];
    static struct model m;
    state = seed;
    memset(&m, 0, sizeof m);
    memset(m.table, 0xff, sizeof m.table);
    struct scheduler_options o = {
        .n_slots = SLOTS, .n_pages = 40, .max_rows = 1 + random_below(90), .chunk = 1 + random_below(70)};
    struct batch_shape shape = {.max_rows = o.max_rows, .max_pages = o.max_rows / KV_PAGE + SLOTS + 1, .dim = 1, .n_stages = 2};
    struct batch flight[MAX_FLIGHT];
    struct scheduler s;
    struct error err = {0};
    CHECK_INT(scheduler_init(&s, &o, &err), 0);
    for (int i = 0; i < MAX_FLIGHT; i++) {
        CHECK_INT(batch_init(&flight[i], &shape, &err), 0);
    }
    int head = 0, tail = 0, to_add = TO_ADD, alive = 0, depth = 1 + random_below(MAX_FLIGHT), idle = 0;
    while ((to_add || alive) && idle < 1000) {
        while (to_add && random_below(3) == 0) {
            struct sequence *q = &sequences[--to_add];
            int32_t ids[MAX_IDS] = {0}, n = 1 + random_below(300);
            CHECK_INT(sequence_init(q, ids, n, n + random_below(60), &err), 0);
            q->want_prompt_logits = random_below(5) == 0;
            scheduler_add(&s, q);
            alive++;
        }
        if (tail - head < depth && random_below(3) && scheduler_next(&s, &flight[tail % MAX_FLIGHT]) > 0) {
            compute(&m, &flight[tail % MAX_FLIGHT], o.n_pages, s.chunk);
            tail++;
            idle = 0;
        } else if (tail > head) {
            scheduler_returned(&s, &flight[head % MAX_FLIGHT]);
            alive -= take_tokens(&s, &m, &flight[head % MAX_FLIGHT]);
            head++;
            idle = 0;
        }
        idle++;
    }
    CHECK_THAT(!to_add && !alive, "seed %u: %d sequences never ended", seed, alive);
    CHECK_INT(s.pool.n_free, o.n_pages);
    CHECK_INT(scheduler_is_empty(&s), 1);
    for (int i = 0; i < MAX_FLIGHT; i++) {
        batch_free(&flight[i]);
    }
    scheduler_free(&s);
}

int main(void)
{
    for (uint32_t seed = 1; seed <= 200 && !check_failures; seed++) {
        run(seed);
    }
    return check_result();
}
