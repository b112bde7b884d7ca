/* The scheduler's rules one by one: chunk times, groups, fairness, sharing, preemption, walls. SPDX-License-Identifier: MIT */
#include <math.h>

#include "src/engine/scheduler.h"
#include "tests/check.h"

enum { MAX_FLIGHT = 8, MAX_SEQUENCES = 40 };

/* Unit of time: reading the weights; 32 rows cost as much again. */
static const struct batch_cost cost = {.fixed_s = 1, .row_s = 1.0 / 32, .pair_s = 0};

struct pipe {
    struct scheduler s;
    struct batch flight[MAX_FLIGHT];
    int head, tail;
    struct sequence sequences[MAX_SEQUENCES];
    int n_sequences;
};

static void open_pipe(struct pipe *p, struct scheduler_options o)
{
    struct error err = {0};
    memset(p, 0, sizeof *p);
    struct batch_shape shape = {
        .max_rows = o.max_rows, .max_pages = o.max_rows / KV_PAGE + o.n_slots + 65, .dim = 1, .n_stages = 1};
    CHECK_INT(scheduler_init(&p->s, &o, &err), 0);
    for (int i = 0; i < MAX_FLIGHT; i++) {
        CHECK_INT(batch_init(&p->flight[i], &shape, &err), 0);
    }
}

static void close_pipe(struct pipe *p)
{
    for (int i = 0; i < MAX_FLIGHT; i++) {
        batch_free(&p->flight[i]);
    }
    for (int i = 0; i < p->n_sequences; i++) {
        sequence_free(&p->sequences[i]);
    }
    scheduler_free(&p->s);
}

/* A prompt whose tokens count up from `token`: another first token, nothing in common. */
static struct sequence *add(struct pipe *p, int32_t token, int32_t n_prompt, int32_t n_answer)
{
    struct error err = {0};
    int32_t *ids = malloc(sizeof *ids * (size_t)n_prompt);
    struct sequence *q = &p->sequences[p->n_sequences++];
    for (int32_t i = 0; i < n_prompt; i++) {
        ids[i] = token + i;
    }
    CHECK_INT(sequence_init(q, ids, n_prompt, n_prompt + n_answer, &err), 0);
    free(ids);
    scheduler_add(&p->s, q);
    return q;
}

/* The next batch, under way; NULL when there is none. */
static struct batch *send(struct pipe *p)
{
    struct batch *b = &p->flight[p->tail % MAX_FLIGHT];
    p->tail += scheduler_next(&p->s, b) > 0;
    return b->header->n_rows > 0 ? b : NULL;
}

static void come_home(struct pipe *p)
{
    const struct batch *b = &p->flight[p->head++ % MAX_FLIGHT];
    scheduler_returned(&p->s, b);
    for (int32_t i = 0; i < b->header->n_rows; i++) {
        struct sequence *q = p->s.slots[b->rows[i].slot];
        if (b->rows[i].position == q->n_ids - 1 && q->stop == SEQUENCE_RUNNING) {
            if (q->n_ids < q->max_ids) {
                sequence_append(q, 7);
            }
            q->stop = q->n_ids == q->max_ids ? SEQUENCE_STOP_LENGTH : SEQUENCE_RUNNING;
        }
    }
}

static int32_t rows_of(const struct batch *b, const struct sequence *q)
{
    int32_t n = 0;
    for (int32_t i = 0; i < b->header->n_rows; i++) {
        n += b->rows[i].slot == q->slot;
    }
    return n;
}

/* Until nothing is left; at most n batches. */
static void drain(struct pipe *p, int n)
{
    for (; !scheduler_is_empty(&p->s) && n > 0; n--) {
        if (p->tail == p->head) {
            send(p);
        }
        if (p->tail > p->head) {
            come_home(p);
        }
        while (scheduler_take_ended(&p->s)) {
        }
    }
    CHECK_INT(scheduler_is_empty(&p->s), 1);
    CHECK_INT(page_pool_available(&p->s.pool), p->s.pool.n_pages);
}

static const struct scheduler_options roomy = {
    .n_slots = 40, .n_pages = 2000, .max_rows = 4096, .chunk = 4096, .n_ranks = 4, .cost = {1, 1.0 / 32, 0, 0, 0}};

/* -- the cost model -- */

