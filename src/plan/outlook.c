/* SPDX-License-Identifier: MIT */
#include "src/plan/outlook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const int32_t outlook_streams[OUTLOOK_STREAMS] = {1, 8, 32};

enum { PAST = 576 /* positions behind a typical token: a prompt of 512, half an answer of 128 */, MANY = OUTLOOK_STREAMS - 1 };

/* What counts as better: less would be noise. */
static const double CLEARLY = 1.05;

/* With that part of the streams. */
static struct outlook look(const struct outlook_input *in, const struct plan_rank *plan, int32_t n_parts)
{
    const struct plan_options *o = &in->options;
    struct outlook out = {.fits = 1};
    struct predict_rank *ranks = calloc((size_t)o->n_ranks, sizeof *ranks);
    if (!ranks) {
        fatal("out of memory");
    }
    for (int32_t i = 0; i < o->n_ranks; i++) {
        ranks[i] = (struct predict_rank){o->speeds[i], in->links[i].latency_s, in->links[i].bytes_per_s};
        out.fits = out.fits && (!o->memory || plan_total(&plan[i]) <= o->memory[i]);
    }
    struct predict_input pi = {.n_ranks = o->n_ranks,
                               .ranks = ranks,
                               .plan = plan,
                               .sizes = in->sizes,
                               .dim = in->config->dim,
                               .chunk = o->chunk,
                               .depth = o->depth};
    for (int i = 0; i < OUTLOOK_STREAMS; i++) {
        struct prediction p = predict_decode(&pi, (outlook_streams[i] + n_parts - 1) / n_parts, PAST);
        out.streams[i] = p.tokens_per_s;
        out.limits = p.limits;
    }
    out.prompt = predict_prefill(&pi, OUTLOOK_PROMPT).tokens_per_s;
    free(ranks);
    return out;
}

struct outlook outlook_of(const struct outlook_input *in, const struct plan_rank *plan)
{
    return look(in, plan, 1);
}

/* Divides anew by the options and looks at the result with its part of the streams; not fitting is an answer. */
static struct outlook try(const struct outlook_input *in, const struct plan_options *options, const struct ring_link *links,
                          int32_t n_parts)
{
    struct outlook_input part = {in->sizes, in->config, *options, links};
    struct plan_rank *plan = calloc((size_t)options->n_ranks, sizeof *plan);
    struct outlook out = {0};
    if (!plan) {
        fatal("out of memory");
    }
    if (plan_make(in->sizes, in->config, options, plan, NULL) == 0) {
        out = look(&part, plan, n_parts);
    }
    free(plan);
    return out;
}

/* Ranks [first, first + n) as a pipeline of their own, one of n_parts. */
static struct outlook try_part(const struct outlook_input *in, int32_t first, int32_t n, int32_t n_parts)
{
    struct plan_options o = in->options;
    o.n_ranks = n;
    o.depth = 2 * n;
    o.split = NULL;
    o.speeds += first;
    o.memory += o.memory ? first : 0;
    return try(in, &o, in->links + first, n_parts);
}

static struct outlook try_equal(const struct outlook_input *in)
{
    struct plan_options o = in->options;
    int32_t *counts = calloc((size_t)o.n_ranks, sizeof *counts);
    if (!counts) {
        fatal("out of memory");
    }
    for (int32_t i = 0; i < o.n_ranks; i++) {
        counts[i] = in->sizes->n_layers / o.n_ranks + (i >= o.n_ranks - in->sizes->n_layers % o.n_ranks);
    }
    o.split = counts;
    o.n_split = o.n_ranks;
    o.split_head = PLAN_SPLIT_HEAD_OFF;
    struct outlook out = try(in, &o, in->links, 1);
    free(counts);
    return out;
}

/* n pipelines of n_ranks / n machines each, in rank order; together. */
static struct outlook try_pipelines(const struct outlook_input *in, int32_t n)
{
    int32_t size = in->options.n_ranks;
    struct outlook sum = {.fits = size % n == 0};
    for (int32_t k = 0; sum.fits && k < n; k++) {
        struct outlook part = try_part(in, k * (size / n), size / n, n);
        sum.fits = part.fits;
        sum.prompt += part.prompt;
        sum.streams[0] = part.streams[0] > sum.streams[0] ? part.streams[0] : sum.streams[0];
        for (int i = 1; i < OUTLOOK_STREAMS; i++) {
            sum.streams[i] += part.streams[i] * (n > outlook_streams[i] ? (double)outlook_streams[i] / n : 1);
        }
    }
    return sum;
}

/* The best division for one stream, and the ranks that it leaves without work. */
static int find_quickest(const struct outlook_input *in, struct outlook_ways *out, struct error *err)
{
    struct plan_options o = in->options;
    struct plan_rank *plan = calloc((size_t)o.n_ranks, sizeof *plan);
    out->slow = calloc((size_t)o.n_ranks, sizeof *out->slow);
    if (!plan || !out->slow) {
        free(plan);
        return error_set(err, "out of memory");
    }
    o.objective = PARTITION_LATENCY;
    o.split = NULL;
    if (plan_make(in->sizes, in->config, &o, plan, NULL) == 0) {
        out->latency = outlook_of(in, plan);
        for (int32_t i = 0; i < o.n_ranks; i++) {
            const struct slice_range *r = &plan[i].range;
            if (r->layer_end == r->layer_first && r->vocab_end == r->vocab_first) {
                out->slow[out->n_slow++] = i;
            }
        }
    }
    free(plan);
    return 0;
}

