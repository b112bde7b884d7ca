/* `llm plan --boards`: what described boards could run, without having them. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_PLAN_PLAN_BOARDS_H
#define SRC_COMMANDS_PLAN_PLAN_BOARDS_H

#include <stdio.h>

#include "src/commands/job/job.h"

struct plan_boards_options {
    const char *names; /* "orin-nano-8,2xorin-nx-16": one pipeline in this order */
    const char *link;
    const struct job_options *job; /* model (NULL = the well-known ones), context, cache types, objective, mix */
    int json;
};

/* One line a model and mix of types: whether it fits, the longest context, the split, predicted tokens/s. */
int plan_boards(FILE *out, const struct plan_boards_options *options, struct error *err);

#endif
