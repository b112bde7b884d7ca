/* SPDX-License-Identifier: MIT */
#include "src/cluster/link.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "src/cluster/link_local.h"
#include "src/cluster/mpi_check.h"
#include "src/core/clock.h"

struct link_entry {
    MPI_Request request;
    int32_t tag;
    size_t bytes; /* of a message that has come in */
    double due_s; /* when it counts as received */
};

/* Requests in the order of posting: entries [first, first + n) of a circle of `depth`; the first n_in of them are messages that
 * have come in and wait for the simulated network. */
struct link_queue {
    struct link_entry *entries; /* [depth] owned */
    int32_t first, n, n_in;
};

struct link {
    MPI_Comm comm; /* MPI_COMM_NULL with one rank */
    int previous, next;
    int32_t depth;
    size_t capacity;
    struct link_queue receives, sends;
    struct link_delay *port; /* borrowed; NULL = messages are there when they come in */
    struct link_local local; /* takes the messages of one rank to itself */
    struct link_counters counters;
};

enum { LINK_TAG = 1 };

static int allocate(struct link *l, int32_t size)
{
    if (size == 1) {
        return link_local_init(&l->local, l->depth, l->capacity);
    }
    l->receives.entries = calloc((size_t)l->depth, sizeof *l->receives.entries);
    l->sends.entries = calloc((size_t)l->depth, sizeof *l->sends.entries);
    return l->receives.entries && l->sends.entries ? 0 : -1;
}

int link_init(struct link **out, struct cluster *c, int32_t depth, size_t capacity, struct error *err)
{
    *out = NULL;
    if (depth < 1) {
        return error_set(err, "%d messages in flight: at least 1 is needed", depth);
    }
    if (capacity > INT_MAX) {
        return error_set(err, "a batch may need a message of %zu bytes, at most %d are possible: take a smaller -b", capacity,
                         INT_MAX);
    }
    struct link *l = calloc(1, sizeof *l);
    if (!l) {
        return error_set(err, "no memory for the link");
    }
    *l = (struct link){.comm = MPI_COMM_NULL, .depth = depth, .capacity = capacity};
    l->previous = (c->rank + c->size - 1) % c->size;
    l->next = (c->rank + 1) % c->size;
    if (allocate(l, c->size)) {
        link_free(l);
        return error_set(err, "no memory for %d messages in flight", depth);
    }
    if (c->size > 1) {
        char out_byte = 0, in_byte = 0;
        l->comm = mpi_duplicate(c, c->mpi->comm);
        mpi_ring_shift(c, l->comm, &out_byte, &in_byte, 1);
    }
    *out = l;
    return 0;
}

void link_free(struct link *l)
{
    if (!l) {
        return;
    }
    for (int32_t i = l->receives.n_in; i < l->receives.n; i++) {
        MPI_Request *request = &l->receives.entries[(l->receives.first + i) % l->depth].request;
        CHECK_MPI(MPI_Cancel(request));
        CHECK_MPI(MPI_Wait(request, MPI_STATUS_IGNORE));
    }
    for (int32_t i = 0; i < l->sends.n; i++) {
        CHECK_MPI(MPI_Request_free(&l->sends.entries[(l->sends.first + i) % l->depth].request));
    }
    if (l->comm != MPI_COMM_NULL) {
        CHECK_MPI(MPI_Comm_free(&l->comm));
    }
    link_local_free(&l->local);
    free(l->receives.entries);
    free(l->sends.entries);
    free(l);
}

static MPI_Request *queue_push(struct link_queue *q, int32_t depth, int32_t tag, const char *what)
{
    if (q->n == depth) {
        fatal("link: more than %d %s at once", depth, what);
    }
    struct link_entry *e = &q->entries[(q->first + q->n++) % depth];
    e->tag = tag;
    return &e->request;
}

static struct link_entry *queue_at(struct link_queue *q, int32_t depth, int32_t i)
{
    return &q->entries[(q->first + i) % depth];
}

/* Tests the oldest request only: messages of one tag between two ranks do not overtake each other. */
static int entry_test(struct link_entry *e, MPI_Status *status)
{
    int done = 0;
    CHECK_MPI(MPI_Test(&e->request, &done, status));
    return done;
}

static void queue_pop(struct link_queue *q, int32_t depth)
{
    q->first = (q->first + 1) % depth;
    q->n--;
}

void link_post_receive(struct link *l, void *buffer, int32_t tag)
{
    if (l->comm == MPI_COMM_NULL) {
        link_local_post_receive(&l->local, buffer, tag);
        return;
    }
    MPI_Request *request = queue_push(&l->receives, l->depth, tag, "receives");
    CHECK_MPI(MPI_Irecv(buffer, (int)l->capacity, MPI_BYTE, l->previous, LINK_TAG, l->comm, request));
}

void link_send(struct link *l, const void *buffer, size_t bytes, int32_t tag)
{
    l->counters.bytes_sent += bytes;
    l->counters.messages_sent++;
    if (l->comm == MPI_COMM_NULL) {
        link_local_send(&l->local, buffer, bytes, tag);
        return;
    }
    if (bytes > l->capacity) {
        fatal("link: a message of %zu bytes, but buffers hold %zu", bytes, l->capacity);
    }
    MPI_Request *request = queue_push(&l->sends, l->depth, tag, "sends");
    CHECK_MPI(MPI_Isend(buffer, (int)bytes, MPI_BYTE, l->next, LINK_TAG, l->comm, request));
}

void link_set_delay(struct link *l, struct link_delay *port)
{
    l->port = port;
}

/* Notes what has come in, and when it counts as received. */
static void take_in(struct link *l)
{
    struct link_queue *q = &l->receives;
    for (; q->n_in < q->n; q->n_in++) {
        struct link_entry *e = queue_at(q, l->depth, q->n_in);
        MPI_Status status;
        int count = 0;
        if (!entry_test(e, &status)) {
            return;
        }
        CHECK_MPI(MPI_Get_count(&status, MPI_BYTE, &count));
        e->bytes = (size_t)count;
        e->due_s = l->port ? link_delay_due_s(l->port, clock_now_s(), e->bytes) : 0;
    }
}

double link_next_due_s(const struct link *l)
{
    return l->receives.n_in > 0 ? l->receives.entries[l->receives.first].due_s : INFINITY;
}

int link_poll_received(struct link *l, int32_t *tag, size_t *bytes)
{
    if (l->comm == MPI_COMM_NULL) {
        return link_local_poll_received(&l->local, tag, bytes);
    }
    take_in(l);
    struct link_queue *q = &l->receives;
    struct link_entry *e = queue_at(q, l->depth, 0);
    if (q->n_in == 0 || (l->port && clock_now_s() < e->due_s)) {
        return 0;
    }
    *tag = e->tag;
    *bytes = e->bytes;
    queue_pop(q, l->depth);
    q->n_in--;
    return 1;
}

int link_poll_sent(struct link *l, int32_t *tag)
{
    if (l->comm == MPI_COMM_NULL) {
        return link_local_poll_sent(&l->local, tag);
    }
    struct link_entry *e = queue_at(&l->sends, l->depth, 0);
    if (l->sends.n == 0 || !entry_test(e, MPI_STATUS_IGNORE)) {
        return 0;
    }
    *tag = e->tag;
    queue_pop(&l->sends, l->depth);
    return 1;
}

void link_get_counters(const struct link *l, struct link_counters *out)
{
    *out = l->counters;
}
