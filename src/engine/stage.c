/* The main thread of a stage: it moves messages. SPDX-License-Identifier: MIT */
#include "src/engine/stage_private.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/core/clock.h"

enum {
    IDLE_US = 100000, /* how long stage_wait sleeps at most when nothing is in flight */
    BUSY_US = 300,    /* between two looks at the network while the compute thread has work: it rings when it is through */
    WAKE_US = 100,    /* a sleep ends up to this much late: 50 us of timer slack and waking up */
};

void stage_hand_over(struct stage *stage, struct queue *queue, struct stage_entry *entry)
{
    stage->n_jobs++;
    queue_put(queue, entry);
    bell_ring(&stage->compute_bell);
}

static void send_on(struct stage *stage, struct stage_entry *entry)
{
    struct batch *batch = &entry->batch;
    double now_s = clock_now_s();
    int32_t rank = stage->cluster->rank, size = stage->cluster->size;
    batch->times[rank].resident_s = (float)(now_s - entry->entered_s);
    trace_mark(stage->options.trace, TRACE_SEND, now_s, batch->header->number, batch_bytes(batch), (rank + 1) % size);
    entry->sending = entry->leaving = 1;
    link_send(stage->link, batch->memory, batch_bytes(batch), entry->index);
    if (stage->mail && rank > 0 && rank == size - 1) {
        stage_head_spread(stage, entry);
    }
}

/* Time that a batch spent between stages: the whole round less its stays. Only rank 0's clock is read. */
static void count_hops(struct stage *stage, const struct stage_entry *entry)
{
    const struct batch *batch = &entry->batch;
    double hops_s = entry->entered_s - batch->header->started_s;
    for (int32_t i = 0; i < batch->header->n_stages; i++) {
        hops_s -= (double)batch->times[i].resident_s;
    }
    stage->hops_s += hops_s;
    stage->n_rounds++;
}

/* Rows and page changes stay within this stage's tables. */
static int fits_tables(const struct stage *stage, const struct batch *batch)
{
    int32_t n_slots = stage->options.n_slots, max_pages = stage->options.max_pages_per_slot;
    for (int32_t i = 0; i < batch->header->n_pages; i++) {
        const struct batch_page *p = &batch->pages[i];
        if (p->slot < 0 || p->slot >= n_slots || p->index < 0 || p->index >= max_pages) {
            return 0;
        }
    }
    for (int32_t i = 0; i < batch->header->n_rows; i++) {
        const struct batch_row *r = &batch->rows[i];
        if (r->slot < 0 || r->slot >= n_slots || r->position < 0 || r->position / KV_PAGE >= max_pages) {
            return 0;
        }
    }
    return 1;
}

static void receive(struct stage *stage, int32_t tag, size_t bytes)
{
    struct stage_entry *entry = &stage->entries[tag];
    struct error err;
    if (batch_check(&entry->batch, bytes, &err)) {
        fatal("%s", err.text);
    }
    if (!fits_tables(stage, &entry->batch)) {
        fatal("batch %llu names a slot or page beyond the tables", (unsigned long long)entry->batch.header->number);
    }
    entry->entered_s = clock_now_s();
    int32_t rank = stage->cluster->rank, size = stage->cluster->size;
    trace_mark(stage->options.trace, TRACE_RECEIVE, entry->entered_s, entry->batch.header->number, bytes,
               (rank + size - 1) % size);
    int home = rank == 0;
    if (home && (entry->batch.header->flags & BATCH_STOP)) {
        stage->stopped = 1;
        return;
    }
    if (home && !batch_is_for_head(&entry->batch, stage->mail != NULL)) {
        fatal("batch %llu does not bring what the head needs", (unsigned long long)entry->batch.header->number);
    }
    if (home) {
        count_hops(stage, entry);
    }
    entry->job = home ? JOB_HEAD : JOB_FORWARD;
    stage_hand_over(stage, home ? &stage->home : &stage->forward, entry);
}

/* The buffer can take another batch when nothing reads it any more. */
static void free_unless_held(struct stage *stage, struct stage_entry *entry)
{
    if (entry->sending || entry->n_letters > 0 || entry->viewed || !entry->leaving) {
        return;
    }
    entry->leaving = 0;
    if (stage->cluster->rank == 0) {
        stage->idle[stage->n_idle++] = entry;
    } else if (entry->batch.header->flags & BATCH_STOP) {
        stage->stopped = 1;
    } else {
        link_post_receive(stage->link, entry->batch.memory, entry->index);
    }
}

/* Buffers that have left are free again. 1 when a send has completed. */
static int collect_sent(struct stage *stage)
{
    int32_t tag;
    int any = 0;
    for (; link_poll_sent(stage->link, &tag); any = 1) {
        stage->entries[tag].sending = 0;
    }
    for (int32_t i = 0; i < stage->n_entries; i++) {
        free_unless_held(stage, &stage->entries[i]);
    }
    return any;
}

