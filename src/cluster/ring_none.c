/* Without MPI there is one rank and no link. SPDX-License-Identifier: MIT */
#include <string.h>

#include "src/cluster/ring.h"

void ring_measure(struct cluster *c, int large, struct ring_link *all)
{
    (void)large;
    memset(all, 0, (size_t)c->size * sizeof *all);
}
