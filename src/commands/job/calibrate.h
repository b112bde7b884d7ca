/* Measures how fast each rank computes the model at hand, or remembers it. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_JOB_CALIBRATE_H
#define SRC_COMMANDS_JOB_CALIBRATE_H

#include "src/commands/job/job.h"

/* Seconds that measuring may take: before a run, where somebody waits for the first token; for a plan. */
#define CALIBRATE_RUN_S  0.25
#define CALIBRATE_PLAN_S 1.5

/* Every rank's speed into speeds[size], the same on all ranks. job: opened, with its thread pool. Ranks of one machine that work
 * alike share one measurement; a cached one is used unless --calibrate asks for a new one. The timed steps are those of a run:
 * the layers that the rank will probably own, through a backend of its own that is gone afterwards. Collective. */
int calibrate(struct job *job, double limit_s, struct speed *speeds, struct error *err);

/* All that a measurement depends on, one line: program, model's shape and types, how the rank computes, the machine's mode. */
void calibrate_key(const struct job *job, char *key, size_t size);

#endif
