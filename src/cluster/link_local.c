/* SPDX-License-Identifier: MIT */
#include "src/cluster/link_local.h"

#include <stdlib.h>
#include <string.h>

#include "src/core/error.h"

int link_local_init(struct link_local *l, int32_t depth, size_t capacity)
{
    *l = (struct link_local){.depth = depth, .capacity = capacity};
    l->receives.entries = calloc((size_t)depth, sizeof *l->receives.entries);
    l->sends.entries = calloc((size_t)depth, sizeof *l->sends.entries);
    if (!l->receives.entries || !l->sends.entries) {
        link_local_free(l);
        return -1;
    }
    return 0;
}

void link_local_free(struct link_local *l)
{
    free(l->receives.entries);
    free(l->sends.entries);
    *l = (struct link_local){0};
}

static struct link_local_entry *queue_push(struct link_local_queue *q, int32_t depth, const char *what)
{
    if (q->n == depth) {
        fatal("link: more than %d %s at once", depth, what);
    }
    return &q->entries[(q->first + q->n++) % depth];
}

/* Whichever side comes first waits for the other, as it would between two ranks. */
static void match(struct link_local *l)
{
    struct link_local_queue *receives = &l->receives, *sends = &l->sends;
    while (receives->n_done < receives->n && sends->n_done < sends->n) {
        struct link_local_entry *to = &receives->entries[(receives->first + receives->n_done++) % l->depth];
        const struct link_local_entry *from = &sends->entries[(sends->first + sends->n_done++) % l->depth];
        memcpy(to->receive, from->send, from->bytes);
        to->bytes = from->bytes;
    }
}

void link_local_post_receive(struct link_local *l, void *buffer, int32_t tag)
{
    *queue_push(&l->receives, l->depth, "receives") = (struct link_local_entry){.receive = buffer, .tag = tag};
    match(l);
}

void link_local_send(struct link_local *l, const void *buffer, size_t bytes, int32_t tag)
{
    if (bytes > l->capacity) {
        fatal("link: a message of %zu bytes, but buffers hold %zu", bytes, l->capacity);
    }
    *queue_push(&l->sends, l->depth, "sends") = (struct link_local_entry){.send = buffer, .bytes = bytes, .tag = tag};
    match(l);
}

static const struct link_local_entry *queue_pop(struct link_local_queue *q, int32_t depth)
{
    if (q->n_done == 0) {
        return NULL;
    }
    const struct link_local_entry *e = &q->entries[q->first];
    q->first = (q->first + 1) % depth;
    q->n--;
    q->n_done--;
    return e;
}

int link_local_poll_received(struct link_local *l, int32_t *tag, size_t *bytes)
{
    const struct link_local_entry *e = queue_pop(&l->receives, l->depth);
    if (e) {
        *tag = e->tag;
        *bytes = e->bytes;
    }
    return e != NULL;
}

int link_local_poll_sent(struct link_local *l, int32_t *tag)
{
    const struct link_local_entry *e = queue_pop(&l->sends, l->depth);
    if (e) {
        *tag = e->tag;
    }
    return e != NULL;
}
