/* The part of a row's logits that the sampler needs: what an owner of some vocabulary rows sends home. SPDX-License-Identifier:
 * MIT
 *
 * The head may be divided among ranks by vocabulary rows. Rank 0 says what it needs of a row (need), each owner answers for its
 * own rows (one answer = one run of words in a message), and rank 0 puts the answers together (shortlist). Sampling from a
 * shortlist gives the same token, bit for bit, as sampling from all logits. */
#ifndef SRC_ENGINE_SHORTLIST_H
#define SRC_ENGINE_SHORTLIST_H

#include <stddef.h>
#include <stdint.h>

#include "src/core/error.h"
#include "src/model/head.h"

enum {
    SHORTLIST_MAX_BEST = 256,   /* more than that: every logit travels */
    SHORTLIST_MAX_LISTED = 256, /* the same */
    SHORTLIST_TILE =
        VOCAB_TILE /* vocabulary rows whose exponentials are summed together, at absolute places: no owner cuts one */
};

/* What the sampler needs of one row. */
struct logit_need {
    int32_t n_best;   /* most likely tokens; -1 = every logit */
    int32_t sums;     /* 1: sums of exponentials, for log-probabilities */
    int32_t n_listed; /* tokens whose logits are needed wherever they stand (biased and penalised ones) */
};

/* Largest logit of a tile, and the sum of exp(logit - largest) in the order of ids. */
struct tile_sum {
    double sum;
    double largest;
};
/* first: of the tile's ids; n <= SHORTLIST_TILE logits. */
struct tile_sum tile_sum_make(const float *logits, int32_t n);
/* log(sum(exp(logit))) over all tiles, added in their order; -infinity when every logit is. */
double tile_sum_log(const struct tile_sum *tiles, int32_t n_tiles);

struct listed_logit {
    int32_t id;
    float logit;
};

/* One row's needed logits, over the whole vocabulary. */
struct shortlist {
    int32_t n_best, n_listed, n_tiles;
    uint64_t *best;              /* [n_best] owned: keys (logit_key.h), in no order, listed ones among them */
    struct listed_logit *listed; /* [n_listed] owned */
    struct tile_sum *tiles;      /* [n_tiles] owned: in order of ids; none when no sums were asked for */
    float *logits;               /* [n_vocab] owned: every logit, when n_best of the need was -1 */
    int32_t n_owners, n_vocab;   /* capacity: answers that can be taken */
};
int shortlist_init(struct shortlist *s, int32_t n_vocab, int32_t n_owners, struct error *err);
void shortlist_free(struct shortlist *s);
void shortlist_clear(struct shortlist *s);

/* Bytes of an owner's answer for a row, a multiple of 8; listed: [need->n_listed]. */
size_t shortlist_answer_bytes(const struct logit_need *need, const int32_t *listed, int32_t first, int32_t end);
/* Writes the answer for vocabulary rows [first, end) to out (8-byte aligned) and returns its bytes. logits: [end - first]. */
size_t shortlist_answer(const struct logit_need *need, const int32_t *listed, const float *logits, int32_t first, int32_t end,
                        void *out);
/* Adds an answer of at most n bytes; answers come in the order of the vocabulary. Returns its bytes, or 0 with *err when it is
 * not an answer to this need for these rows. */
size_t shortlist_add(struct shortlist *s, const struct logit_need *need, const void *answer, size_t n, int32_t first, int32_t end,
                     struct error *err);

#endif
