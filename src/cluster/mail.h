/* Messages outside the ring, of any size, between any two ranks: what the divided head needs. SPDX-License-Identifier: MIT
 *
 * Non-blocking, polled by the main thread only. Letters of one sender arrive in the order of sending. Failures of the network are
 * fatal(). */
#ifndef SRC_CLUSTER_MAIL_H
#define SRC_CLUSTER_MAIL_H

#include "src/cluster/cluster.h"
#include "src/cluster/link_delay.h"

struct mail;

/* A message that has arrived; the receiver's until mail_release. */
struct mail_letter {
    int32_t from;
    size_t bytes;
    void *memory; /* 64-byte aligned */
};

/* Connects every rank with rank 0 and with the last one (set-up and its cost happen before the first token); no answer within 60
 * s is fatal(). Collective. */
int mail_init(struct mail **m, struct cluster *c, struct error *err);
/* Nothing may be on its way. NULL allowed. */
void mail_free(struct mail *m);

/* Starts sending. *n_pending goes up by one now, and down by one when the buffer is free again (seen by mail_poll). */
void mail_send(struct mail *m, int32_t to, const void *buffer, size_t bytes, int32_t *n_pending);
/* From now on letters count as arrived when a simulated network would have brought them; port: borrowed, the one of the link. */
void mail_set_delay(struct mail *m, struct link_delay *port);
/* clock_now_s() at which the next letter that came in will count as arrived; INFINITY when none waits for that. */
double mail_next_due_s(const struct mail *m);
/* The next letter, or NULL. Drives sends and receives. Never blocks. */
struct mail_letter *mail_poll(struct mail *m);
void mail_release(struct mail *m, struct mail_letter *letter);

uint64_t mail_bytes_sent(const struct mail *m);

#endif
