/* SPDX-License-Identifier: MIT */
#include "src/cluster/link_delay.h"

void link_delay_init(struct link_delay *d, double latency_s, double bytes_per_s)
{
    *d = (struct link_delay){.latency_s = latency_s, .bytes_per_s = bytes_per_s};
}

double link_delay_due_s(struct link_delay *d, double arrival_s, size_t bytes)
{
    if (d->bytes_per_s <= 0) {
        return arrival_s;
    }
    double begin_s = arrival_s > d->busy_until_s ? arrival_s : d->busy_until_s;
    d->busy_until_s = begin_s + (double)bytes / d->bytes_per_s;
    return d->busy_until_s + d->latency_s;
}
