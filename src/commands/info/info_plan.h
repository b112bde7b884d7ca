/* The part of `llm info` that says whether and how a file would run: memory, and what each rank would own.
 * SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_INFO_INFO_PLAN_H
#define SRC_COMMANDS_INFO_INFO_PLAN_H

#include <jansson.h>
#include <stdio.h>

#include "src/plan/plan.h"

/* Either a division, or the one line that says why there is none (no model, unknown architecture, too many ranks). */
struct info_plan {
    struct plan_options options;
    struct plan_rank *ranks; /* [options.n_ranks] owned; NULL when the file cannot be run so */
    struct error why;
};

/* n_ctx 0 = min(model's, 4096). -1 with *err only when out of memory. */
int info_plan_init(struct info_plan *plan, const struct gguf *file, const struct plan_options *options, struct error *err);
void info_plan_free(struct info_plan *plan);

void info_plan_print(FILE *out, const struct info_plan *plan);
/* {"context":, "split":"bytes" or "given", "ranks":[{"rank":,"layers":[,],"head":,"weight_bytes":,"kv_bytes":,"buffer_bytes":}]}
 * or {"error":}. NULL when out of memory. */
json_t *info_plan_json(const struct info_plan *plan);

#endif