/* Moves what can be moved. 1 when anything did; *finished: rank 0's batch whose logits are done. */
static int pump(struct stage *stage, struct stage_entry **finished)
{
    int moved = 0;
    int32_t tag;
    size_t bytes;
    struct stage_entry *entry;
    *finished = NULL;
    while (link_poll_received(stage->link, &tag, &bytes)) {
        receive(stage, tag, bytes);
        moved = 1;
    }
    while (!*finished && (entry = queue_take(&stage->done))) {
        moved = 1;
        stage->n_jobs--;
        if (entry->job == JOB_FORWARD) {
            send_on(stage, entry);
        } else if (stage->mail) {
            stage_head_answered(stage, entry);
        } else {
            *finished = entry;
        }
    }
    moved |= stage->mail && stage_head_pump(stage, finished);
    return collect_sent(stage) || moved;
}

static int is_sending(const struct stage *stage)
{
    for (int32_t i = 0; i < stage->n_entries; i++) {
        if (stage->entries[i].sending || stage->entries[i].n_letters > 0) {
            return 1;
        }
    }
    return 0;
}

/* Nothing moved: sleeps until the compute thread rings or it is time to look at the network again. What arrives while it computes
 * has to wait for it anyway, and each look takes time from it where cores are few; but large messages need looks to go out. */
static void rest(struct stage *stage)
{
    double us = stage->cluster->size > 1 ? wait_next_us(&stage->wait) : -1;
    int simulated = stage->port.bytes_per_s > 0; /* the simulated network counts from when a message was seen */
    if (us > 0 && us < BUSY_US && stage->n_jobs > 0 && !is_sending(stage) && !simulated) {
        us = BUSY_US;
    }
    double due_s = link_next_due_s(stage->link), mail_due_s = stage->mail ? mail_next_due_s(stage->mail) : INFINITY;
    due_s = mail_due_s < due_s ? mail_due_s : due_s;
    if (due_s < INFINITY) { /* the simulated network brings something at a known time: not to be slept through */
        double left_us = (due_s - clock_now_s()) * 1e6 - WAKE_US;
        us = left_us < 0 ? 0 : left_us < us ? left_us : us;
    }
    if (us != 0) {
        bell_wait(&stage->main_bell, us);
    }
}

/* Until a batch is finished (rank 0), or the stop message is through or somebody wakes this thread (NULL). */
static struct stage_entry *pump_until_finished(struct stage *stage)
{
    struct stage_entry *finished = NULL;
    while (!finished && !stage->stopped && !atomic_exchange(&stage->woken, 0)) {
        if (pump(stage, &finished)) {
            wait_reset(&stage->wait);
        } else {
            rest(stage);
        }
    }
    return finished;
}

static void join(struct stage *stage)
{
    pthread_join(stage->thread, NULL); /* it ends with the stop message */
    stage->thread_runs = 0;
}

void stage_work(struct stage *stage)
{
    while (!stage->stopped) {
        pump_until_finished(stage);
    }
    join(stage);
}

/* Rank 0 keeps two kinds of buffers: those that go out (taken from idle) and those that wait to come home (posted). */
struct batch *stage_batch(struct stage *stage)
{
    if (stage->n_in_flight == stage->options.depth) {
        return NULL;
    }
    while (stage->n_idle == 0) { /* what is no longer in flight has been sent; its completion may not have been seen yet */
        collect_sent(stage);
    }
    return &stage->idle[--stage->n_idle]->batch;
}

static struct stage_entry *entry_of(struct batch *batch)
{
    return (struct stage_entry *)(void *)((char *)batch - offsetof(struct stage_entry, batch));
}

void stage_submit(struct stage *stage, struct batch *batch)
{
    struct stage_entry *entry = entry_of(batch);
    entry->entered_s = clock_now_s();
    entry->job = JOB_FORWARD;
    batch->header->started_s = entry->entered_s;
    stage->n_in_flight++;
    trace_mark(stage->options.trace, TRACE_IN_FLIGHT, entry->entered_s, UINT64_MAX, (size_t)stage->n_in_flight, 0);
    stage_hand_over(stage, &stage->forward, entry);
}

struct batch *stage_wait(struct stage *stage)
{
    struct stage_entry *finished;
    if (stage->n_in_flight == 0) { /* nothing will come home; the caller has signals and other threads to look at */
        bell_wait(&stage->main_bell, IDLE_US);
        atomic_store(&stage->woken, 0);
        return NULL;
    }
    finished = pump_until_finished(stage);
    return finished ? &finished->batch : NULL;
}

void stage_wake(struct stage *stage)
{
    atomic_store(&stage->woken, 1);
    bell_ring(&stage->main_bell);
}

void stage_return(struct stage *stage, struct batch *batch)
{
    struct stage_entry *entry = entry_of(batch);
    if (entry->job == JOB_HEAD) {
        entry->job = JOB_FORWARD;
        stage->n_in_flight--;
        if (stage->options.trace) {
            trace_mark(stage->options.trace, TRACE_IN_FLIGHT, clock_now_s(), UINT64_MAX, (size_t)stage->n_in_flight, 0);
        }
        link_post_receive(stage->link, batch->memory, entry->index);
    } else {
        stage->idle[stage->n_idle++] = entry;
    }
}

