/* How fast a rank computes its part of a model: measured, or as a board's description says. Pure. SPDX-License-Identifier: MIT */
#ifndef SRC_PLAN_SPEED_H
#define SRC_PLAN_SPEED_H

#include <stdint.h>

enum { SPEED_POINTS = 16 };

/* Plain data: ranks send it to each other as it stands. Times in seconds. */
struct speed {
    int32_t n_points;             /* 0 = not known */
    int32_t rows[SPEED_POINTS];   /* rows of a step, ascending from 1 */
    double layer_s[SPEED_POINTS]; /* one layer of layer_bytes with so many rows, nothing cached before them */
    double tile_s[SPEED_POINTS];  /* VOCAB_TILE rows of the head with so many rows (at most HEAD_MAX_ROWS) */
    double layer_bytes;           /* what layer_s belongs to: other layers take longer by their bytes */
    double step_s;                /* once a step with layers */
    double head_step_s;           /* once a pass of the head */
    double pair_s, chunk_pair_s;  /* a row reads one earlier position, in one layer: single rows, chunks of a prompt */
    double sample_s;              /* rank 0: a token from its logits */
};

/* A step's layers: n_rows rows, each with `past` positions before it. */
struct speed_step {
    int32_t n_rows;
    double past;
    int chunk; /* 1: the rows are one sequence's prompt */
};
double speed_layers_s(const struct speed *s, uint64_t bytes, int32_t n_layers, const struct speed_step *step);
/* The head: n_vocab rows of the output matrix for n_rows rows. */
double speed_head_s(const struct speed *s, int32_t n_vocab, int32_t n_rows);

/* Ranks whose times differ by at most 5 % (for 1 row and for a chunk) count as alike: each then gets the figures of the first of
 * its kind, so that noise moves no layer. Returns 1 when all are alike. */
int speed_group(struct speed *speeds, int32_t n_ranks);

#endif
