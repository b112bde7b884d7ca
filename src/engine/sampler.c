/* SPDX-License-Identifier: MIT
 *
 * Candidates are 64-bit keys (logit_key.h). Probabilities come from our own exp and log, in f64, added in the candidates' order,
 * so a result has the same bits on every machine. */
#include "src/engine/sampler.h"

#include "src/core/math.h"
#include "src/engine/logit_key.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEAP_MAX = 1024, /* above that many candidates a radix sort of the vocabulary is faster than a heap */
    RADIX_BITS = 11,
    RADIX_SIZE = 1 << RADIX_BITS,
    RADIX_PASSES = 3 /* 3 * 11 bits cover the 32 bits of a logit */
};

/* Cumulative probabilities come from rounded logits; a sum this close to --top-p counts as having reached it. */
static const double top_p_slack = 1e-6;

struct sampler {
    int32_t max_vocab;
    int32_t n;              /* candidates of the last pick */
    double sum;             /* of their weights */
    uint64_t *keys;         /* [max_vocab] owned */
    uint64_t *spare;        /* [max_vocab] owned; radix passes go between the two */
    uint64_t *given;        /* [max_vocab] owned: the candidates before they were put into another order */
    double *weights;        /* [max_vocab] owned */
    float *adjusted;        /* [max_vocab] owned: logits after bias and penalties */
    int32_t *counts;        /* [max_vocab] owned: all zero between calls */
    struct tile_sum *tiles; /* [max_vocab / SHORTLIST_TILE + 1] owned */
};

void sampler_params_default(struct sampler_params *p)
{
    *p = (struct sampler_params){
        .temperature = 0.8f,
        .top_k = 40,
        .top_p = 0.95f,
        .min_p = 0.05f,
        .typical_p = 1.0f,
        .repeat_penalty = 1.0f,
        .repeat_last_n = 64,
    };
}

static int check_bias(const struct sampler_params *p, struct error *err)
{
    if (p->n_bias < 0 || (p->n_bias > 0 && !p->bias)) {
        return error_set(err, "--logit-bias: %d entries without a list", (int)p->n_bias);
    }
    for (int32_t i = 0; i < p->n_bias; i++) {
        float bias = p->bias[i].bias;
        if (p->bias[i].id < 0 || isnan(bias) || bias == INFINITY) {
            return error_set(err, "--logit-bias: token %d, bias %g; expected a token id and a finite number or -inf",
                             (int)p->bias[i].id, (double)bias);
        }
    }
    return 0;
}

int sampler_params_check(const struct sampler_params *p, struct error *err)
{
    const struct {
        const char *option;
        float value, low, high;
        const char *expected;
    } ranges[] = {
        {"--temp", p->temperature, -FLT_MAX, FLT_MAX, "a finite number, 0 for the most likely token"},
        {"--top-p", p->top_p, 0, 1, "0 to 1"},
        {"--min-p", p->min_p, 0, 1, "0 to 1"},
        {"--typical", p->typical_p, 0, 1, "0 to 1"},
        {"--repeat-penalty", p->repeat_penalty, FLT_MIN, FLT_MAX, "a number above 0, 1 for none"},
        {"--presence-penalty", p->presence_penalty, -FLT_MAX, FLT_MAX, "a finite number"},
        {"--frequency-penalty", p->frequency_penalty, -FLT_MAX, FLT_MAX, "a finite number"},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (!(ranges[i].value >= ranges[i].low && ranges[i].value <= ranges[i].high)) {
            return error_set(err, "%s %g: expected %s", ranges[i].option, (double)ranges[i].value, ranges[i].expected);
        }
    }
    if (p->repeat_last_n < -1) {
        return error_set(err, "--repeat-last-n %d: expected a number of tokens, 0 for none or -1 for all", (int)p->repeat_last_n);
    }
    if (p->n_logprobs < 0 || p->n_logprobs > SAMPLER_MAX_LOGPROBS) {
        return error_set(err, "--logprobs %d: expected 0 to %d", (int)p->n_logprobs, SAMPLER_MAX_LOGPROBS);
    }
    return check_bias(p, err);
}

