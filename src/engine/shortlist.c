/* SPDX-License-Identifier: MIT */
#include "src/engine/shortlist.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/core/math.h"
#include "src/engine/logit_key.h"

/* Front of an answer; keys, tile sums and listed logits follow, or every logit. */
struct answer_head {
    int32_t n_best, n_tiles, n_listed, n_logits;
};

struct tile_sum tile_sum_make(const float *logits, int32_t n)
{
    struct tile_sum t = {.sum = 0, .largest = -INFINITY};
    for (int32_t i = 0; i < n; i++) {
        double logit = (double)logit_usable(logits[i]);
        t.largest = logit > t.largest ? logit : t.largest;
    }
    for (int32_t i = 0; i < n && t.largest > -INFINITY; i++) {
        t.sum += math_exp64((double)logit_usable(logits[i]) - t.largest);
    }
    return t;
}

double tile_sum_log(const struct tile_sum *tiles, int32_t n_tiles)
{
    double largest = -INFINITY, sum = 0;
    for (int32_t i = 0; i < n_tiles; i++) {
        largest = tiles[i].largest > largest ? tiles[i].largest : largest;
    }
    for (int32_t i = 0; i < n_tiles && largest > -INFINITY; i++) {
        sum += tiles[i].sum * math_exp64(tiles[i].largest - largest);
    }
    return largest > -INFINITY ? largest + math_log(sum) : -INFINITY;
}

static int32_t tiles_of(int32_t n)
{
    return (n + SHORTLIST_TILE - 1) / SHORTLIST_TILE;
}

int shortlist_init(struct shortlist *s, int32_t n_vocab, int32_t n_owners, struct error *err)
{
    memset(s, 0, sizeof *s);
    s->n_vocab = n_vocab;
    s->n_owners = n_owners;
    s->best = malloc(sizeof *s->best * (SHORTLIST_MAX_BEST + SHORTLIST_MAX_LISTED) * (size_t)n_owners);
    s->listed = malloc(sizeof *s->listed * SHORTLIST_MAX_LISTED);
    s->tiles = malloc(sizeof *s->tiles * (size_t)(tiles_of(n_vocab) + n_owners));
    s->logits = malloc(sizeof *s->logits * (size_t)n_vocab);
    if (!s->best || !s->listed || !s->tiles || !s->logits) {
        shortlist_free(s);
        return error_set(err, "out of memory for the best of %d tokens", n_vocab);
    }
    return 0;
}

void shortlist_free(struct shortlist *s)
{
    free(s->best);
    free(s->listed);
    free(s->tiles);
    free(s->logits);
    memset(s, 0, sizeof *s);
}

void shortlist_clear(struct shortlist *s)
{
    s->n_best = s->n_listed = s->n_tiles = 0;
}

/* What the answer for rows [first, end) holds. A listed token may stand among the best: so many more are sent, and the best of
 * the others are always among them. */
static struct answer_head head_of(const struct logit_need *need, const int32_t *listed, int32_t first, int32_t end)
{
    if (need->n_best < 0) {
        return (struct answer_head){.n_logits = end - first};
    }
    struct answer_head h = {.n_tiles = need->sums ? tiles_of(end - first) : 0};
    for (int32_t i = 0; i < need->n_listed; i++) {
        h.n_listed += listed[i] >= first && listed[i] < end;
    }
    int32_t n = need->n_best + h.n_listed;
    h.n_best = n < end - first ? n : end - first;
    return h;
}

static size_t bytes_of(const struct answer_head *h)
{
    size_t logits = ((size_t)h->n_logits * sizeof(float) + 7) & ~(size_t)7;
    return sizeof *h + (size_t)h->n_best * sizeof(uint64_t) + (size_t)h->n_tiles * sizeof(struct tile_sum) +
           (size_t)h->n_listed * sizeof(struct listed_logit) + logits;
}

size_t shortlist_answer_bytes(const struct logit_need *need, const int32_t *listed, int32_t first, int32_t end)
{
    struct answer_head h = head_of(need, listed, first, end);
    return bytes_of(&h);
}

