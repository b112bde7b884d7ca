/* Cores of this node, by hwloc, and who of the node's ranks uses which. SPDX-License-Identifier: MIT */
#ifndef SRC_CLUSTER_TOPOLOGY_H
#define SRC_CLUSTER_TOPOLOGY_H

#include <stdint.h>

#include "src/core/error.h"

struct topology; /* owns the hwloc topology */

/* Reads the machine (HWLOC_SYNTHETIC and HWLOC_XMLFILE are respected by hwloc itself, for tests). */
int topology_init(struct topology **t, struct error *err);
void topology_free(struct topology *t);

/* Cores that this job may use on this node: allowed by cgroup and affinity as the launcher gave them to the node's ranks together. mpirun's default binding of one
 * core a rank is widened back to the cores the node's ranks share: pass bound_by_launcher = 1 to keep the binding instead (user asked with --bind-to ...). */
int32_t topology_n_cores(const struct topology *t);

/* Plan: local_size ranks share the node's cores evenly and contiguously; n_threads <= 0 = one thread a core of the rank's share (at least 1).
 * Fills *n_threads. Threads beyond the share's cores wrap around within it. */
void topology_plan(struct topology *t, int32_t local_rank, int32_t local_size, int32_t *n_threads);

/* Binds the calling thread as compute thread `thread` of the plan; or, with thread = -1, lets it run anywhere in the rank's share (the main thread).
 * Failure is not an error: the thread stays where it is. Binds nothing when ranks outnumber cores. */
void topology_bind(const struct topology *t, int32_t thread);

/* Memory that may still be taken: min(MemAvailable, cgroup limit minus use). Bytes. */
uint64_t topology_memory_available(void);
/* Largest resident set so far of this process, bytes. */
uint64_t topology_peak_rss(void);

#endif
