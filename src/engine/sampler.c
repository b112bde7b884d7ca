/* SPDX-License-Identifier: MIT
 *
 * Candidates are 64-bit keys: the logit in an order-preserving form above the complement of the id, so that the order of keys is
 * the order of logits with ties to the lower id, and no two keys are equal. Probabilities come from our own exp and log, in f64,
 * added in the candidates' order, so a result has the same bits on every machine. */
#include "src/engine/sampler.h"

#include "src/core/math.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEAP_MAX = 1024, /* above that many candidates a radix sort of the vocabulary is faster than a heap */
    SCAN_BLOCK = 16, /* logits compared with the threshold at once */
    RADIX_BITS = 11,
    RADIX_SIZE = 1 << RADIX_BITS,
    RADIX_PASSES = 3 /* 3 * 11 bits cover the 32 bits of a logit */
};

/* Cumulative probabilities come from rounded logits; a sum this close to --top-p counts as having reached it. */
static const double top_p_slack = 1e-6;

struct sampler {
    int32_t max_vocab;
    int32_t n;       /* candidates of the last pick */
    double sum;      /* of their weights */
    uint64_t *keys;  /* [max_vocab] owned */
    uint64_t *spare; /* [max_vocab] owned; radix passes go between the two */
    double *weights; /* [max_vocab] owned */
    float *adjusted; /* [max_vocab] owned: logits after bias and penalties */
    int32_t *counts; /* [max_vocab] owned: all zero between calls */
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
        s->weights = malloc(n * sizeof *s->weights);
        s->adjusted = malloc(n * sizeof *s->adjusted);
        s->counts = calloc(n, sizeof *s->counts);
    }
    if (!s || !s->keys || !s->spare || !s->weights || !s->adjusted || !s->counts) {
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
    free(s->weights);
    free(s->adjusted);
    free(s->counts);
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

/* NaN counts as -infinity, +infinity as the largest number, -0 as 0. */
static float usable(float logit)
{
    return isnan(logit) ? -INFINITY : logit > FLT_MAX ? FLT_MAX : logit + 0.0f;
}

static uint64_t key_make(float logit, int32_t id)
{
    logit = usable(logit);
    uint32_t bits;
    memcpy(&bits, &logit, sizeof bits);
    bits = bits >> 31 ? ~bits : bits | 0x80000000u;
    return (uint64_t)bits << 32 | ~(uint32_t)id;
}

static float key_logit(uint64_t key)
{
    uint32_t bits = (uint32_t)(key >> 32);
    bits = bits >> 31 ? bits & 0x7fffffffu : ~bits;
    float logit;
    memcpy(&logit, &bits, sizeof logit);
    return logit;
}

static int32_t key_id(uint64_t key)
{
    return (int32_t) ~(uint32_t)key;
}

/* Restores the heap (smallest key on top) below element i. */
static void sift_down(uint64_t *heap, int32_t n, int32_t i)
{
    uint64_t key = heap[i];
    for (int32_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && heap[child + 1] < heap[child]) {
            child++;
        }
        if (key <= heap[child]) {
            break;
        }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = key;
}

static void heap_offer(uint64_t *heap, int32_t k, uint64_t key)
{
    if (key > heap[0]) {
        heap[0] = key;
        sift_down(heap, k, 0);
    }
}

/* The k best of n logits as keys, best first; 1 <= k <= n. The scan skips whole blocks without a logit above the k-th best so
 * far. */
static void select_best(uint64_t *heap, int32_t k, const float *logits, int32_t n)
{
    for (int32_t i = 0; i < k; i++) {
        heap[i] = key_make(logits[i], i);
    }
    for (int32_t i = k / 2 - 1; i >= 0; i--) {
        sift_down(heap, k, i);
    }
    float threshold = key_logit(heap[0]);
    int32_t i = k;
    for (; i + SCAN_BLOCK <= n; i += SCAN_BLOCK) {
        int any = 0;
        for (int32_t j = 0; j < SCAN_BLOCK; j++) {
            any |= logits[i + j] > threshold;
        }
        if (any) {
            for (int32_t j = i; j < i + SCAN_BLOCK; j++) {
                heap_offer(heap, k, key_make(logits[j], j));
            }
            threshold = key_logit(heap[0]);
        }
    }
    for (; i < n; i++) {
        heap_offer(heap, k, key_make(logits[i], i));
    }
    for (int32_t end = k - 1; end > 0; end--) {
        uint64_t smallest = heap[0];
        heap[0] = heap[end];
        heap[end] = smallest;
        sift_down(heap, end, 0);
    }
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

/* Logit bias, then the penalties: a token seen in the window has its logit divided (multiplied when it is not positive) by the
 * repeat penalty, and frequency * count + presence taken away. Returns the logits to go on with: the given ones when nothing
 * changes. */
static const float *adjust(struct sampler *s, const struct sampler_params *p, const float *logits, int32_t n_vocab,
                           const int32_t *history, int32_t n_history)
{
    int32_t window = p->repeat_last_n < 0 || p->repeat_last_n > n_history ? n_history : p->repeat_last_n;
    if (p->repeat_penalty == 1 && p->presence_penalty == 0 && p->frequency_penalty == 0) {
        window = 0;
    }
    if (window == 0 && p->n_bias == 0) {
        return logits;
    }
    memcpy(s->adjusted, logits, (size_t)n_vocab * sizeof *logits);
    for (int32_t i = 0; i < p->n_bias; i++) {
        if (p->bias[i].id >= 0 && p->bias[i].id < n_vocab) {
            s->adjusted[p->bias[i].id] += p->bias[i].bias;
        }
    }
    const int32_t *recent = window > 0 ? history + (n_history - window) : NULL;
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
    return s->adjusted;
}

/* weights[i] = exp((logit - best) / temperature) of every candidate; their sum in order. */
static void weigh(struct sampler *s, float best, float temperature)
{
    s->sum = 0;
    for (int32_t i = 0; i < s->n; i++) {
        s->weights[i] = math_exp64(((double)key_logit(s->keys[i]) - best) / temperature);
        s->sum += s->weights[i];
    }
}

/* Keeps the candidates whose surprise is nearest to the expected one until they hold more than typical_p; leaves them best first.
 * Source: Meister et al., "Locally Typical Sampling", TACL 2023, section 4. */
static void keep_typical(struct sampler *s, const float *logits, float best, double typical_p)
{
    weigh(s, best, 1.0f);
    double log_sum = math_log(s->sum);
    double entropy = 0;
    for (int32_t i = 0; i < s->n; i++) {
        if (s->weights[i] > 0) {
            entropy += s->weights[i] / s->sum * (log_sum - ((double)key_logit(s->keys[i]) - best));
        }
    }
    for (int32_t i = 0; i < s->n; i++) {
        double surprise = log_sum - ((double)key_logit(s->keys[i]) - best);
        s->keys[i] = key_make(-(float)fabs(surprise - entropy), key_id(s->keys[i]));
    }
    sort_keys(s, s->n);
    double mass = 0;
    int32_t kept = 0;
    while (kept < s->n && mass <= typical_p * s->sum) {
        int32_t id = key_id(s->keys[kept]);
        s->keys[kept] = key_make(logits[id], id);
        mass += math_exp64((double)key_logit(s->keys[kept]) - best);
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
        if (key_logit(s->keys[i]) >= lowest) {
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
    return key_logit(best);
}

/* Leaves the candidates and their weights in *s. */
static void run_chain(struct sampler *s, const struct sampler_params *p, const float *logits, int32_t n_vocab)
{
    int32_t k = p->temperature <= 0 ? 1 : p->top_k <= 0 || p->top_k > n_vocab ? n_vocab : p->top_k;
    s->n = k;
    if (k <= HEAP_MAX && k < n_vocab) {
        select_best(s->keys, k, logits, n_vocab);
    } else {
        for (int32_t i = 0; i < n_vocab; i++) {
            s->keys[i] = key_make(logits[i], i);
        }
        if (k < n_vocab || p->typical_p < 1 || p->top_p < 1) {
            sort_keys(s, n_vocab);
        }
    }
    float best = best_logit(s);
    if (k == 1 || best == -INFINITY) { /* everything forbidden: still an answer, the first candidate */
        s->n = 1;
        s->weights[0] = s->sum = 1;
        return;
    }
    if (p->typical_p < 1) {
        keep_typical(s, logits, best, p->typical_p);
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

/* The candidate in whose part of the cumulative weights the random number falls. */
static int32_t draw(const struct sampler *s, uint64_t random)
{
    double target = (double)(random >> 11) * 0x1p-53 * s->sum;
    double mass = 0;
    int32_t last = 0;
    for (int32_t i = 0; i < s->n; i++) {
        mass += s->weights[i];
        if (mass > target) {
            return key_id(s->keys[i]);
        }
        last = s->weights[i] > 0 ? i : last;
    }
    return key_id(s->keys[last]);
}

/* Log-probabilities under the softmax of the model's own logits, summed in the order of the ids. */
static void fill_logprobs(const float *logits, int32_t n_vocab, int32_t n_top, struct sampler_result *out)
{
    uint64_t top[SAMPLER_MAX_LOGPROBS];
    out->n_top = n_top < n_vocab ? n_top : n_vocab;
    select_best(top, out->n_top, logits, n_vocab);
    double best = key_logit(top[0]);
    double sum = 0;
    for (int32_t i = 0; i < n_vocab && best > -INFINITY; i++) {
        sum += math_exp64(usable(logits[i]) - best);
    }
    double log_sum = best + math_log(sum);
    for (int32_t i = 0; i < out->n_top; i++) {
        float logit = key_logit(top[i]);
        out->top_ids[i] = key_id(top[i]);
        out->top_logprobs[i] = logit == -INFINITY ? -INFINITY : (float)(logit - log_sum);
    }
    float logit = usable(logits[out->id]);
    out->logprob = logit == -INFINITY ? -INFINITY : (float)(logit - log_sum);
}

void sampler_pick(struct sampler *s, const struct sampler_params *params, const float *logits, int32_t n_vocab,
                  const int32_t *history, int32_t n_history, int32_t position, struct sampler_result *out)
{
    assert(n_vocab > 0 && n_vocab <= s->max_vocab && n_history >= 0);
    run_chain(s, params, adjust(s, params, logits, n_vocab, history, n_history), n_vocab);
    out->id = draw(s, sampler_random(params->seed, (uint32_t)position, 0));
    out->logprob = 0;
    out->n_top = 0;
    if (params->n_logprobs > 0) {
        fill_logprobs(logits, n_vocab, params->n_logprobs, out);
    }
}

int32_t sampler_distribution(const struct sampler *s, int32_t max, int32_t *ids, double *probabilities)
{
    int32_t n = s->n < max ? s->n : max;
    for (int32_t i = 0; i < n; i++) {
        ids[i] = key_id(s->keys[i]);
        probabilities[i] = s->weights[i] / s->sum;
    }
    return s->n;
}
