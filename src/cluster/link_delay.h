/* A network that is simulated where messages arrive: when one would have been there. SPDX-License-Identifier: MIT
 *
 * One for each incoming network port of a rank, shared by everything that receives through it. Pure: the caller brings the time.
 */
#ifndef SRC_CLUSTER_LINK_DELAY_H
#define SRC_CLUSTER_LINK_DELAY_H

#include <stddef.h>

struct link_delay {
    double latency_s, bytes_per_s; /* bytes_per_s 0 = no delay */
    double busy_until_s;           /* the wire carries earlier messages until then */
};
void link_delay_init(struct link_delay *d, double latency_s, double bytes_per_s);

/* A message of so many bytes came in at arrival_s (seconds of any one clock, not decreasing): when it counts as received.
 * Messages follow each other on the wire; the latency of one overlaps with the bytes of the next. */
double link_delay_due_s(struct link_delay *d, double arrival_s, size_t bytes);

#endif
