/* SPDX-License-Identifier: MIT */
#include "src/cluster/mail.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/cluster/mpi_check.h"
#include "src/core/clock.h"

enum { MAIL_TAG = 1, ALIGN = 64 };

struct letter {
    struct mail_letter out; /* first: what the receiver sees */
    MPI_Request request;
    size_t capacity;
    int complete;
    double due_s; /* of a complete one: when it counts as arrived */
    struct letter *next;
};

struct sending {
    MPI_Request request;
    int32_t *n_pending; /* borrowed */
};

struct mail {
    MPI_Comm comm;
    struct sending *sends; /* [capacity] owned, the first n_sends are under way */
    int32_t n_sends, capacity;
    struct letter *arriving; /* in the order in which they were matched */
    struct letter *spare;
    struct link_delay *port; /* borrowed; NULL = letters are there when they come in */
    uint64_t bytes_sent;
};

static void exchange(struct mail *m, struct cluster *c, int32_t low, int32_t high)
{
    char out = 0, in = 0;
    MPI_Request requests[2];
    if (low == high || (c->rank != low && c->rank != high)) {
        return;
    }
    int other = c->rank == low ? high : low;
    CHECK_MPI(MPI_Irecv(&in, 1, MPI_BYTE, other, MAIL_TAG, m->comm, &requests[0]));
    CHECK_MPI(MPI_Isend(&out, 1, MPI_BYTE, other, MAIL_TAG, m->comm, &requests[1]));
    mpi_wait_start(c, &requests[0]);
    mpi_wait_start(c, &requests[1]);
}

int mail_init(struct mail **out, struct cluster *c, struct error *err)
{
    struct mail *m = *out = calloc(1, sizeof *m);
    if (!m) {
        return error_set(err, "no memory for messages between ranks");
    }
    m->comm = mpi_duplicate(c, c->mpi->comm);
    for (int32_t rank = 1; rank < c->size; rank++) {
        exchange(m, c, 0, rank);
    }
    for (int32_t rank = 1; rank < c->size - 1; rank++) {
        exchange(m, c, rank, c->size - 1);
    }
    return 0;
}

static void free_letters(struct letter *l)
{
    while (l) {
        struct letter *next = l->next;
        free(l->out.memory);
        free(l);
        l = next;
    }
}

void mail_free(struct mail *m)
{
    if (!m) {
        return;
    }
    for (int32_t i = 0; i < m->n_sends; i++) {
        CHECK_MPI(MPI_Request_free(&m->sends[i].request));
    }
    CHECK_MPI(MPI_Comm_free(&m->comm));
    free_letters(m->arriving);
    free_letters(m->spare);
    free(m->sends);
    free(m);
}

void mail_send(struct mail *m, int32_t to, const void *buffer, size_t bytes, int32_t *n_pending)
{
    if (bytes > INT_MAX) {
        fatal("a message of %zu bytes to rank %d; at most %d are possible: take a smaller -b", bytes, to, INT_MAX);
    }
    if (m->n_sends == m->capacity) {
        int32_t capacity = 2 * m->capacity + 16;
        struct sending *sends = realloc(m->sends, sizeof *sends * (size_t)capacity);
        if (!sends) {
            fatal("out of memory for messages between ranks");
        }
        m->sends = sends;
        m->capacity = capacity;
    }
    struct sending *s = &m->sends[m->n_sends++];
    s->n_pending = n_pending;
    ++*n_pending;
    m->bytes_sent += bytes;
    CHECK_MPI(MPI_Isend(buffer, (int)bytes, MPI_BYTE, to, MAIL_TAG, m->comm, &s->request));
}

static void poll_sends(struct mail *m)
{
    for (int32_t i = 0; i < m->n_sends;) {
        int done = 0;
        CHECK_MPI(MPI_Test(&m->sends[i].request, &done, MPI_STATUS_IGNORE));
        if (done) {
            --*m->sends[i].n_pending;
            m->sends[i] = m->sends[--m->n_sends];
        } else {
            i++;
        }
    }
}

/* An empty letter with room for so many bytes. */
static struct letter *take_spare(struct mail *m, size_t bytes)
{
    struct letter *l = m->spare;
    if (l) {
        m->spare = l->next;
    } else if (!(l = calloc(1, sizeof *l))) {
        fatal("out of memory for messages between ranks");
    }
    if (l->capacity < bytes) {
        free(l->out.memory);
        l->capacity = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
        l->out.memory = aligned_alloc(ALIGN, l->capacity);
        if (!l->out.memory) {
            fatal("out of memory for a message of %zu bytes", bytes);
        }
    }
    l->complete = 0;
    l->next = NULL;
    return l;
}

/* Starts receiving everything that is there. */
static void poll_arrivals(struct mail *m)
{
    for (;;) {
        int found = 0, bytes = 0;
        MPI_Message message;
        MPI_Status status;
        CHECK_MPI(MPI_Improbe(MPI_ANY_SOURCE, MAIL_TAG, m->comm, &found, &message, &status));
        if (!found) {
            return;
        }
        CHECK_MPI(MPI_Get_count(&status, MPI_BYTE, &bytes));
        struct letter *l = take_spare(m, (size_t)bytes), **last = &m->arriving;
        l->out.from = status.MPI_SOURCE;
        l->out.bytes = (size_t)bytes;
        CHECK_MPI(MPI_Imrecv(l->out.memory, bytes, MPI_BYTE, &message, &l->request));
        while (*last) {
            last = &(*last)->next;
        }
        *last = l;
    }
}

/* 1 when an earlier letter of the same sender is still arriving. */
static int is_overtaking(const struct mail *m, const struct letter *l)
{
    for (const struct letter *e = m->arriving; e != l; e = e->next) {
        if (e->out.from == l->out.from) {
            return 1;
        }
    }
    return 0;
}

void mail_set_delay(struct mail *m, struct link_delay *port)
{
    m->port = port;
}

double mail_next_due_s(const struct mail *m)
{
    double due_s = INFINITY;
    for (const struct letter *l = m->arriving; m->port && l; l = l->next) {
        due_s = l->complete && l->due_s < due_s ? l->due_s : due_s;
    }
    return due_s;
}

/* Notes which letters have come in, and when they count as arrived. */
static void take_in(struct mail *m)
{
    for (struct letter *l = m->arriving; l; l = l->next) {
        if (!l->complete) {
            CHECK_MPI(MPI_Test(&l->request, &l->complete, MPI_STATUS_IGNORE));
            l->due_s = l->complete && m->port ? link_delay_due_s(m->port, clock_now_s(), l->out.bytes) : 0;
        }
    }
}

struct mail_letter *mail_poll(struct mail *m)
{
    poll_sends(m);
    poll_arrivals(m);
    take_in(m);
    double now_s = m->port ? clock_now_s() : INFINITY;
    for (struct letter **at = &m->arriving; *at; at = &(*at)->next) {
        struct letter *l = *at;
        if (l->complete && l->due_s <= now_s && !is_overtaking(m, l)) {
            *at = l->next;
            return &l->out;
        }
    }
    return NULL;
}

void mail_release(struct mail *m, struct mail_letter *letter)
{
    struct letter *l = (struct letter *)letter;
    l->next = m->spare;
    m->spare = l;
}

uint64_t mail_bytes_sent(const struct mail *m)
{
    return m->bytes_sent;
}
