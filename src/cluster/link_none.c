/* The link of a program built without MPI: one rank. SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>

#include "src/cluster/link.h"
#include "src/cluster/link_local.h"

struct link {
    struct link_local local;
    struct link_counters counters;
};

int link_init(struct link **out, struct cluster *c, int32_t depth, size_t capacity, struct error *err)
{
    (void)c;
    struct link *l = calloc(1, sizeof *l);
    *out = l;
    if (!l || link_local_init(&l->local, depth, capacity)) {
        free(l);
        *out = NULL;
        return error_set(err, "no memory for %d messages in flight", depth);
    }
    return 0;
}

void link_free(struct link *l)
{
    if (l) {
        link_local_free(&l->local);
        free(l);
    }
}

void link_post_receive(struct link *l, void *buffer, int32_t tag)
{
    link_local_post_receive(&l->local, buffer, tag);
}

void link_send(struct link *l, const void *buffer, size_t bytes, int32_t tag)
{
    l->counters.bytes_sent += bytes;
    l->counters.messages_sent++;
    link_local_send(&l->local, buffer, bytes, tag);
}

void link_set_delay(struct link *l, struct link_delay *port)
{
    (void)l;
    (void)port;
}

double link_next_due_s(const struct link *l)
{
    (void)l;
    return INFINITY;
}

int link_poll_received(struct link *l, int32_t *tag, size_t *bytes)
{
    return link_local_poll_received(&l->local, tag, bytes);
}

int link_poll_sent(struct link *l, int32_t *tag)
{
    return link_local_poll_sent(&l->local, tag);
}

void link_get_counters(const struct link *l, struct link_counters *out)
{
    *out = l->counters;
}
