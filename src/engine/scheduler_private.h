/* What the scheduler's files share. SPDX-License-Identifier: MIT */
#ifndef SRC_ENGINE_SCHEDULER_PRIVATE_H
#define SRC_ENGINE_SCHEDULER_PRIVATE_H

#include "src/engine/scheduler.h"

/* -- scheduler.c -- */

/* Takes the sequence out of the list that its place names and puts it where `place` says (SEQUENCE_FLIES: in none). */
void scheduler_move(struct scheduler *s, struct sequence *q, enum sequence_place place);
/* Sequences that came home become ready; those that have stopped give back what they hold. */
void scheduler_settle(struct scheduler *s);

/* -- scheduler_pages.c: who holds slots and pages -- */

/* Gives slots to sequences that wait, as far as their prompts fit. */
void scheduler_admit(struct scheduler *s);
/* Slot and pages are free again; nothing of the sequence may be in flight. */
void scheduler_release(struct scheduler *s, struct sequence *q);
/* One more page, a younger sequence's if need be. 0 = not now (or never: it has stopped). */
int scheduler_take_page(struct scheduler *s, struct sequence *q);
/* The sequence that lacks a page gets the first one there is. */
void scheduler_serve_lacking(struct scheduler *s);
enum scheduler_share {
    SCHEDULER_SHARE_DONE, /* nobody has what comes next */
    SCHEDULER_SHARE_SOON, /* the batch that is being made computes it */
    SCHEDULER_SHARE_FULL  /* n_untold was reached */
};
/* Pages that hold what comes next in the sequence's prompt are held by it too, until its table has n_untold entries that no batch
 * has carried. */
enum scheduler_share scheduler_share(struct scheduler *s, struct sequence *q, int32_t n_untold);
/* Pages that the batch being made fills can be found from now on. */
void scheduler_publish(struct scheduler *s, struct sequence *q);

#endif
