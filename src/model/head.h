/* The end of the model: final norm and output matrix, or some of its rows. SPDX-License-Identifier: MIT */
#ifndef SRC_MODEL_HEAD_H
#define SRC_MODEL_HEAD_H

#include "src/model/slice.h"

/* Rows of logits that are computed at a time: bounds the memory for large vocabularies. */
enum { HEAD_MAX_ROWS = 32 };

/* The head is divided at whole tiles of vocabulary rows. */
enum { VOCAB_TILE = 1024 };

struct head {
    struct backend *backend;           /* borrowed */
    const struct model_config *config; /* borrowed */
    const struct slice *slice;         /* borrowed */
    int32_t n_vocab;                   /* rows that the slice owns */
    struct backend_act *normed;        /* [.., dim] */
    float *hidden;                     /* [HEAD_MAX_ROWS, dim] backend memory */
    float *logits;                     /* [HEAD_MAX_ROWS, n_vocab] backend memory */
    float *host;                       /* [HEAD_MAX_ROWS, n_vocab] owned */
};
int head_init(struct head *h, const struct model_config *config, const struct slice *slice, struct backend *backend,
              struct error *err);
void head_free(struct head *h);

/* Logits of n <= HEAD_MAX_ROWS rows of hidden [n, dim]; the result is valid until the next call, [n, n_vocab]. Waits. */
const float *head_forward(struct head *h, const float *hidden, int32_t n);

#endif
