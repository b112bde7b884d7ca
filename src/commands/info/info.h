/* llm info: what is in a GGUF file. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_INFO_INFO_H
#define SRC_COMMANDS_INFO_INFO_H

#include "src/cluster/cluster.h"

/* argv[first..argc): the command's options. Rank 0 works, the others agree. Collective. */
int command_info(struct cluster *cluster, int argc, char **argv, int first, struct error *err);

#endif