size_t shortlist_answer(const struct logit_need *need, const int32_t *listed, const float *logits, int32_t first, int32_t end,
                        void *out)
{
    struct answer_head *h = out;
    *h = head_of(need, listed, first, end);
    if (h->n_logits > 0) {
        memcpy(h + 1, logits, (size_t)h->n_logits * sizeof *logits);
        return bytes_of(h);
    }
    uint64_t *best = (uint64_t *)(void *)(h + 1);
    struct tile_sum *tiles = (struct tile_sum *)(void *)(best + h->n_best);
    struct listed_logit *found = (struct listed_logit *)(void *)(tiles + h->n_tiles);
    if (h->n_best > 0) {
        logit_key_best(best, h->n_best, logits, end - first, first);
    }
    for (int32_t i = 0; i < h->n_tiles; i++) {
        int32_t at = i * SHORTLIST_TILE, n = end - first - at;
        tiles[i] = tile_sum_make(logits + at, n < SHORTLIST_TILE ? n : SHORTLIST_TILE);
    }
    for (int32_t i = 0; i < need->n_listed; i++) {
        if (listed[i] >= first && listed[i] < end) {
            *found++ = (struct listed_logit){.id = listed[i], .logit = logits[listed[i] - first]};
        }
    }
    return bytes_of(h);
}

/* The counts stay within what this need can give. */
static int fits(const struct shortlist *s, const struct logit_need *need, const struct answer_head *h, int32_t n_rows)
{
    if (need->n_best < 0) {
        return h->n_logits == n_rows && h->n_best == 0 && h->n_tiles == 0 && h->n_listed == 0;
    }
    return h->n_logits == 0 && h->n_best >= 0 && h->n_best <= SHORTLIST_MAX_BEST + SHORTLIST_MAX_LISTED && h->n_best <= n_rows &&
           h->n_listed >= 0 && s->n_listed + h->n_listed <= need->n_listed && h->n_tiles == (need->sums ? tiles_of(n_rows) : 0);
}

/* All ids of an answer are the owner's. */
static int ids_fit(const struct answer_head *h, int32_t first, int32_t end)
{
    const uint64_t *best = (const uint64_t *)(const void *)(h + 1);
    const struct listed_logit *listed =
        (const struct listed_logit *)(const void *)((const struct tile_sum *)(const void *)(best + h->n_best) + h->n_tiles);
    for (int32_t i = 0; i < h->n_best; i++) {
        int32_t id = logit_key_id(best[i]);
        if (id < first || id >= end) {
            return 0;
        }
    }
    for (int32_t i = 0; i < h->n_listed; i++) {
        if (listed[i].id < first || listed[i].id >= end) {
            return 0;
        }
    }
    return 1;
}

size_t shortlist_add(struct shortlist *s, const struct logit_need *need, const void *answer, size_t n, int32_t first, int32_t end,
                     struct error *err)
{
    const struct answer_head *h = answer;
    if (n < sizeof *h || !fits(s, need, h, end - first) || bytes_of(h) > n || !ids_fit(h, first, end)) {
        error_set(err, "a rank's part of the head sent something else than what was asked for");
        return 0;
    }
    const uint64_t *best = (const uint64_t *)(const void *)(h + 1);
    const struct tile_sum *tiles = (const struct tile_sum *)(const void *)(best + h->n_best);
    if (h->n_logits > 0) {
        memcpy(s->logits + first, best, (size_t)h->n_logits * sizeof *s->logits);
        return bytes_of(h);
    }
    memcpy(s->best + s->n_best, best, (size_t)h->n_best * sizeof *best);
    memcpy(s->tiles + s->n_tiles, tiles, (size_t)h->n_tiles * sizeof *tiles);
    memcpy(s->listed + s->n_listed, tiles + h->n_tiles, (size_t)h->n_listed * sizeof *s->listed);
    s->n_best += h->n_best;
    s->n_tiles += h->n_tiles;
    s->n_listed += h->n_listed;
    return bytes_of(h);
}
