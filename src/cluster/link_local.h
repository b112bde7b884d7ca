/* The ring of one rank: what is sent is received at once. SPDX-License-Identifier: MIT
 *
 * Private to src/cluster/. The functions mirror link.h. */
#ifndef SRC_CLUSTER_LINK_LOCAL_H
#define SRC_CLUSTER_LINK_LOCAL_H

#include <stddef.h>
#include <stdint.h>

struct link_local_entry {
    void *receive;    /* a posted receive's buffer, borrowed */
    const void *send; /* a send's data, borrowed */
    size_t bytes;
    int32_t tag;
};

/* Entries [first, first + n) of a circle of `depth`; the first n_done of them have met their counterpart. */
struct link_local_queue {
    struct link_local_entry *entries; /* [depth] owned */
    int32_t first, n, n_done;
};

struct link_local {
    struct link_local_queue receives, sends;
    int32_t depth;
    size_t capacity;
};

/* -1 when there is no memory. */
int link_local_init(struct link_local *l, int32_t depth, size_t capacity);
void link_local_free(struct link_local *l);
void link_local_post_receive(struct link_local *l, void *buffer, int32_t tag);
void link_local_send(struct link_local *l, const void *buffer, size_t bytes, int32_t tag);
int link_local_poll_received(struct link_local *l, int32_t *tag, size_t *bytes);
int link_local_poll_sent(struct link_local *l, int32_t *tag);

#endif
