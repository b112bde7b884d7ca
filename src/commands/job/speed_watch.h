/* Compares what ranks take for batches with the speeds that the division was made by. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_JOB_SPEED_WATCH_H
#define SRC_COMMANDS_JOB_SPEED_WATCH_H

#include "src/engine/batch.h"
#include "src/plan/drift.h"
#include "src/plan/predict.h"

struct job;

/* Rank 0's. Zeroed is valid. */
struct speed_watch {
    struct predict_rank *ranks; /* [size] owned */
    struct drift *drifts;       /* [size] owned */
};

/* A batch that has come home. Nothing without measured speeds. */
void speed_watch_add(struct job *job, const struct batch *batch);
/* One line on stderr when a rank was clearly slower or faster than it was measured, unless it was measured for this job. */
void speed_watch_report(const struct job *job);
void speed_watch_free(struct speed_watch *w);

#endif
