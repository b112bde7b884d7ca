/* The scheduler's line in the summary of a batch. SPDX-License-Identifier: MIT */
#include "src/commands/batch/batch_stats.h"

#include "tests/check.h"

int main(void)
{
    char text[BATCH_STATS_BYTES];
    struct scheduler_stats s = {.n_batches = 40, .answer_rows = 300, .prompt_rows = 200};
    batch_stats_text(&s, text);
    CHECK_TEXT(text, "batches  40 of 12.5 rows");
    s.shared_rows = 640;
    s.n_preemptions = 1;
    batch_stats_text(&s, text);
    CHECK_TEXT(text, "batches  40 of 12.5 rows, 640 prompt tokens shared, 1 preempted");
    s = (struct scheduler_stats){.n_batches = 999999, .answer_rows = 99999900, .shared_rows = 9999999, .n_preemptions = 999};
    batch_stats_text(&s, text);
    CHECK_THAT(strlen(text) < 80 - strlen("llm: "), "%zu columns: %s", strlen(text), text);
    s = (struct scheduler_stats){0};
    batch_stats_text(&s, text);
    CHECK_TEXT(text, "");
    return check_result();
}
