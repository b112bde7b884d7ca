/* llm batch: answers many requests from a file or a pipe. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_BATCH_BATCH_H
#define SRC_COMMANDS_BATCH_BATCH_H

#include "src/cluster/cluster.h"

/* Collective. 130 when a signal ended the job early. */
int command_batch(struct cluster *cluster, int argc, char **argv, int first, struct error *err);

#endif
