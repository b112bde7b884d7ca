/* What the scheduler takes of each batch's time. SPDX-License-Identifier: MIT
 *
 *     build/bench/bench_scheduler
 *
 * Timed window: scheduler_next, scheduler_returned and scheduler_take_ended for one batch, and adding a sequence where one ended;
 * not the tokens' sampling (here: one store each). 4 ranks, 5 batches in flight, answers of 200 tokens.
 *
 * - running: all sequences write their answers; one that ends is followed by one with a prompt of 1 token.
 * - prompts: one that ends is followed by one with a prompt of 700 tokens, half of them with 512 in common (found and shared),
 *   computed in chunks beside the others; 3 times as many wait as run.
 * - tight: prompts of 100 tokens and a pool of 0.35 of the pages that all would fill: sequences are preempted, kept pages
 * evicted.
 *
 * Columns: sequences at a time; rows of a batch, mean; microseconds per batch: median of 5 repeats, fastest and slowest; of all
 * rows of prompts the share that was shared; preemptions. CSV. */
#include <stdio.h>
#include <stdlib.h>

#include "src/core/clock.h"
#include "src/engine/scheduler.h"

enum { DEPTH = 5, N_RANKS = 4, ANSWER = 200, PROMPT = 700, COMMON = 512, REPEATS = 5, MAX_ROWS = 512, N_CTX = 1024 };

struct bench {
    struct scheduler s;
    struct batch flight[DEPTH];
    struct sequence *sequences; /* [n_sequences] owned */
    int32_t n_sequences, n_prompt;
    uint32_t n_made;
};

static void prepare(struct bench *b, struct sequence *q)
{
    struct error err;
    int32_t ids[PROMPT];
    for (int32_t i = 0; i < b->n_prompt; i++) {
        ids[i] = i < COMMON && b->n_made % 2 ? i : (int32_t)(b->n_made * 7919u + (uint32_t)i) & 0x7fffffff;
    }
    b->n_made++;
    if (sequence_init(q, ids, b->n_prompt, b->n_prompt + ANSWER - (int32_t)(b->n_made * 31 % 100), &err)) {
        fatal("%s", err.text);
    }
}

static void come_home(struct bench *b, const struct batch *batch)
{
    scheduler_returned(&b->s, batch);
    for (int32_t i = 0; i < batch->header->n_rows; i++) {
        const struct batch_row *r = &batch->rows[i];
        if (r->flags & BATCH_ROW_WANTS_TOKEN) {
            struct sequence *q = b->s.slots[r->slot];
            sequence_append(q, (int32_t)(q->number * 31u + (uint32_t)q->n_ids) & 0x7fffffff);
            q->stop = q->n_ids == q->max_ids ? SEQUENCE_STOP_LENGTH : SEQUENCE_RUNNING;
        }
    }
}

/* Seconds of n batches; what making the next sequence's ids takes is left out. */
static double run(struct bench *b, int32_t n, uint64_t *head, uint64_t *tail)
{
    double time_s = 0;
    for (int32_t done = 0; done < n;) {
        double start_s = clock_now_s();
        while (*tail - *head < DEPTH && scheduler_next(&b->s, &b->flight[*tail % DEPTH]) > 0) {
            ++*tail;
        }
        come_home(b, &b->flight[(*head)++ % DEPTH]);
        done++;
        for (struct sequence *q; (q = scheduler_take_ended(&b->s));) {
            time_s += clock_now_s() - start_s;
            sequence_free(q);
            prepare(b, q);
            start_s = clock_now_s();
            scheduler_add(&b->s, q);
        }
        time_s += clock_now_s() - start_s;
    }
    return time_s;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const char *name, int32_t n_slots, int32_t n_prompt, int32_t waiting, double pool)
{
    struct error err;
    struct bench b = {.n_sequences = n_slots * (1 + waiting), .n_prompt = n_prompt};
    struct scheduler_options o = {.n_slots = n_slots,
                                  .n_pages = (int32_t)(pool * n_slots * pages_for(n_prompt + ANSWER)) + 8,
                                  .max_rows = MAX_ROWS,
                                  .chunk = MAX_ROWS,
                                  .n_ranks = N_RANKS,
                                  .cost = {5e-3, 5e-3 / 32, 1e-8, 0, 0}};
    struct batch_shape shape = {
        .max_rows = MAX_ROWS, .max_pages = MAX_ROWS / KV_PAGE + n_slots + pages_for(N_CTX), .dim = 1, .n_stages = N_RANKS};
    b.sequences = calloc((size_t)b.n_sequences, sizeof *b.sequences);
    if (!b.sequences || scheduler_init(&b.s, &o, &err)) {
        fatal("out of memory");
    }
    for (int i = 0; i < DEPTH; i++) {
        if (batch_init(&b.flight[i], &shape, &err)) {
            fatal("%s", err.text);
        }
    }
    for (int32_t i = 0; i < b.n_sequences; i++) {
        prepare(&b, &b.sequences[i]);
        scheduler_add(&b.s, &b.sequences[i]);
    }
    uint64_t head = 0, tail = 0, before = 0;
    double us[REPEATS];
    int32_t n = 4000;
    run(&b, n, &head, &tail);
    before = b.s.stats.answer_rows + b.s.stats.prompt_rows;
    for (int i = 0; i < REPEATS; i++) {
        us[i] = 1e6 * run(&b, n, &head, &tail) / n;
    }
    qsort(us, REPEATS, sizeof *us, compare);
    const struct scheduler_stats *t = &b.s.stats;
    double rows = (double)(t->answer_rows + t->prompt_rows - before) / n / REPEATS;
    double shared = (double)t->shared_rows / (double)(t->shared_rows + t->prompt_rows);
    printf("%s,%d,%.1f,%.2f,%.2f,%.2f,%.2f,%d\n", name, n_slots, rows, us[REPEATS / 2], us[0], us[REPEATS - 1], shared,
           (int)t->n_preemptions);
    fflush(stdout);
    for (int i = 0; i < DEPTH; i++) {
        batch_free(&b.flight[i]);
    }
    for (int32_t i = 0; i < b.n_sequences; i++) {
        sequence_free(&b.sequences[i]);
    }
    free(b.sequences);
    scheduler_free(&b.s);
}

int main(void)
{
    static const int32_t counts[] = {1, 32, 256, 1024};
    printf("case,sequences,rows,median_us,min_us,max_us,shared,preemptions\n");
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        measure("running", counts[i], 1, 0, 1);
        measure("prompts", counts[i], PROMPT, 3, 1);
        measure("tight", counts[i], 100, 3, 0.35);
    }
    return 0;
}
