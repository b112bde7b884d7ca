/* How fast the ring's links are. SPDX-License-Identifier: MIT */
#ifndef SRC_CLUSTER_RING_H
#define SRC_CLUSTER_RING_H

#include "src/cluster/cluster.h"

/* The way from a rank to the next one. */
struct ring_link {
    double latency_s;   /* of a small message, one way */
    double bytes_per_s; /* of a long one */
};

/* Plays ping-pong over every link, neighbours' pairs one after the other so that none disturbs another: some milliseconds a link
 * on Ethernet. all: [size], rank 0's link first. large: bytes of the long messages, RING_QUICK or RING_EXACT. Zeroes with one
 * rank. Collective. */
enum { RING_QUICK = 1 << 16, RING_EXACT = 1 << 20 };
void ring_measure(struct cluster *c, int large, struct ring_link *all);

#endif
