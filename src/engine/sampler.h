/* Logits to one token: llama.cpp's chain and defaults, with counter-based random numbers. SPDX-License-Identifier: MIT
 *
 * Pure: the token depends only on (logits, parameters, seed, position, the sequence's own history). */
#ifndef SRC_ENGINE_SAMPLER_H
#define SRC_ENGINE_SAMPLER_H

#include <stdint.h>

#include "src/core/error.h"
#include "src/engine/shortlist.h"

struct sampler_bias {
    int32_t id;
    float bias; /* added to the logit; -INFINITY forbids the token */
};

/* Order of the chain: bias, penalties, top-k, typical, top-p, min-p, temperature, draw. temperature <= 0: the most likely token.
 */
struct sampler_params {
    float temperature;       /* 0.8 */
    int32_t top_k;           /* 40; <= 0 = all */
    float top_p;             /* 0.95; >= 1 off */
    float min_p;             /* 0.05; 0 off */
    float typical_p;         /* 1.0 = off */
    float repeat_penalty;    /* 1.0 = off */
    int32_t repeat_last_n;   /* 64; 0 off, -1 the whole context */
    float presence_penalty;  /* 0 */
    float frequency_penalty; /* 0 */
    uint64_t seed;
    const struct sampler_bias *bias; /* [n_bias] borrowed, NULL allowed */
    int32_t n_bias;
    int32_t n_logprobs; /* how many alternatives sampler_result lists; 0 = none */
};
void sampler_params_default(struct sampler_params *p);
/* Ranges of the parameters; the text names the option as the command line spells it. */
int sampler_params_check(const struct sampler_params *p, struct error *err);

enum { SAMPLER_MAX_LOGPROBS = 64 };
struct sampler_result {
    int32_t id;
    float logprob; /* of the chosen token under the model's own softmax (before bias, penalties and temperature) */
    int32_t n_top;
    int32_t top_ids[SAMPLER_MAX_LOGPROBS]; /* most likely first, ties by lower id */
    float top_logprobs[SAMPLER_MAX_LOGPROBS];
};

/* Scratch for vocabularies up to n_vocab. */
struct sampler;
int sampler_init(struct sampler **s, int32_t n_vocab, struct error *err);
void sampler_free(struct sampler *s); /* NULL allowed */

/* logits: [n_vocab], not changed. history: [n_history] ids of the sequence so far (prompt and answer), oldest first. position: of
 * the token to be drawn. Ties in the argmax go to the lower id. logprob and top are filled only when params->n_logprobs > 0 (then
 * always). */
void sampler_pick(struct sampler *s, const struct sampler_params *params, const float *logits, int32_t n_vocab,
                  const int32_t *history, int32_t n_history, int32_t position, struct sampler_result *out);

/* What sampler_pick would look at in such a row's logits: fills *need and listed [SHORTLIST_MAX_LISTED]. Uses the scratch of *s:
 * not while another thread picks with it. */
void sampler_need(struct sampler *s, const struct sampler_params *params, int32_t n_vocab, const int32_t *history,
                  int32_t n_history, struct logit_need *need, int32_t *listed);
/* The same token, log-probabilities and bits as sampler_pick, from the answers to what sampler_need asked for (n_best >= 0). */
void sampler_pick_short(struct sampler *s, const struct sampler_params *params, const struct shortlist *list,
                        const int32_t *history, int32_t n_history, int32_t position, struct sampler_result *out);

/* What the last sampler_pick drew from: up to `max` candidates and their probabilities; returns how many there were. */
int32_t sampler_distribution(const struct sampler *s, int32_t max, int32_t *ids, double *probabilities);

/* The counter-based generator: 64 random bits of (seed, position, draw). */
uint64_t sampler_random(uint64_t seed, uint32_t position, uint32_t draw);

#endif