static void test_cost(void)
{
    struct batch_cost c = {.fixed_s = 5, .row_s = 2, .pair_s = 0.5};
    CHECK_THAT(fabs(batch_cost_pairs(10, 4) - (11 + 12 + 13 + 14)) < 1e-9, "%g", batch_cost_pairs(10, 4));
    for (int32_t first = 0; first < 3000; first += 7) {
        for (double budget = 1; budget < 5000; budget *= 1.7) {
            int32_t n = batch_cost_rows(&c, first, budget, 1 << 20);
            double with = 2.0 * n + 0.5 * batch_cost_pairs(first, n), more = 2.0 * (n + 1) + 0.5 * batch_cost_pairs(first, n + 1);
            CHECK_THAT(with <= budget * 1.000001 && more > budget * 0.999999, "%d rows from %d take %g and %g, budget %g", n,
                       first, with, more, budget);
        }
    }
    CHECK_INT(batch_cost_rows(&c, 0, HUGE_VAL, 77), 77);
    CHECK_INT(batch_cost_rows(&cost, 0, 2, 9), 9);
    CHECK_INT(batch_cost_rows(&cost, 0, -1, 9), 0);
    CHECK_INT(batch_cost_rows(&cost, 5000, 2, 1000), 64);
}

/* When 2048 rows in m equal chunks have passed 4 stages: chunk by chunk. */
static double passed_s(const struct batch_cost *c, const struct batch_way *way, int m)
{
    double free_at[4] = {0}, wire_at[4] = {0}, at = 0, stage_s = batch_cost_time(c, 2048.0 / m, 0);
    for (int i = 0; i < m; i++) {
        at = 0;
        for (int stage = 0; stage < 4; stage++) {
            if (stage > 0) {
                at = wire_at[stage] = fmax(at, wire_at[stage]) + way->fixed_s + way->row_s * 2048 / m;
            }
            at = free_at[stage] = fmax(at, free_at[stage]) + stage_s;
        }
    }
    return at;
}

/* The best chunk: no other number of equal chunks gets 2048 rows through 4 stages clearly sooner. */
static void test_chunk_time(void)
{
    static const struct {
        struct batch_cost cost;
        struct batch_way way;
    } laws[] = {{{1, 1.0 / 32, 0, 0, 0}, {0, 0}},          {{1, 1.0 / 32, 0, 0, 0}, {0, 1.0 / 32}},
                {{1, 1.0 / 80, 0, 64, 0}, {0, 0}},         {{1, 1.0 / 80, 0, 64, 1.0 / 400}, {0.1, 0.01}},
                {{1, 1.0 / 64, 0, 64, 0}, {0, 0}},         {{1, 1.0 / 64, 0, 64, 0}, {0, 0.2}},
                {{0, 1.0 / 64, 0, 16, 1.0 / 20}, {0.5, 0}}};
    for (size_t i = 0; i < sizeof laws / sizeof *laws; i++) {
        const struct batch_cost *c = &laws[i].cost;
        int32_t rows = batch_cost_rows(c, 0, batch_cost_chunk_time(c, &laws[i].way, 2048, 0, 4), 2048);
        int m = (2048 + rows - 1) / rows;
        double chosen = passed_s(c, &laws[i].way, m);
        CHECK_THAT(2048 - (m - 1) * rows >= rows - m, "law %zu: the last of %d chunks of %d rows is much shorter", i, m, rows);
        for (int other = 1; other <= 128; other++) {
            double s = passed_s(c, &laws[i].way, other);
            CHECK_THAT(chosen <= 1.005 * s, "law %zu: %d chunks take %g, %d take %g", i, m, chosen, other, s);
        }
    }
    CHECK_THAT(batch_cost_chunk_time(&cost, &(struct batch_way){0}, 2048, 0, 1) == HUGE_VAL, "one stage, several chunks");
}

