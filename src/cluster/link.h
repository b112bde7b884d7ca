/* Moves batches around the ring: the only code that sends them. SPDX-License-Identifier: MIT
 *
 * Non-blocking, polled by the main thread only. Each rank has `depth` receives posted and at most `depth` sends in progress, and
 * every batch comes home before a new one may leave rank 0, so no send can block. With one rank a sent message is copied into the
 * oldest posted receive's buffer. Misuse (more than `depth` at once, more than `capacity` bytes) and network failures are
 * fatal(). */
#ifndef SRC_CLUSTER_LINK_H
#define SRC_CLUSTER_LINK_H

#include "src/cluster/cluster.h"
#include "src/cluster/link_delay.h"

struct link;

/* Buffers of `capacity` bytes (at most INT_MAX) given to link_post_receive stay the caller's. Collective: the neighbours' first
 * messages are exchanged here (connection set-up and its cost happen before the first token); no answer within 60 s is fatal()
 * and names both hosts. */
int link_init(struct link **l, struct cluster *c, int32_t depth, size_t capacity, struct error *err);
/* Cancels posted receives. Every rank calls it, none waits for another. NULL allowed. */
void link_free(struct link *l);

/* Posts a receive from the previous rank into buffer; `tag` is given back when it completes. Completion is in the order of
 * posting. */
void link_post_receive(struct link *l, void *buffer, int32_t tag);
/* Starts sending n bytes to the next rank; the buffer is the link's until link_poll_sent gives its tag back. */
void link_send(struct link *l, const void *buffer, size_t bytes, int32_t tag);

/* From now on messages count as received when a simulated network would have brought them; port: borrowed, this rank's. With one
 * rank there is no network. */
void link_set_delay(struct link *l, struct link_delay *port);
/* clock_now_s() at which the next message that came in will count as received; INFINITY when none waits for that. */
double link_next_due_s(const struct link *l);

/* 1 and *tag, *bytes when the oldest posted receive has completed, else 0. Drives MPI's progress. Never blocks. */
int link_poll_received(struct link *l, int32_t *tag, size_t *bytes);
/* 1 and *tag when the oldest send has completed, else 0. */
int link_poll_sent(struct link *l, int32_t *tag);

struct link_counters {
    uint64_t bytes_sent, messages_sent;
};
void link_get_counters(const struct link *l, struct link_counters *out);

#endif
