/* SPDX-License-Identifier: MIT */
#include "src/commands/batch/batch_stats.h"

#include <stdio.h>
#include <string.h>

static void add(char text[BATCH_STATS_BYTES], uint64_t n, const char *what)
{
    size_t used = strlen(text);
    if (n > 0) {
        snprintf(text + used, BATCH_STATS_BYTES - used, ", %llu %s", (unsigned long long)n, what);
    }
}

void batch_stats_text(const struct scheduler_stats *s, char text[BATCH_STATS_BYTES])
{
    text[0] = 0;
    if (s->n_batches == 0) {
        return;
    }
    snprintf(text, BATCH_STATS_BYTES, "batches  %llu of %.1f rows", (unsigned long long)s->n_batches,
             (double)(s->answer_rows + s->prompt_rows) / (double)s->n_batches);
    add(text, s->shared_rows, "prompt tokens shared");
    add(text, s->n_preemptions, "preempted");
}
