/* Sampling from the answers of several owners of the vocabulary gives the bits of sampling from all logits.
 * SPDX-License-Identifier: MIT */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/core/math.h"
#include "src/engine/logit_key.h"
#include "src/engine/sampler.h"
#include "tests/check.h"

enum { MAX_VOCAB = 9000, MAX_OWNERS = 5, MAX_HISTORY = 700, MAX_BIAS = 8 };

static uint32_t state;
static float logits[MAX_VOCAB];
static int32_t history[MAX_HISTORY];
static struct sampler_bias bias[MAX_BIAS];
static struct sampler *sampler;

static int32_t below(int32_t n)
{
    state = state * 1664525u + 1013904223u;
    return (int32_t)((state >> 8) % (uint32_t)n);
}

static float uniform(float low, float high)
{
    return low + (high - low) * (float)below(1 << 20) / (float)(1 << 20);
}

/* Ties, infinities and NaN are there too. */
static void make_logits(int32_t n_vocab)
{
    int coarse = below(4) == 0;
    for (int32_t i = 0; i < n_vocab; i++) {
        float x = uniform(-12, 12);
        logits[i] = coarse ? floorf(x) : x;
    }
    for (int i = below(4); i > 0; i--) {
        const float odd[] = {-INFINITY, INFINITY, NAN, -0.0f};
        logits[below(n_vocab)] = odd[below(4)];
    }
}

static void make_params(struct sampler_params *p, int32_t n_vocab)
{
    sampler_params_default(p);
    p->seed = (uint64_t)below(1000);
    p->temperature = below(4) == 0 ? 0 : uniform(0.2f, 2);
    p->top_k = (const int32_t[]){0, 1, 5, 40, 200, 300}[below(6)];
    p->top_p = below(2) ? uniform(0.1f, 1) : 1;
    p->min_p = below(2) ? uniform(0, 0.3f) : 0;
    p->typical_p = below(3) == 0 ? uniform(0.2f, 1) : 1;
    if (below(2)) {
        p->repeat_penalty = uniform(0.5f, 2);
        p->presence_penalty = uniform(-2, 2);
        p->frequency_penalty = uniform(-1, 1);
        p->repeat_last_n = (const int32_t[]){0, 3, 64, -1}[below(4)];
    }
    p->n_bias = below(3) ? 0 : below(MAX_BIAS);
    p->bias = bias;
    for (int i = 0; i < p->n_bias; i++) { /* repeated ids, and ids beyond the vocabulary */
        bias[i] = (struct sampler_bias){.id = below(n_vocab + 3), .bias = below(4) ? uniform(-20, 20) : -INFINITY};
    }
    p->n_logprobs = below(2) ? below(SAMPLER_MAX_LOGPROBS) : 0;
}

/* Cuts at whole tiles, so that some owners have nothing. */
static void cut(int32_t n_vocab, int32_t n_owners, int32_t *ends)
{
    int32_t n_tiles = (n_vocab + SHORTLIST_TILE - 1) / SHORTLIST_TILE, tile = 0;
    for (int32_t i = 0; i < n_owners; i++) {
        tile = i == n_owners - 1 ? n_tiles : tile + below(n_tiles - tile + 1);
        ends[i] = tile * SHORTLIST_TILE < n_vocab ? tile * SHORTLIST_TILE : n_vocab;
    }
}

static void gather(struct shortlist *list, const struct logit_need *need, const int32_t *listed, int32_t n_vocab)
{
    static _Alignas(8) uint8_t answer[MAX_VOCAB * 8];
    int32_t ends[MAX_OWNERS], first = 0;
    struct error err = {0};
    cut(n_vocab, list->n_owners, ends);
    shortlist_clear(list);
    for (int32_t i = 0; i < list->n_owners; first = ends[i++]) {
        if (ends[i] == first) {
            continue;
        }
        size_t n = shortlist_answer(need, listed, logits + first, first, ends[i], answer);
        CHECK_INT((int64_t)n, (int64_t)shortlist_answer_bytes(need, listed, first, ends[i]));
        CHECK_INT((int64_t)shortlist_add(list, need, answer, n, first, ends[i], &err), (int64_t)n);
        struct shortlist before = *list;
        CHECK_INT((int64_t)shortlist_add(list, need, answer, n - 8, first, ends[i], &err), 0); /* cut short */
        CHECK_INT(before.n_best, list->n_best);
        if (need->n_best > 0) { /* a key that is not the owner's */
            ((uint64_t *)(void *)(answer + 16))[0] = logit_key(1, ends[i]);
            CHECK_INT((int64_t)shortlist_add(list, need, answer, n, first, ends[i], &err), 0);
        }
    }
}

