/* Loads every rank's slice and shows how far each is. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_JOB_LOADING_H
#define SRC_COMMANDS_JOB_LOADING_H

#include "src/commands/job/job.h"

/* Loads job->slice on a thread of its own, while the ranks tell each other how far they are; rank 0 draws a bar for each when
 * stderr (its own, or that of the mpirun that started it) is a terminal and it takes long enough to be seen. Returns this rank's
 * status. Collective. */
int loading_run(struct job *job, struct error *err);

#endif
