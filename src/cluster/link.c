/* SPDX-License-Identifier: MIT */
#include "src/cluster/link.h"

#include <limits.h>
#include <stdlib.h>

#include "src/cluster/link_local.h"
#include "src/cluster/mpi_check.h"

struct link_entry {
    MPI_Request request;
    int32_t tag;
};

/* Requests in the order of posting: entries [first, first + n) of a circle of `depth`. */
struct link_queue {
    struct link_entry *entries; /* [depth] owned */
    int32_t first, n;
};

struct link {
    MPI_Comm comm; /* MPI_COMM_NULL with one rank */
    int previous, next;
    int32_t depth;
    size_t capacity;
    struct link_queue receives, sends;
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
        l->comm = mpi_duplicate(c->mpi->comm);
        mpi_ring_shift(l->comm, c->peers, &out_byte, &in_byte, 1);
    }
    *out = l;
    return 0;
}

void link_free(struct link *l)
{
    if (!l) {
        return;
    }
    for (int32_t i = 0; i < l->receives.n; i++) {
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

/* Tests the oldest request only: messages of one tag between two ranks do not overtake each other. */
static int queue_poll(struct link_queue *q, int32_t depth, int32_t *tag, MPI_Status *status)
{
    if (q->n == 0) {
        return 0;
    }
    struct link_entry *e = &q->entries[q->first];
    int done = 0;
    CHECK_MPI(MPI_Test(&e->request, &done, status));
    if (!done) {
        return 0;
    }
    *tag = e->tag;
    q->first = (q->first + 1) % depth;
    q->n--;
    return 1;
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

int link_poll_received(struct link *l, int32_t *tag, size_t *bytes)
{
    if (l->comm == MPI_COMM_NULL) {
        return link_local_poll_received(&l->local, tag, bytes);
    }
    MPI_Status status;
    if (!queue_poll(&l->receives, l->depth, tag, &status)) {
        return 0;
    }
    int count = 0;
    CHECK_MPI(MPI_Get_count(&status, MPI_BYTE, &count));
    *bytes = (size_t)count;
    return 1;
}

int link_poll_sent(struct link *l, int32_t *tag)
{
    if (l->comm == MPI_COMM_NULL) {
        return link_local_poll_sent(&l->local, tag);
    }
    return queue_poll(&l->sends, l->depth, tag, MPI_STATUS_IGNORE);
}

void link_get_counters(const struct link *l, struct link_counters *out)
{
    *out = l->counters;
}
