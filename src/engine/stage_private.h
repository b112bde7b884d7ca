/* What the files of the stage share. SPDX-License-Identifier: MIT
 *
 * stage.c is the main thread, stage_compute.c the compute thread, stage_head.c the divided head on the main thread. */
#ifndef SRC_ENGINE_STAGE_PRIVATE_H
#define SRC_ENGINE_STAGE_PRIVATE_H

#include "src/engine/stage.h"

enum stage_job {
    JOB_FORWARD, /* the batch's rows through this stage's layers */
    JOB_HEAD     /* the hidden that is wanted through this stage's part of the head */
};

/* A batch buffer and where it is on its way through this rank. */
struct stage_entry {
    struct batch batch;
    double entered_s; /* received, or submitted on rank 0 */
    enum stage_job job;
    int32_t index;
    /* A buffer is free again when nothing holds it: */
    int leaving;       /* it has been sent on */
    int sending;       /* the ring's send is not complete (a part of the head: its answer's) */
    int32_t n_letters; /* letters under way out of it */
    int viewed;        /* the last rank's own part of the head reads it */

    /* The divided head: this rank's answer to the batch. */
    struct answer_header *answer; /* owned */
    size_t answer_bytes, answer_capacity;
    int32_t need_at;            /* word of the needs where the next row's begins */
    struct mail_letter *letter; /* whose memory `batch` views; NULL = that of `origin`, or its own */
    struct stage_entry *origin;
    struct stage_entry *next; /* rank 0: home, in order */
};

/* Front of an owner's answer; its rows' answers (shortlist.h) follow. */
struct answer_header {
    uint64_t number; /* of the batch */
    double busy_s;   /* computing the answer */
};

/* -- stage_compute.c -- */

void *stage_compute_main(void *stage);

/* -- stage_head.c: all on the main thread -- */

int stage_head_init(struct stage *stage, struct error *err);
void stage_head_free(struct stage *stage);
/* The last rank's batch is through its layers: its wanted hidden goes to every owner of vocabulary rows but rank 0. */
void stage_head_spread(struct stage *stage, struct stage_entry *entry);
/* The compute thread has finished this rank's part. */
void stage_head_answered(struct stage *stage, struct stage_entry *entry);
/* Takes letters, frees what was sent. Rank 0: *finished = the oldest batch at home when all parts of the head are there. 1 when
 * anything moved. */
int stage_head_pump(struct stage *stage, struct stage_entry **finished);

/* -- stage.c -- */

void stage_hand_over(struct stage *stage, struct queue *queue, struct stage_entry *entry);

#endif