void stage_stop(struct stage *stage)
{
    assert(stage->n_in_flight == 0);
    struct batch *batch = stage_batch(stage);
    batch_clear(batch, UINT64_MAX);
    batch->header->flags = BATCH_STOP;
    stage_submit(stage, batch);
    while (!stage->stopped) {
        pump_until_finished(stage);
    }
    join(stage);
}

/* -- life -- */

static int allocate(struct stage *stage, struct error *err)
{
    const struct stage_options *o = &stage->options;
    size_t table = (size_t)o->n_slots * (size_t)o->max_pages_per_slot, rows = (size_t)o->shape.max_rows;
    uint32_t n = (uint32_t)stage->n_entries;
    stage->entries = calloc(n, sizeof *stage->entries);
    stage->idle = calloc(n, sizeof *stage->idle);
    stage->page_table = malloc(table * sizeof *stage->page_table);
    stage->tokens = calloc(rows, sizeof *stage->tokens);
    stage->positions = calloc(rows, sizeof *stage->positions);
    stage->slots = calloc(rows, sizeof *stage->slots);
    if (!stage->entries || !stage->idle || !stage->page_table || !stage->tokens || !stage->positions || !stage->slots) {
        return error_set(err, "out of memory for batches of %d rows; -b N makes them smaller", o->shape.max_rows);
    }
    memset(stage->page_table, 0xff, table * sizeof *stage->page_table);
    if (queue_init(&stage->forward, n, err) || queue_init(&stage->home, n, err) || queue_init(&stage->done, 2 * n, err)) {
        return -1;
    }
    for (int32_t i = 0; i < stage->n_entries; i++) {
        stage->entries[i].index = i;
        if (batch_init(&stage->entries[i].batch, &o->shape, err)) {
            return -1;
        }
    }
    return 0;
}

/* Rank 0 posts the buffers that wait for batches to come home and keeps the others to send; the other ranks post all theirs: with
 * one more than can be under way, a receive is always waiting. */
static void post_buffers(struct stage *stage)
{
    int32_t n_posted = stage->cluster->rank == 0 ? stage->options.depth + 1 : stage->n_entries;
    for (int32_t i = 0; i < stage->n_entries; i++) {
        if (i < n_posted) {
            link_post_receive(stage->link, stage->entries[i].batch.memory, i);
        } else {
            stage->idle[stage->n_idle++] = &stage->entries[i];
        }
    }
}

int stage_init(struct stage *stage, struct cluster *cluster, struct segment *segments, int32_t n_segments, struct head *head,
               const struct stage_options *options, stage_bind_fn bind_thread, void *bind_context, struct error *err)
{
    memset(stage, 0, sizeof *stage);
    stage->cluster = cluster;
    stage->segments = segments;
    stage->n_segments = n_segments;
    stage->head = head;
    stage->options = *options;
    stage->n_entries = cluster->rank == 0 ? 2 * options->depth + 1 : options->depth + 1;
    bell_init(&stage->compute_bell);
    bell_init(&stage->main_bell);
    wait_init(&stage->wait);
    int status = allocate(stage, err);
    if (cluster_agree(cluster, status, err) ||
        link_init(&stage->link, cluster, options->depth + 1, batch_capacity(&options->shape), err) ||
        (options->owners &&
         (mail_init(&stage->mail, cluster, err) || cluster_agree(cluster, stage_head_init(stage, err), err)))) {
        stage_free(stage);
        return -1;
    }
    if (options->link_bytes_per_s > 0) {
        link_delay_init(&stage->port, options->link_latency_s, options->link_bytes_per_s);
        link_set_delay(stage->link, &stage->port);
        if (stage->mail) {
            mail_set_delay(stage->mail, &stage->port);
        }
    }
    post_buffers(stage);

    stage->bind_thread = bind_thread;
    stage->bind_context = bind_context;
    if (pthread_create(&stage->thread, NULL, stage_compute_main, stage)) {
        fatal("cannot start the compute thread");
    }
    stage->thread_runs = 1;
    return 0;
}

void stage_free(struct stage *stage)
{
    assert(!stage->thread_runs);
    if (stage->link) {
        link_free(stage->link);
    }
    stage_head_free(stage);
    mail_free(stage->mail);
    for (int32_t i = 0; stage->entries && i < stage->n_entries; i++) {
        batch_free(&stage->entries[i].batch);
        free(stage->entries[i].answer);
    }
    free(stage->entries);
    free(stage->idle);
    free(stage->page_table);
    free(stage->tokens);
    free(stage->positions);
    free(stage->slots);
    queue_free(&stage->forward);
    queue_free(&stage->home);
    queue_free(&stage->done);
    bell_free(&stage->compute_bell);
    bell_free(&stage->main_bell);
    memset(stage, 0, sizeof *stage);
}