static void compare_results(const struct sampler_result *a, const struct sampler_result *b, uint32_t seed)
{
    CHECK_THAT(a->id == b->id, "seed %u: token %d from all logits, %d from the shortlist", seed, a->id, b->id);
    CHECK_THAT(memcmp(&a->logprob, &b->logprob, sizeof a->logprob) == 0, "seed %u: log-probability %.9g and %.9g", seed,
               (double)a->logprob, (double)b->logprob);
    CHECK_INT(a->n_top, b->n_top);
    CHECK_INT(memcmp(a->top_ids, b->top_ids, sizeof *a->top_ids * (size_t)a->n_top), 0);
    CHECK_INT(memcmp(a->top_logprobs, b->top_logprobs, sizeof *a->top_logprobs * (size_t)a->n_top), 0);
}

static int run(uint32_t seed)
{
    state = seed;
    int32_t n_vocab = below(3) ? 2 + below(MAX_VOCAB - 2) : 2 + below(300), n_history = below(MAX_HISTORY);
    int32_t listed[SHORTLIST_MAX_LISTED], position = below(1000);
    struct sampler_params p;
    make_logits(n_vocab);
    make_params(&p, n_vocab);
    for (int32_t i = 0; i < n_history; i++) {
        history[i] = below(3) ? below(20 < n_vocab ? 20 : n_vocab) : below(n_vocab);
    }
    struct sampler_result all, from_short;
    sampler_pick(sampler, &p, logits, n_vocab, history, n_history, position, &all);
    struct logit_need need;
    struct shortlist list;
    struct error err = {0};
    sampler_need(sampler, &p, n_vocab, history, n_history, &need, listed);
    CHECK_INT(shortlist_init(&list, n_vocab, 1 + below(MAX_OWNERS), &err), 0);
    gather(&list, &need, listed, n_vocab);
    if (need.n_best < 0) {
        CHECK_INT(memcmp(list.logits, logits, sizeof *logits * (size_t)n_vocab), 0);
    } else {
        sampler_pick_short(sampler, &p, &list, history, n_history, position, &from_short);
        compare_results(&all, &from_short, seed);
        sampler_pick(sampler, &p, logits, n_vocab, history, n_history, position, &from_short); /* the scratch is clean again */
        compare_results(&all, &from_short, seed);
    }
    shortlist_free(&list);
    return need.n_best >= 0;
}

/* The sum over tiles is the sum. */
static void test_sums(void)
{
    state = 5;
    struct tile_sum tiles[MAX_VOCAB / SHORTLIST_TILE + 1];
    double sum = 0;
    int32_t n = 5000, n_tiles = 0;
    for (int32_t i = 0; i < n; i++) {
        logits[i] = uniform(-5, 5);
        sum += exp((double)logits[i]);
    }
    for (int32_t at = 0; at < n; at += SHORTLIST_TILE) {
        tiles[n_tiles++] = tile_sum_make(logits + at, n - at < SHORTLIST_TILE ? n - at : SHORTLIST_TILE);
    }
    CHECK_THAT(fabs(tile_sum_log(tiles, n_tiles) - log(sum)) < 1e-9, "%.12g, expected %.12g", tile_sum_log(tiles, n_tiles),
               log(sum));
}

int main(void)
{
    struct error err = {0};
    CHECK_INT(sampler_init(&sampler, MAX_VOCAB, &err), 0);
    int n_short = 0;
    for (uint32_t seed = 1; seed <= 1500 && !check_failures; seed++) {
        n_short += run(seed);
    }
    CHECK_THAT(n_short > 600, "only %d of the settings gave a shortlist", n_short);
    test_sums();
    sampler_free(sampler);
    return check_result();
}
