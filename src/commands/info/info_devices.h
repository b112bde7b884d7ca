/* llm info --devices: what each rank of the job could compute with. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_INFO_INFO_DEVICES_H
#define SRC_COMMANDS_INFO_INFO_DEVICES_H

#include <stdio.h>

#include "src/cluster/cluster.h"

/* For each rank its host, processor, memory and GPUs, or why there is none to be used. Printed by rank 0. Collective. */
int info_devices(struct cluster *cluster, FILE *out, struct error *err);

#endif
