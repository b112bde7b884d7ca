/* Memory of this machine and process, as Linux tells it. SPDX-License-Identifier: MIT
 *
 * Private to src/cluster/; others use topology_memory_available(). */
#ifndef SRC_CLUSTER_MACHINE_MEMORY_H
#define SRC_CLUSTER_MACHINE_MEMORY_H

#include <stdint.h>

/* Bytes that may still be taken: the least of MemAvailable and, for the process's control group (version 1 or 2) and each group
 * above it, limit minus use, where file cache counts as free. `root` goes before /proc and /sys ("" = this machine); UINT64_MAX
 * when nothing is known. */
uint64_t machine_memory_available(const char *root);

#endif