static void test_group_count(void)
{
    static const struct {
        struct batch_cost cost;
        struct batch_way way;
        int n, most, groups;
    } cases[] = {
        {{0, 0, 0, 0, 0}, {5, 5}, 32, 8, 4},           /* nothing known */
        {{1, 0.001, 0, 0, 0}, {0.05, 0}, 32, 8, 4},    /* a fifth group would cost a whole reading */
        {{0.01, 0.1, 0, 0, 0}, {0.1, 0.1}, 32, 8, 8},  /* rows are all that costs, and the way is long */
        {{0.01, 0.1, 0, 0, 0}, {0.1, 0.1}, 32, 6, 6},  /* no more are allowed */
        {{0.3, 0.1, 0, 0, 0}, {0.1, 0.02}, 32, 8, 5},  /* five fill the round, a sixth would cost more than it hides */
        {{0.01, 0.1, 0, 0, 0}, {0.01, 0.0}, 32, 8, 4}, /* hardly a way */
        {{0.01, 0.1, 0, 0, 0}, {0.1, 0.1}, 3, 8, 3},   /* not more groups than sequences */
        {{0.01, 0.1, 0, 0, 0}, {0.1, 0.1}, 0, 8, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_INT(batch_cost_groups(&cases[i].cost, &cases[i].way, cases[i].n, 4, cases[i].most), cases[i].groups);
    }
}

/* -- prompts alone -- */

static void test_chunks_of_equal_time(void)
{
    struct pipe p;
    struct scheduler_options o = roomy;
    o.cost.pair_s = 1.0 / 32 / 500;
    open_pipe(&p, o);
    add(&p, 1, 4000, 1);
    double first_s = 0;
    int32_t position = 0, rows = 1 << 20;
    for (struct batch *b; p.tail < 7 && (b = send(&p));) {
        int32_t n = b->header->n_rows;
        double time_s = batch_cost_time(&o.cost, n, batch_cost_pairs(position, n));
        first_s = position == 0 ? time_s : first_s;
        position += n;
        CHECK_THAT(n <= rows, "%d rows after %d", n, rows);
        CHECK_THAT(fabs(time_s - first_s) < 0.05 * first_s, "%g after %g", time_s, first_s);
        rows = n;
    }
    CHECK_THAT(position > 500 && position < 4000, "%d rows in 7 chunks", position);
    while (p.head < p.tail) {
        come_home(&p);
    }
    drain(&p, 1000);
    close_pipe(&p);
}

static void test_chunk_limits(void)
{
    struct pipe p;
    struct scheduler_options o = roomy;
    o.chunk = 50;
    open_pipe(&p, o);
    struct sequence *q = add(&p, 1, 2000, 1);
    CHECK_INT(rows_of(send(&p), q), 50);
    close_pipe(&p);
    o.cost = (struct batch_cost){0};
    open_pipe(&p, o);
    q = add(&p, 1, 2000, 1);
    CHECK_INT(rows_of(send(&p), q), 50);
    close_pipe(&p);
    o.chunk = 4096;
    o.n_ranks = 1; /* nothing is gained by chunks */
    o.cost = cost;
    open_pipe(&p, o);
    q = add(&p, 1, 2000, 1);
    CHECK_INT(rows_of(send(&p), q), 2000);
    close_pipe(&p);
}

/* A short prompt behind a very long one, then many short ones: both sides get on. */
static void test_fair_share(void)
{
    struct pipe p;
    struct scheduler_options o = roomy;
    o.chunk = 100;
    o.cost = (struct batch_cost){0};
    open_pipe(&p, o);
    struct sequence *giant = add(&p, 1, 4000, 1), *small = add(&p, 2, 60, 1);
    const struct batch *b = send(&p);
    CHECK_INT(rows_of(b, small), 50);
    CHECK_INT(rows_of(b, giant), 50);
    b = send(&p);
    CHECK_INT(rows_of(b, small), 10);
    CHECK_INT(rows_of(b, giant), 90);
    for (int i = 0; i < 20; i++) {
        add(&p, 100 + i, 40, 1);
    }
    b = send(&p);
    CHECK_INT(rows_of(b, giant), 50);
    CHECK_INT(b->header->n_rows, 100);
    while (p.head < p.tail) {
        come_home(&p);
    }
    drain(&p, 1000);
    close_pipe(&p);
}

/* -- running sequences -- */

/* n prompts of 8 rows, computed; all have a token to go on with. */
static void open_running(struct pipe *p, struct scheduler_options o, int n)
{
    open_pipe(p, o);
    for (int i = 0; i < n; i++) {
        add(p, 100 * i, 8, 1000);
    }
    while (p->s.prompts.first || p->s.waiting.first || p->head == 0) {
        CHECK_THAT(send(p) != NULL, "no batch");
        come_home(p);
    }
    while (p->head < p->tail) {
        come_home(p);
    }
}

static void test_groups(void)
{
    static const struct {
        int n, n_ranks, groups[6];
        struct batch_way way;
    } cases[] = {{8, 4, {2, 2, 2, 2}, {0, 0}}, {5, 4, {2, 1, 1, 1}, {0, 0}}, {2, 4, {1, 1}, {0, 0}},    {1, 1, {1}, {0, 0}},
                 {7, 2, {4, 3}, {0, 0}},       {9, 4, {3, 2, 2, 2}, {0, 0}}, {12, 2, {4, 4, 4}, {1, 0}}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct pipe p;
        struct scheduler_options o = roomy;
        o.n_ranks = cases[c].n_ranks;
        o.max_groups = 2 * o.n_ranks;
        o.way = cases[c].way;
        open_running(&p, o, cases[c].n);
        for (int round = 0; round < 3; round++) {
            for (int i = 0; cases[c].groups[i]; i++) {
                const struct batch *b = send(&p);
                CHECK_INT(b ? b->header->n_rows : 0, cases[c].groups[i]);
            }
            CHECK_THAT(send(&p) == NULL, "%d running, %d ranks: one group more", cases[c].n, cases[c].n_ranks);
            while (p.head < p.tail) {
                come_home(&p);
            }
        }
        scheduler_cancel_all(&p.s);
        drain(&p, 10);
        close_pipe(&p);
    }
}

/* Three of a group of two groups end: the groups become equal again. */
static void test_groups_after_an_end(void)
{
    struct pipe p;
    struct scheduler_options o = roomy;
    o.n_ranks = 2;
    open_running(&p, o, 8);
    CHECK_INT(send(&p)->header->n_rows, 4);
    const struct batch *second = send(&p);
    CHECK_INT(second->header->n_rows, 4);
    for (int i = 0; i < 3; i++) {
        p.s.slots[second->rows[i].slot]->stop = SEQUENCE_STOP_EOS;
    }
    come_home(&p); /* the whole group; the other has one left */
    CHECK_INT(send(&p)->header->n_rows, 4);
    come_home(&p);
    CHECK_INT(send(&p)->header->n_rows, 1);
    come_home(&p);
    CHECK_INT(send(&p)->header->n_rows, 3); /* of 5: the fourth joins the lone one */
    come_home(&p);
    CHECK_INT(send(&p)->header->n_rows, 2);
    close_pipe(&p);
}

/* A long prompt comes while others run: a batch takes twice as long as before at most, and the prompt gets on. */
static void test_stretch(void)
{
    struct pipe p;
    struct scheduler_options o = roomy;
    o.stretch = 2;
    open_running(&p, o, 8);
    struct sequence *giant = add(&p, 9000, 4000, 1);
    int n_batches = 0;
    for (; giant->n_scheduled < 4000 && n_batches < 400; n_batches++) {
        while (p.tail - p.head >= 4) {
            come_home(&p);
        }
        const struct batch *b = send(&p);
        CHECK_THAT(b != NULL, "no batch");
        double time_s = batch_cost_time(&cost, b->header->n_rows, 0), alone_s = batch_cost_time(&cost, 2, 0);
        CHECK_THAT(time_s <= 2 * alone_s + 1e-9, "a batch takes %g, the running rows alone %g", time_s, alone_s);
        CHECK_THAT(n_batches < 4 || giant->n_scheduled == 4000 || time_s > 1.8 * alone_s, "a batch takes %g, could take %g",
                   time_s, 2 * alone_s);
    }
    CHECK_THAT(n_batches < 130, "4000 rows took %d batches", n_batches); /* 34 rows each */
    close_pipe(&p);
}

/* -- pages -- */

/* The second of two equal prompts waits for the first one's pages; later ones find all but the last row's. */
static void test_sharing(void)
{
    struct pipe p;
    struct scheduler_stats stats;
    struct scheduler_options o = roomy;
    o.cost = (struct batch_cost){0};
    o.n_ranks = 1;
    open_pipe(&p, o);
    struct sequence *a = add(&p, 1, 200, 1), *b = add(&p, 1, 200, 1);
    const struct batch *batch = send(&p);
    CHECK_INT(rows_of(batch, a), 200);
    CHECK_INT(rows_of(batch, b), 0);
    come_home(&p); /* were it still under way: nobody runs beside a prompt's batch with one rank */
    batch = send(&p);
    CHECK_INT(rows_of(batch, b), 8);
    CHECK_INT(batch->rows[0].position, 192);
    CHECK_INT(batch->header->n_pages, 4);
    come_home(&p);
    drain(&p, 10);
    struct sequence *c = add(&p, 1, 192, 1), *d = add(&p, 1, 200, 1);
    d->want_prompt_logits = 1;
    batch = send(&p);
    CHECK_INT(rows_of(batch, c), 64); /* two of three pages: its last row must be computed */
    CHECK_INT(rows_of(batch, d), 200);
    scheduler_get_stats(&p.s, &stats);
    CHECK_INT(stats.shared_pages, 5);
    CHECK_INT(stats.shared_rows, 320);
    CHECK_INT(stats.peak_pages, 2 + 1 + 4);
    come_home(&p);
    drain(&p, 10);
    close_pipe(&p);
}

/* Full pages of an answer are found too: the next turn of a conversation. */
static void test_next_turn(void)
{
    struct pipe p;
    open_pipe(&p, roomy);
    struct sequence *a = add(&p, 1, 50, 100);
    drain(&p, 200);
    CHECK_INT(a->n_ids, 150);
    struct error err = {0};
    struct sequence *b = &p.sequences[p.n_sequences++];
    CHECK_INT(sequence_init(b, a->ids, 150, 160, &err), 0);
    scheduler_add(&p.s, b);
    send(&p);
    CHECK_INT(p.flight[(p.tail - 1) % MAX_FLIGHT].rows[0].position, 128);
    come_home(&p);
    drain(&p, 50);
    close_pipe(&p);
}

/* Two that grow in a pool for one and a half: the younger gives way and is done over again, with the same ids. */
static void test_preemption(void)
{
    struct pipe p;
    struct scheduler_options o = roomy;
    o.n_pages = 6;
    open_pipe(&p, o);
    struct sequence *a = add(&p, 1, 100, 200), *b = add(&p, 1001, 100, 200);
    b->want_prompt_logits = 1;
    int32_t n_logits = 0, ended = 0;
    for (int i = 0; i < 2000 && ended < 2; i++) {
        const struct batch *batch = send(&p);
        for (int32_t k = 0; batch && k < batch->header->n_rows; k++) {
            const struct batch_row *r = &batch->rows[k];
            n_logits += p.s.slots[r->slot] == b && r->position < 100 && r->flags & BATCH_ROW_WANTS_TOKEN;
        }
        if (p.tail - p.head > (batch ? 1 : 0)) {
            come_home(&p);
        }
        for (struct sequence *q; (q = scheduler_take_ended(&p.s)); ended++) {
            CHECK_THAT(q == (ended ? b : a), "sequence %d ended first", (int)q->number);
        }
    }
    CHECK_INT(ended, 2);
    CHECK_INT(a->n_ids, 300);
    CHECK_INT(b->n_ids, 300);
    CHECK_INT(n_logits, 100);
    CHECK_INT(p.s.stats.n_preemptions, 1);
    close_pipe(&p);
}

static void test_walls(void)
{
    struct pipe p;
    struct scheduler_options o = roomy;
    o.n_pages = 2;
    open_pipe(&p, o);
    struct sequence *grows = add(&p, 1, 100, 200), *never = add(&p, 1001, 129, 1), *fits = add(&p, 2001, 128, 1);
    drain(&p, 2000);
    CHECK_INT(grows->stop, SEQUENCE_STOP_LENGTH);
    CHECK_INT(grows->n_ids, 129); /* the token of the last row that has a page */
    CHECK_INT(never->stop, SEQUENCE_STOP_LENGTH);
    CHECK_INT(never->n_ids, 129);
    CHECK_INT(fits->n_ids, 129);
    close_pipe(&p);
}

static void test_cancel(void)
{
    struct pipe p;
    struct scheduler_options o = roomy;
    o.n_slots = 1;
    open_pipe(&p, o);
    struct sequence *flies = add(&p, 1, 30, 10), *waits = add(&p, 2, 30, 10);
    send(&p);
    flies->stop = waits->stop = SEQUENCE_STOP_CANCELLED;
    CHECK_THAT(scheduler_take_ended(&p.s) == waits, "not the one that waited");
    CHECK_THAT(scheduler_take_ended(&p.s) == NULL, "one in flight was given back");
    come_home(&p);
    CHECK_THAT(scheduler_take_ended(&p.s) == flies, "not the one that came home");
    CHECK_INT(scheduler_is_empty(&p.s), 1);
    close_pipe(&p);
}

int main(void)
{
    test_cost();
    test_chunk_time();
    test_group_count();
    test_chunks_of_equal_time();
    test_chunk_limits();
    test_fair_share();
    test_groups();
    test_groups_after_an_end();
    test_stretch();
    test_sharing();
    test_next_turn();
    test_preemption();
    test_walls();
    test_cancel();
    return check_result();
}
