/* `llm plan` for people and for programs. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_PLAN_PLAN_PRINT_H
#define SRC_COMMANDS_PLAN_PLAN_PRINT_H

#include <stdio.h>

#include "src/commands/job/job.h"
#include "src/plan/outlook.h"

struct plan_page {
    const struct job *job; /* with its plan */
    const struct outlook_input *in;
    const struct outlook_ways *ways;
};
int plan_print(FILE *out, const struct plan_page *page, struct error *err);
/* {"model","context","objective","split_head","alike","ranks":[...],"predicted":{"split","equal","one","pipelines"},"verdict"} */
int plan_print_json(FILE *out, const struct plan_page *page, struct error *err);

#endif
