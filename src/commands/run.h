/* llm run: one prompt, one answer. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_RUN_H
#define SRC_COMMANDS_RUN_H

#include "src/cluster/cluster.h"

/* argv[first..argc): the command's options. 0, or -1 with *err, the same on all ranks. Collective. */
int command_run(struct cluster *cluster, int argc, char **argv, int first, struct error *err);

#endif
