/* `llm plan`: who would get which layers, what that promises, and what would be better. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_PLAN_PLAN_COMMAND_H
#define SRC_COMMANDS_PLAN_PLAN_COMMAND_H

#include "src/cluster/cluster.h"

/* Collective. */
int command_plan(struct cluster *cluster, int argc, char **argv, int first, struct error *err);

#endif
