/* The end of the model: the output matrix, or some of its rows, behind the final norm. SPDX-License-Identifier: MIT */
#ifndef SRC_MODEL_HEAD_H
#define SRC_MODEL_HEAD_H

#include "src/model/slice.h"

/* Rows of logits that are computed at a time: bounds the memory for large vocabularies. */
enum { HEAD_MAX_ROWS = 32 };

/* The head is divided at whole tiles of vocabulary rows. */
enum { VOCAB_TILE = 1024 };

/* What travels to the head, a row: where the output matrix is quantised, the last rank's segment norms the hidden and packs it as
 * the matrix wants it (backend_act_row_bytes: a quarter of the bytes, the same logits); else hidden as it is, dim floats. */
int head_takes_packed(enum dtype head_type);
size_t head_row_bytes(enum dtype head_type, int32_t dim);

struct head {
    struct backend *backend;           /* borrowed */
    const struct model_config *config; /* borrowed */
    const struct slice *slice;         /* borrowed */
    int32_t n_vocab;                   /* rows that the slice owns */
    struct backend_act *normed;        /* [.., dim] */
    float *hidden;                     /* [HEAD_MAX_ROWS, dim] backend memory; NULL = rows come packed */
    float *logits;                     /* [HEAD_MAX_ROWS, n_vocab] backend memory */
    float *host;                       /* [HEAD_MAX_ROWS, n_vocab] owned */
};
int head_init(struct head *h, const struct model_config *config, const struct slice *slice, struct backend *backend,
              struct error *err);
void head_free(struct head *h);

/* Logits of n <= HEAD_MAX_ROWS rows [n, head_row_bytes]; the result is valid until the next call, [n, n_vocab]. Waits. */
const float *head_forward(struct head *h, const void *rows, int32_t n);

#endif
