/* What the scheduler did, in a line. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_BATCH_BATCH_STATS_H
#define SRC_COMMANDS_BATCH_BATCH_STATS_H

#include "src/engine/scheduler.h"

enum { BATCH_STATS_BYTES = 160 };

/* "batches  40 of 12.5 rows, 640 prompt tokens shared, 3 preempted": only what is not zero; empty without a batch. */
void batch_stats_text(const struct scheduler_stats *stats, char text[BATCH_STATS_BYTES]);

#endif
