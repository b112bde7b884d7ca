/* Cores of this node, by hwloc, and who of the node's ranks uses which. SPDX-License-Identifier: MIT */
#ifndef SRC_CLUSTER_TOPOLOGY_H
#define SRC_CLUSTER_TOPOLOGY_H

#include <stddef.h>
#include <stdint.h>

#include "src/core/error.h"

struct topology; /* owns the hwloc topology */

/* Reads the machine (HWLOC_SYNTHETIC and HWLOC_XMLFILE are respected by hwloc itself, for tests). */
int topology_init(struct topology **t, struct error *err);
void topology_free(struct topology *t);

/* Cores that this rank may use. The rule:
 * - node = what the control group allows and the affinity of the launcher (the nearest mpirun, orted, prted or slurmstepd above
 *   this process) does not exclude: `taskset -c 0-3 mpirun ...` and Slurm's allocations count;
 * - rank = node, when Open MPI bound this rank without being asked: by default it binds a rank to one core, or to a socket;
 * - rank = node and the affinity this process began with, in every other case: srun --cpus-per-task, taskset, mpirun with
 *   --bind-to, --cpu-set or --rankfile (seen by the variables mpirun sets for them). A taskset between mpirun and the program
 *   needs --bind-to none to be seen.
 *
 * Ranks whose launcher gave each its own cores do not divide these any further: the plan infers from n(rank) / n(node) how many
 * ranks share. */
int32_t topology_n_cores(const struct topology *t);

/* Plan: local_size ranks share the node's cores evenly and contiguously; n_threads <= 0 = one thread a core of the rank's share
 * (at least 1). Fills *n_threads. Threads beyond the share's cores wrap around within it. */
void topology_plan(struct topology *t, int32_t local_rank, int32_t local_size, int32_t *n_threads);

/* Binds the calling thread as compute thread `thread` of the plan; or, with thread = -1, lets it run anywhere in the rank's share
 * (the main thread). Failure is not an error: the thread stays where it is. Binds nothing when ranks outnumber cores. */
void topology_bind(const struct topology *t, int32_t thread);

/* Writes the processing units of thread `thread` of the plan (-1: of the rank's share) as a list, "0-2,5". 0, or -1 without
 * memory. */
int topology_place_text(const struct topology *t, int32_t thread, char *text, size_t size);

/* Memory that may still be taken: min(MemAvailable, cgroup limit minus use), bytes. File cache counts as free. */
uint64_t topology_memory_available(void);
/* Largest resident set so far of this process, bytes. */
uint64_t topology_peak_rss(void);

#endif
