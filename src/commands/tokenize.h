/* llm tokenize: exactly the ids that `run` would feed. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_TOKENIZE_H
#define SRC_COMMANDS_TOKENIZE_H

#include "src/cluster/cluster.h"

/* argv[first..argc): the command's options. Rank 0 works, the others agree. Collective. */
int command_tokenize(struct cluster *cluster, int argc, char **argv, int first, struct error *err);

#endif
