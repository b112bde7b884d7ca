/* Learns what every rank can do and divides the model accordingly. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_JOB_DIVIDE_H
#define SRC_COMMANDS_JOB_DIVIDE_H

#include "src/commands/job/job.h"

/* job->memory and, where limit_s > 0, job->speeds and job->links: a measurement may take limit_s seconds; large: RING_QUICK or
 * RING_EXACT. job: with its thread pool. Collective. */
int divide_measure(struct job *job, double limit_s, int large, struct error *err);

/* What --split, -ctk, -ctv, --objective, --split-head and --mix say to plan_make; the rest is zeroed. */
struct plan_options divide_by_options(const struct job_options *o);
/* What the job's options and measurements say to plan_make; pointers are the job's. */
struct plan_options divide_options(const struct job *job);

/* job->plan: rank 0 divides, everybody gets the same. Collective. */
int divide_plan(struct job *job, struct error *err);

/* What a batch costs the slowest rank by the measured speeds; zeroed when they were not measured. */
struct batch_cost divide_cost(const struct job *job);
/* The slowest way between two ranks for a batch, as it was measured; zeroes when it was not. */
struct batch_way divide_way(const struct job *job);

/* One line on what the division promises and what would be better, for stderr; nothing when speeds were not measured. */
void divide_log_verdict(const struct job *job);

#endif
