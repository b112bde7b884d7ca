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
 * on Ethernet. all: [size], rank 0's link first. with_rate 0: short messages only, bytes_per_s stays 0. Collective. */
void ring_measure(struct cluster *c, int with_rate, struct ring_link *all);

#endif