int sampler_init(struct sampler **out, int32_t n_vocab, struct error *err)
{
    assert(n_vocab > 0);
    *out = NULL;
    struct sampler *s = calloc(1, sizeof *s);
    if (s) {
        size_t n = (size_t)n_vocab;
        s->max_vocab = n_vocab;
        s->keys = malloc(n * sizeof *s->keys);
        s->spare = malloc(n * sizeof *s->spare);
        s->given = malloc(n * sizeof *s->given);
        s->weights = malloc(n * sizeof *s->weights);
        s->adjusted = malloc(n * sizeof *s->adjusted);
        s->counts = calloc(n, sizeof *s->counts);
        s->tiles = malloc((n / SHORTLIST_TILE + 1) * sizeof *s->tiles);
    }
    if (!s || !s->keys || !s->spare || !s->given || !s->weights || !s->adjusted || !s->counts || !s->tiles) {
        sampler_free(s);
        return error_set(err, "out of memory for sampling from %d tokens", (int)n_vocab);
    }
    *out = s;
    return 0;
}

void sampler_free(struct sampler *s)
{
    if (!s) {
        return;
    }
    free(s->keys);
    free(s->spare);
    free(s->given);
    free(s->weights);
    free(s->adjusted);
    free(s->counts);
    free(s->tiles);
    free(s);
}

/* Philox4x32-10 with the seed as key and (position, draw, 0, 0) as counter; words 0 and 1 of the result.
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC11, section 3.3. */
uint64_t sampler_random(uint64_t seed, uint32_t position, uint32_t draw)
{
    uint32_t c0 = position, c1 = draw, c2 = 0, c3 = 0;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0;
        uint64_t b = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (uint64_t)c1 << 32 | c0;
}

/* Sorts s->keys[0..n) by their upper halves, largest first; stable, so ids (or ranks) given in ascending order stay so among
 * ties. */
static void sort_keys(struct sampler *s, int32_t n)
{
    uint32_t starts[RADIX_PASSES][RADIX_SIZE] = {{0}};
    for (int32_t i = 0; i < n; i++) {
        for (int pass = 0; pass < RADIX_PASSES; pass++) {
            starts[pass][s->keys[i] >> (32 + pass * RADIX_BITS) & (RADIX_SIZE - 1)]++;
        }
    }
    for (int pass = 0; pass < RADIX_PASSES; pass++) {
        uint32_t next = 0;
        for (int digit = RADIX_SIZE - 1; digit >= 0; digit--) {
            uint32_t count = starts[pass][digit];
            starts[pass][digit] = next;
            next += count;
        }
        for (int32_t i = 0; i < n; i++) {
            uint64_t key = s->keys[i];
            s->spare[starts[pass][key >> (32 + pass * RADIX_BITS) & (RADIX_SIZE - 1)]++] = key;
        }
        uint64_t *sorted = s->spare;
        s->spare = s->keys;
        s->keys = sorted;
    }
}

/* Tokens of the history that the penalties look at: the last so many. */
static int32_t penalty_window(const struct sampler_params *p, int32_t n_history)
{
    if (p->repeat_penalty == 1 && p->presence_penalty == 0 && p->frequency_penalty == 0) {
        return 0;
    }
    return p->repeat_last_n < 0 || p->repeat_last_n > n_history ? n_history : p->repeat_last_n;
}

/* Logit bias, then the penalties: a token seen in the window has its logit divided (multiplied when it is not positive) by the
 * repeat penalty, and frequency * count + presence taken away. Changes s->adjusted, where the logits of all these tokens stand.
 */
static void adjust(struct sampler *s, const struct sampler_params *p, int32_t n_vocab, const int32_t *recent, int32_t window)
{
    for (int32_t i = 0; i < p->n_bias; i++) {
        if (p->bias[i].id >= 0 && p->bias[i].id < n_vocab) {
            s->adjusted[p->bias[i].id] += p->bias[i].bias;
        }
    }
    for (int32_t i = 0; i < window; i++) {
        if (recent[i] >= 0 && recent[i] < n_vocab) {
            s->counts[recent[i]]++;
        }
    }
    for (int32_t i = 0; i < window; i++) {
        int32_t id = recent[i];
        if (id < 0 || id >= n_vocab || s->counts[id] == 0) {
            continue;
        }
        float logit = s->adjusted[id];
        logit = logit <= 0 ? logit * p->repeat_penalty : logit / p->repeat_penalty;
        s->adjusted[id] = logit - ((float)s->counts[id] * p->frequency_penalty + p->presence_penalty);
        s->counts[id] = 0;
    }
}

