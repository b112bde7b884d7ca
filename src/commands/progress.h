/* How far a batch is: a line that is drawn again and again on a terminal, else one now and then. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_PROGRESS_H
#define SRC_COMMANDS_PROGRESS_H

#include <stdint.h>
#include <stdio.h>

struct progress_counts {
    int64_t n_done, n_failed, n_total; /* requests; failed ones are done too; n_total -1 = not known yet */
    int64_t prompt_tokens, answer_tokens;
    const double *busy_s; /* [n_ranks] borrowed: how long each rank has computed */
    int32_t n_ranks;
    double working_s; /* how long there was something to do */
};

struct progress {
    int draws;     /* on a terminal */
    double last_s; /* when it was shown */
    int drawn;     /* the line is on the screen */
};
/* draws: whether a line may be drawn over and over. */
void progress_init(struct progress *p, int draws);
/* Shows the line when it is time to: five times a second on a terminal, else every 10 s. Nothing when the log is quiet. */
void progress_show(struct progress *p, const struct progress_counts *counts);
/* Takes the line off the screen. */
void progress_clear(struct progress *p);

/* The line, without a prefix: at most 74 characters. Returns text. */
const char *progress_line(const struct progress_counts *counts, char *text, size_t size);

#endif