/* Sequences of the whole context that fit beside weights and buffers. */
static int32_t most_streams(const struct outlook_input *in, const struct plan_rank *plan)
{
    const struct plan_options *o = &in->options;
    uint64_t most = UINT64_MAX;
    for (int32_t i = 0; o->memory && i < o->n_ranks; i++) {
        uint64_t rest = plan[i].weight_bytes + plan[i].buffer_bytes, each = plan[i].kv_bytes / (uint64_t)o->n_slots;
        uint64_t n = !each || o->memory[i] == UINT64_MAX ? UINT64_MAX : o->memory[i] > rest ? (o->memory[i] - rest) / each : 0;
        most = n < most ? n : most;
    }
    return most > 999999 ? 0 : (int32_t)most;
}

int outlook_compare(const struct outlook_input *in, const struct plan_rank *plan, struct outlook_ways *out, struct error *err)
{
    int32_t n_ranks = in->options.n_ranks;
    memset(out, 0, sizeof *out);
    out->split = outlook_of(in, plan);
    out->most_streams = most_streams(in, plan);
    if (n_ranks == 1) {
        return 0;
    }
    out->equal = try_equal(in);
    for (int32_t i = 0; i < n_ranks; i++) {
        struct outlook one = try_part(in, i, 1, 1);
        if (one.fits && one.streams[0] > out->one.streams[0]) {
            out->one = one;
            out->one_rank = i;
        }
    }
    for (int32_t n = 2; n <= n_ranks; n++) {
        struct outlook many = try_pipelines(in, n);
        if (many.fits && many.streams[MANY] > out->pipelines.streams[MANY]) {
            out->pipelines = many;
            out->n_pipelines = n;
        }
    }
    return find_quickest(in, out, err);
}

void outlook_free(struct outlook_ways *ways)
{
    free(ways->slow);
    memset(ways, 0, sizeof *ways);
}

/* "rank 2", "ranks 2 and 3", "ranks 1, 2 and 3". */
static void ranks_text(const int32_t *ranks, int32_t n, char *text, size_t size)
{
    int used = snprintf(text, size, n == 1 ? "rank" : "ranks");
    for (int32_t i = 0; i < n && (size_t)used < size; i++) {
        used += snprintf(text + used, size - (size_t)used, "%s %d", i == 0 ? "" : i == n - 1 ? " and" : ",", ranks[i]);
    }
}

void outlook_verdict(const struct outlook_ways *w, int32_t n_ranks, char *text, size_t size)
{
    char slow[128] = "", one[160], many[160];
    if (n_ranks == 1) {
        snprintf(text, size, "one rank: %.1f tokens/s for one stream, %.1f for %d", w->split.streams[0], w->split.streams[MANY],
                 outlook_streams[MANY]);
        return;
    }
    if (w->n_slow > 0 && w->n_slow < n_ranks) {
        size_t n = 0;
        slow[n++] = ';';
        slow[n++] = ' ';
        ranks_text(w->slow, w->n_slow, slow + n, sizeof slow - n);
        n = strlen(slow);
        snprintf(slow + n, sizeof slow - n, " only slow%s it", w->n_slow == 1 ? "s" : "");
    }
    double here = w->split.streams[0], alone = w->one.fits ? w->one.streams[0] : 0, quickest = w->latency.streams[0];
    if (quickest > CLEARLY * here && quickest > CLEARLY * alone) {
        snprintf(one, sizeof one, "one stream: %.1f tokens/s, with --objective latency %.1f", here, quickest);
    } else if (alone > CLEARLY * here) {
        snprintf(one, sizeof one, "one stream: rank %d alone is faster, %.1f tokens/s against %.1f", w->one_rank, alone, here);
    } else if (alone > 0) {
        snprintf(one, sizeof one, "one stream: %.1f tokens/s, rank %d alone %.1f", here, w->one_rank, alone);
    } else {
        snprintf(one, sizeof one, "one stream: %.1f tokens/s, no rank could hold the model alone", here);
    }
    double all = w->split.streams[MANY], jobs = w->n_pipelines ? w->pipelines.streams[MANY] : 0;
    double single = w->one.fits ? w->one.streams[MANY] : 0;
    int32_t n_many = outlook_streams[MANY];
    if (single > CLEARLY * all && single >= jobs) {
        snprintf(many, sizeof many, "%d streams: rank %d alone is faster, %.0f tokens/s against %.0f", n_many, w->one_rank,
                 single, all);
    } else if (jobs > CLEARLY * all) {
        snprintf(many, sizeof many, "%d streams: %d jobs of %d rank%s are faster, %.0f tokens/s in all against %.0f", n_many,
                 w->n_pipelines, n_ranks / w->n_pipelines, n_ranks / w->n_pipelines == 1 ? "" : "s", jobs, all);
    } else {
        snprintf(many, sizeof many, "%d streams: %.0f tokens/s, rank %d limits", n_many, all, w->split.limits);
    }
    snprintf(text, size, "%s%s; %s", one, slow, many);
}
