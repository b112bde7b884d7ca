/* What decides how fast this machine computes right now: model, clocks, power mode. SPDX-License-Identifier: MIT */
#ifndef SRC_CLUSTER_MACHINE_MODE_H
#define SRC_CLUSTER_MACHINE_MODE_H

#include <stddef.h>

/* One line, "cpu ...; board ...; governor ...; cpus ...; power mode ...; gpu ...", of what Linux and L4T tell without root:
 * /proc/cpuinfo, /proc/device-tree/model, cpufreq's governor and maximum, the processors that are on, nvpmodel's status, limits
 * of GPU clocks. What is not there is left out. `root` goes before the paths ("" = this machine). */
void machine_mode_text(const char *root, char *text, size_t size);

#endif
