/* Names a rank of this machine that died without a word (killed, out of memory). SPDX-License-Identifier: MIT
 *
 * mpirun -q does not name it; but it sends a SIGTERM to the others before it ends them. */
#ifndef SRC_CLUSTER_OBITUARY_H
#define SRC_CLUSTER_OBITUARY_H

#include <sys/types.h>

#include "src/cluster/cluster.h"

/* pids: [size], those of other machines are not looked at. Out of memory: nobody will be named. */
void obituary_init(const struct cluster *c, const pid_t *pids);
void obituary_free(void);

/* For the handler of SIGTERM, while no rank ends by itself: the lowest rank of this machine that lives writes a line on stderr
 * for each that does not. Calls only what a signal handler may. */
void obituary_tell(void);

#endif