/* weights[i] = exp((logit - best) / temperature) of every candidate; their sum in order. */
static void weigh(struct sampler *s, float best, float temperature)
{
    s->sum = 0;
    for (int32_t i = 0; i < s->n; i++) {
        s->weights[i] = math_exp64(((double)logit_key_logit(s->keys[i]) - best) / temperature);
        s->sum += s->weights[i];
    }
}

/* Keeps the candidates whose surprise is nearest to the expected one until they hold more than typical_p; leaves them best first.
 * Source: Meister et al., "Locally Typical Sampling", TACL 2023, section 4. */
static void keep_typical(struct sampler *s, float best, double typical_p)
{
    weigh(s, best, 1.0f);
    double log_sum = math_log(s->sum);
    double entropy = 0;
    for (int32_t i = 0; i < s->n; i++) {
        if (s->weights[i] > 0) {
            entropy += s->weights[i] / s->sum * (log_sum - ((double)logit_key_logit(s->keys[i]) - best));
        }
    }
    for (int32_t i = 0; i < s->n; i++) {
        double surprise = log_sum - ((double)logit_key_logit(s->keys[i]) - best);
        s->given[i] = s->keys[i];
        s->keys[i] = logit_key(-(float)fabs(surprise - entropy), i);
    }
    sort_keys(s, s->n);
    double mass = 0;
    int32_t kept = 0;
    while (kept < s->n && mass <= typical_p * s->sum) {
        s->keys[kept] = s->given[logit_key_id(s->keys[kept])];
        mass += math_exp64((double)logit_key_logit(s->keys[kept]) - best);
        kept++;
    }
    s->n = kept;
    sort_keys(s, s->n);
}

/* Keeps the fewest most likely candidates that hold at least top_p; they stand best first. */
static void keep_top_p(struct sampler *s, float best, double top_p)
{
    weigh(s, best, 1.0f);
    double mass = 0;
    int32_t kept = 0;
    while (kept < s->n && (kept == 0 || mass < (top_p - top_p_slack) * s->sum)) {
        mass += s->weights[kept++];
    }
    s->n = kept;
}

/* Keeps the candidates at least min_p times as likely as the best one, in the order they stand. */
static void keep_min_p(struct sampler *s, float best, double min_p)
{
    double lowest = min_p < 1 ? best + math_log(min_p) : best;
    int32_t kept = 0;
    for (int32_t i = 0; i < s->n; i++) {
        if (logit_key_logit(s->keys[i]) >= lowest) {
            s->keys[kept++] = s->keys[i];
        }
    }
    s->n = kept;
}

static float best_logit(const struct sampler *s)
{
    uint64_t best = s->keys[0];
    for (int32_t i = 1; i < s->n; i++) {
        best = s->keys[i] > best ? s->keys[i] : best;
    }
    return logit_key_logit(best);
}

/* How many of the most likely tokens the chain starts from. */
static int32_t n_candidates(const struct sampler_params *p, int32_t n_vocab)
{
    return p->temperature <= 0 ? 1 : p->top_k <= 0 || p->top_k > n_vocab ? n_vocab : p->top_k;
}

/* The candidates stand in s->keys, best first where their order counts. Leaves those that remain, and their weights. */
static void run_chain(struct sampler *s, const struct sampler_params *p)
{
    float best = best_logit(s);
    if (s->n == 1 || best == -INFINITY) { /* everything forbidden: still an answer, the first candidate */
        s->n = 1;
        s->weights[0] = s->sum = 1;
        return;
    }
    if (p->typical_p < 1) {
        keep_typical(s, best, p->typical_p);
        best = best_logit(s);
    }
    if (p->top_p < 1) {
        keep_top_p(s, best, p->top_p);
    }
    if (p->min_p > 0) {
        keep_min_p(s, best, p->min_p);
    }
    weigh(s, best, p->temperature);
}

