/* llm bench: how fast a model is on these ranks, with llama-bench's habits. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_BENCH_BENCH_H
#define SRC_COMMANDS_BENCH_BENCH_H

#include "src/cluster/cluster.h"

/* argv[first..argc): the command's options. 0, or -1 with *err, the same on all ranks. Collective. */
int command_bench(struct cluster *cluster, int argc, char **argv, int first, struct error *err);

#endif
