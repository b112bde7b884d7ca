/* The line that says how far a batch is. SPDX-License-Identifier: MIT */
#include "src/commands/progress.h"

#include "tests/check.h"

static void check_line(struct progress_counts counts, const char *expected)
{
    char text[200];
    CHECK_TEXT(progress_line(&counts, text, sizeof text), expected);
}

int main(void)
{
    static const double busy_s[] = {9.5, 5, 20, 2.5, 1};
    struct progress_counts c = {.n_done = 3, .n_total = 12, .prompt_tokens = 1000, .answer_tokens = 55, .working_s = 10};
    c.busy_s = busy_s;
    c.n_ranks = 1;
    check_line(c, "[##........] 3/12  100 + 6 tok/s  eta 0:30  busy 95 %");
    c.n_ranks = 4;
    c.n_failed = 1;
    check_line(c, "[##........] 3/12 (1 failed)  100 + 6 tok/s  eta 0:30  busy 95 50 100 25 %");
    c.n_failed = 0;
    c.n_ranks = 5;
    check_line(c, "[##........] 3/12  100 + 6 tok/s  eta 0:30  busy 10-100 %");
    c.n_total = 3;
    check_line(c, "[##########] 3/3  100 + 6 tok/s  busy 10-100 %");
    c.n_total = 3000000;
    c.n_ranks = 1;
    check_line(c, "[..........] 3/3000000  100 + 6 tok/s  eta 2777:46:30  busy 95 %");
    c.n_total = -1;
    check_line(c, "3 done  100 + 6 tok/s  busy 95 %");
    check_line((struct progress_counts){.n_total = -1}, "0 done  busy %");
    return check_result();
}