/* Candidates from all logits. */
static void choose_from_all(struct sampler *s, const struct sampler_params *p, const float *logits, int32_t n_vocab)
{
    s->n = n_candidates(p, n_vocab);
    if (s->n <= HEAP_MAX && s->n < n_vocab) {
        logit_key_best(s->keys, s->n, logits, n_vocab, 0);
        return;
    }
    for (int32_t i = 0; i < n_vocab; i++) {
        s->keys[i] = logit_key(logits[i], i);
    }
    if (s->n < n_vocab || p->typical_p < 1 || p->top_p < 1) {
        sort_keys(s, n_vocab);
    }
}

/* Candidates from a shortlist: its best tokens, and those with adjusted logits in place of their own. */
static void choose_from_short(struct sampler *s, const struct sampler_params *p, const struct shortlist *list)
{
    int32_t n = 0;
    for (int32_t i = 0; i < list->n_listed; i++) {
        s->given[n++] = logit_key(s->adjusted[list->listed[i].id], list->listed[i].id);
        s->counts[list->listed[i].id] = 1;
    }
    for (int32_t i = 0; i < list->n_best; i++) {
        if (!s->counts[logit_key_id(list->best[i])]) {
            s->given[n++] = list->best[i];
        }
    }
    for (int32_t i = 0; i < list->n_listed; i++) {
        s->counts[list->listed[i].id] = 0;
    }
    s->n = n_candidates(p, list->n_vocab);
    s->n = s->n < n ? s->n : n;
    logit_key_best_of(s->keys, s->n, s->given, n);
}

/* The candidate in whose part of the cumulative weights the random number falls. */
static int32_t draw(const struct sampler *s, uint64_t random)
{
    double target = (double)(random >> 11) * 0x1p-53 * s->sum;
    double mass = 0;
    int32_t last = 0;
    for (int32_t i = 0; i < s->n; i++) {
        mass += s->weights[i];
        if (mass > target) {
            return logit_key_id(s->keys[i]);
        }
        last = s->weights[i] > 0 ? i : last;
    }
    return logit_key_id(s->keys[last]);
}

/* Log-probabilities under the softmax of the model's own logits. top: the best keys, best first. */
static void fill_logprobs(const uint64_t *top, int32_t n_top, float chosen, double log_sum, struct sampler_result *out)
{
    out->n_top = n_top;
    for (int32_t i = 0; i < n_top; i++) {
        float logit = logit_key_logit(top[i]);
        out->top_ids[i] = logit_key_id(top[i]);
        out->top_logprobs[i] = logit == -INFINITY ? -INFINITY : (float)(logit - log_sum);
    }
    float logit = logit_usable(chosen);
    out->logprob = logit == -INFINITY ? -INFINITY : (float)(logit - log_sum);
}

static void logprobs_from_all(struct sampler *s, const float *logits, int32_t n_vocab, int32_t n_top, struct sampler_result *out)
{
    uint64_t top[SAMPLER_MAX_LOGPROBS];
    n_top = n_top < n_vocab ? n_top : n_vocab;
    logit_key_best(top, n_top, logits, n_vocab, 0);
    int32_t n_tiles = 0;
    for (int32_t at = 0; at < n_vocab; at += SHORTLIST_TILE) {
        s->tiles[n_tiles++] = tile_sum_make(logits + at, n_vocab - at < SHORTLIST_TILE ? n_vocab - at : SHORTLIST_TILE);
    }
    fill_logprobs(top, n_top, logits[out->id], tile_sum_log(s->tiles, n_tiles), out);
}

static void logprobs_from_short(const struct shortlist *list, int32_t n_top, struct sampler_result *out)
{
    uint64_t top[SAMPLER_MAX_LOGPROBS];
    n_top = n_top < list->n_best ? n_top : list->n_best;
    logit_key_best_of(top, n_top, list->best, list->n_best);
    float chosen = -INFINITY;
    for (int32_t i = 0; i < list->n_best; i++) {
        chosen = logit_key_id(list->best[i]) == out->id ? logit_key_logit(list->best[i]) : chosen;
    }
    for (int32_t i = 0; i < list->n_listed; i++) {
        chosen = list->listed[i].id == out->id ? list->listed[i].logit : chosen;
    }
    fill_logprobs(top, n_top, chosen, tile_sum_log(list->tiles, list->n_tiles), out);
}

