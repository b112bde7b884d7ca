/* SPDX-License-Identifier: MIT */
#include "src/plan/speed.h"

#include <math.h>

#include "src/model/head.h"

static const double ALIKE = 0.05;

/* Between the measured numbers of rows in a straight line, beyond them along the last one. */
static double interpolate(const struct speed *s, const double *times, double rows)
{
    if (s->n_points < 2) {
        return s->n_points ? times[0] * rows / s->rows[0] : 0;
    }
    int32_t i = 1;
    while (i < s->n_points - 1 && rows > s->rows[i]) {
        i++;
    }
    double slope = (times[i] - times[i - 1]) / (s->rows[i] - s->rows[i - 1]);
    return times[i - 1] + (rows - s->rows[i - 1]) * fmax(slope, 0);
}

double speed_layers_s(const struct speed *s, uint64_t bytes, int32_t n_layers, const struct speed_step *step)
{
    if (n_layers == 0 || step->n_rows == 0) {
        return 0;
    }
    double pairs = step->n_rows * (step->past + (step->chunk ? (step->n_rows - 1) / 2.0 : 0));
    return s->step_s + interpolate(s, s->layer_s, step->n_rows) * (double)bytes / s->layer_bytes +
           n_layers * pairs * (step->chunk ? s->chunk_pair_s : s->pair_s);
}

double speed_head_s(const struct speed *s, int32_t n_vocab, int32_t n_rows)
{
    double sum = 0, tiles = (double)n_vocab / VOCAB_TILE;
    for (int32_t left = n_vocab > 0 ? n_rows : 0; left > 0; left -= HEAD_MAX_ROWS) {
        sum += s->head_step_s + tiles * interpolate(s, s->tile_s, left < HEAD_MAX_ROWS ? left : HEAD_MAX_ROWS);
    }
    return sum;
}

static int close_to(double a, double b)
{
    return fabs(a - b) <= ALIKE * fmin(a, b);
}

static int alike(const struct speed *a, const struct speed *b)
{
    double rows = fmin(a->rows[a->n_points - 1], b->rows[b->n_points - 1]);
    return a->n_points > 0 && b->n_points > 0 &&
           close_to(interpolate(a, a->layer_s, 1) / a->layer_bytes, interpolate(b, b->layer_s, 1) / b->layer_bytes) &&
           close_to(interpolate(a, a->layer_s, rows) / a->layer_bytes, interpolate(b, b->layer_s, rows) / b->layer_bytes) &&
           close_to(interpolate(a, a->tile_s, 1), interpolate(b, b->tile_s, 1));
}

int speed_group(struct speed *speeds, int32_t n_ranks)
{
    int all = 1;
    for (int32_t i = 1; i < n_ranks; i++) {
        int32_t first = 0;
        while (first < i && !alike(&speeds[first], &speeds[i])) {
            first++;
        }
        if (first < i) {
            speeds[i] = speeds[first];
        }
        all = all && first == 0;
    }
    return all;
}