static void draw_result(struct sampler *s, const struct sampler_params *params, int32_t position, struct sampler_result *out)
{
    out->id = draw(s, sampler_random(params->seed, (uint32_t)position, 0));
    out->logprob = 0;
    out->n_top = 0;
}

void sampler_pick(struct sampler *s, const struct sampler_params *params, const float *logits, int32_t n_vocab,
                  const int32_t *history, int32_t n_history, int32_t position, struct sampler_result *out)
{
    assert(n_vocab > 0 && n_vocab <= s->max_vocab && n_history >= 0);
    int32_t window = penalty_window(params, n_history);
    const float *used = logits;
    if (window > 0 || params->n_bias > 0) {
        memcpy(s->adjusted, logits, (size_t)n_vocab * sizeof *logits);
        adjust(s, params, n_vocab, window > 0 ? history + (n_history - window) : NULL, window);
        used = s->adjusted;
    }
    choose_from_all(s, params, used, n_vocab);
    run_chain(s, params);
    draw_result(s, params, position, out);
    if (params->n_logprobs > 0) {
        logprobs_from_all(s, logits, n_vocab, params->n_logprobs, out);
    }
}

/* Appends an id that is not there yet. counts marks those that are. */
static void list_id(struct sampler *s, int32_t id, int32_t n_vocab, struct logit_need *need, int32_t *listed)
{
    if (id < 0 || id >= n_vocab || s->counts[id] || need->n_best < 0) {
        return;
    }
    if (need->n_listed == SHORTLIST_MAX_LISTED) {
        need->n_best = -1;
        return;
    }
    s->counts[id] = 1;
    listed[need->n_listed++] = id;
}

void sampler_need(struct sampler *s, const struct sampler_params *params, int32_t n_vocab, const int32_t *history,
                  int32_t n_history, struct logit_need *need, int32_t *listed)
{
    int32_t n_best = n_candidates(params, n_vocab);
    n_best = n_best == n_vocab ? SHORTLIST_MAX_BEST + 1 : n_best; /* the chain takes all in the order of their ids */
    n_best = n_best > params->n_logprobs ? n_best : params->n_logprobs;
    *need = (struct logit_need){.n_best = n_best <= SHORTLIST_MAX_BEST ? n_best : -1, .sums = params->n_logprobs > 0};
    int32_t window = penalty_window(params, n_history);
    for (int32_t i = 0; i < params->n_bias; i++) {
        list_id(s, params->bias[i].id, n_vocab, need, listed);
    }
    for (int32_t i = n_history - window; i < n_history; i++) {
        list_id(s, history[i], n_vocab, need, listed);
    }
    for (int32_t i = 0; i < need->n_listed; i++) {
        s->counts[listed[i]] = 0;
    }
    if (need->n_best < 0) {
        *need = (struct logit_need){.n_best = -1};
    }
}

void sampler_pick_short(struct sampler *s, const struct sampler_params *params, const struct shortlist *list,
                        const int32_t *history, int32_t n_history, int32_t position, struct sampler_result *out)
{
    int32_t window = penalty_window(params, n_history);
    for (int32_t i = 0; i < list->n_listed; i++) {
        s->adjusted[list->listed[i].id] = list->listed[i].logit;
    }
    adjust(s, params, list->n_vocab, window > 0 ? history + (n_history - window) : NULL, window);
    choose_from_short(s, params, list);
    run_chain(s, params);
    draw_result(s, params, position, out);
    if (params->n_logprobs > 0) {
        logprobs_from_short(list, params->n_logprobs, out);
    }
}

int32_t sampler_distribution(const struct sampler *s, int32_t max, int32_t *ids, double *probabilities)
{
    int32_t n = s->n < max ? s->n : max;
    for (int32_t i = 0; i < n; i++) {
        ids[i] = logit_key_id(s->keys[i]);
        probabilities[i] = s->weights[i] / s->sum;
    }
    return s->n;
}
