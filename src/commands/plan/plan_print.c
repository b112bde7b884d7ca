/* SPDX-License-Identifier: MIT */
#include "src/commands/plan/plan_print.h"

#include <jansson.h>
#include <string.h>

#include "src/commands/json_text.h"
#include "src/plan/plan.h"

enum { BAR = 10 };

/* 1234567 as "1.2 MB". */
static const char *size_text(uint64_t bytes, char text[16])
{
    double x = (double)bytes;
    if (bytes == UINT64_MAX) {
        snprintf(text, 16, "enough");
    } else if (x >= 1e9) {
        snprintf(text, 16, "%.*f GB", x < 1e10 ? 2 : 1, x / 1e9);
    } else {
        snprintf(text, 16, "%.*f MB", x < 1e7 ? 1 : 0, x / 1e6);
    }
    return text;
}

static int32_t n_rows(const struct slice_range *r)
{
    return r->vocab_end - r->vocab_first;
}

/* Columns of the widest device's name. */
static int device_width(const struct plan_page *p)
{
    size_t widest = strlen("device");
    for (int32_t i = 0; i < p->job->cluster->size; i++) {
        char text[DEVICE_TEXT_MAX];
        device_text(&p->job->devices[i], text, sizeof text);
        widest = strlen(text) > widest ? strlen(text) : widest;
    }
    return (int)widest;
}

static void print_rank(FILE *out, const struct plan_page *p, int32_t rank)
{
    const struct plan_rank *r = &p->job->plan[rank];
    const struct plan_options *o = &p->in->options;
    uint64_t limit = o->memory ? o->memory[rank] : UINT64_MAX, total = plan_total(r);
    char layers[32] = "none", head[16] = "", weights[16], kv[16], buffers[16], all[16], most[16], bar[BAR + 1] = "..........",
         device[DEVICE_TEXT_MAX];
    device_text(&p->job->devices[rank], device, sizeof device);
    if (r->range.layer_end > r->range.layer_first) {
        snprintf(layers, sizeof layers, "%d-%d (%d)", r->range.layer_first, r->range.layer_end - 1,
                 r->range.layer_end - r->range.layer_first);
    }
    if (n_rows(&r->range) > 0) {
        snprintf(head, sizeof head, "%.0f %%", 100.0 * n_rows(&r->range) / p->job->config.n_vocab);
    }
    double share = limit == UINT64_MAX || !limit ? 0 : (double)total / (double)limit;
    memset(bar, '#', (size_t)(share >= 1 ? BAR : share * BAR + 0.5));
    fprintf(out, "  %4d  %-12.12s %-*s %-12s %5s %9s %9s %9s %9s of %-8s [%s]%s\n", rank, p->job->cluster->peers[rank].host,
            device_width(p), device, layers, head, size_text(r->weight_bytes, weights), size_text(r->kv_bytes, kv),
            size_text(r->buffer_bytes, buffers), size_text(total, all), size_text(limit, most), bar,
            total > limit ? " too much" : "");
}

static void print_way(FILE *out, const char *what, const struct outlook *o, const char *remark)
{
    if (!o->fits) {
        fprintf(out, "  %-24s does not fit\n", what);
        return;
    }
    fprintf(out, "  %-24s %10.1f %10.1f %10.1f %14.0f  %s\n", what, o->streams[0], o->streams[1], o->streams[2], o->prompt,
            remark);
}

static int is_alike(const struct plan_page *p)
{
    const struct plan_options *o = &p->in->options;
    for (int32_t i = 1; i < o->n_ranks; i++) {
        struct speed two[2] = {o->speeds[0], o->speeds[i]};
        if (!speed_group(two, 2)) {
            return 0;
        }
    }
    return 1;
}

static const char *reason(const struct plan_page *p)
{
    return p->job->options.split.given ? "by --split"
           : is_alike(p)               ? "by bytes (the ranks are alike)"
           : job_is_simulated(p->job)  ? "by the boards' speed"
                                       : "by measured speed";
}

static void print_ways(FILE *out, const struct plan_page *p)
{
    const struct outlook_ways *w = p->ways;
    int32_t n_ranks = p->in->options.n_ranks;
    char what[64], remark[96] = "";
    fprintf(out, "\n  %-24s %10s %10s %10s %14s\n", "predicted tokens/s", "1 stream", "8 streams", "32 streams",
            "prompt of 2048");
    if (n_ranks > 1) {
        snprintf(remark, sizeof remark, "rank %d limits", w->split.limits);
    }
    struct outlook split = w->split;
    split.fits = 1; /* too much memory is said above */
    print_way(out, n_ranks > 1 ? "this split" : "one rank", &split, remark);
    if (n_ranks > 1) {
        if (p->job->options.objective == PARTITION_THROUGHPUT) {
            print_way(out, "--objective latency", &w->latency, "");
        }
        print_way(out, "equal layers", &w->equal, "");
        snprintf(what, sizeof what, "rank %d alone", w->one_rank);
        print_way(out, w->one.fits ? what : "any rank alone", &w->one, "");
        snprintf(what, sizeof what, "%d jobs of %d rank%s", w->n_pipelines, w->n_pipelines ? n_ranks / w->n_pipelines : 0,
                 w->n_pipelines == n_ranks ? "" : "s");
        print_way(out, w->n_pipelines ? what : "several smaller jobs", &w->pipelines, "together");
    }
}

int plan_print(FILE *out, const struct plan_page *p, struct error *err)
{
    static const char *const objectives[] = {"many streams", "one stream"};
    const struct job *job = p->job;
    char weights[16], verdict[OUTLOOK_VERDICT_BYTES];
    const char *name = strrchr(job->options.model, '/');
    fprintf(out, "%s: %d layers, %s read a token, context %d\n", name ? name + 1 : job->options.model, job->config.n_layers,
            size_text(slice_token_bytes(&job->sizes), weights), job->options.n_ctx);
    fprintf(out, "Split over %d rank%s %s, for %s\n\n", job->cluster->size, job->cluster->size == 1 ? "" : "s", reason(p),
            objectives[job->options.objective]);
    fprintf(out, "  %4s  %-12s %-*s %-12s %5s %9s %9s %9s %9s\n", "rank", "host", device_width(p), "device", "layers", "head",
            "weights", "KV cache", "buffers", "memory");
    for (int32_t i = 0; i < job->cluster->size; i++) {
        print_rank(out, p, i);
    }
    print_ways(out, p);
    for (int32_t i = 0; i < job->cluster->size && job->cluster->size > 1; i++) {
        fprintf(out, "%s%d to %d %.1f us, %.0f MB/s", i ? "; " : "\n  links: ", i, (i + 1) % job->cluster->size,
                p->in->links[i].latency_s * 1e6, p->in->links[i].bytes_per_s / 1e6);
    }
    outlook_verdict(p->ways, job->cluster->size, verdict, sizeof verdict);
    fprintf(out, "%s", job->cluster->size > 1 ? "\n" : "");
    if (p->ways->most_streams > 0) {
        fprintf(out, "  memory for %d sequence%s of %d positions at a time\n", p->ways->most_streams,
                p->ways->most_streams == 1 ? "" : "s", job->options.n_ctx);
    }
    fprintf(out, "\n%s\n", verdict);
    return fflush(out) || ferror(out) ? error_set(err, "the plan cannot be written to standard output") : 0;
}

static json_t *outlook_json(const struct outlook *o)
{
    if (!o->fits && o->prompt == 0) {
        return json_null();
    }
    return json_pack("{s:b,s:[f,f,f],s:f}", "fits", o->fits, "tokens_per_s", o->streams[0], o->streams[1], o->streams[2],
                     "prompt_tokens_per_s", o->prompt);
}

static json_t *ranks_json(const struct plan_page *p)
{
    json_t *ranks = json_array();
    for (int32_t i = 0; i < p->job->cluster->size; i++) {
        const struct plan_rank *r = &p->job->plan[i];
        const struct plan_options *o = &p->in->options;
        uint64_t limit = o->memory ? o->memory[i] : UINT64_MAX;
        const char *host = p->job->cluster->peers[i].host;
        json_array_append_new(ranks, json_pack("{s:i,s:o,s:[i,i],s:[i,i],s:I,s:I,s:I,s:o,s:f,s:f,s:f,s:f}", "rank", i, "host",
                                               json_text(host, strlen(host)), "layers", r->range.layer_first, r->range.layer_end,
                                               "vocab", r->range.vocab_first, r->range.vocab_end, "weight_bytes",
                                               (json_int_t)r->weight_bytes, "kv_bytes", (json_int_t)r->kv_bytes, "buffer_bytes",
                                               (json_int_t)r->buffer_bytes, "memory_bytes",
                                               limit > INT64_MAX ? json_null() : json_integer((json_int_t)limit), "layer_s",
                                               o->speeds[i].layer_s[0], "tile_s", o->speeds[i].tile_s[0], "hop_s",
                                               p->in->links[i].latency_s, "hop_bytes_per_s", p->in->links[i].bytes_per_s));
    }
    return ranks;
}

int plan_print_json(FILE *out, const struct plan_page *p, struct error *err)
{
    const struct outlook_ways *w = p->ways;
    const struct job *job = p->job;
    char verdict[OUTLOOK_VERDICT_BYTES];
    json_t *slow = json_array();
    for (int32_t i = 0; i < w->n_slow; i++) {
        json_array_append_new(slow, json_integer(w->slow[i]));
    }
    outlook_verdict(w, job->cluster->size, verdict, sizeof verdict);
    json_t *predicted = json_pack("{s:[i,i,i],s:i,s:o,s:o,s:o,s:o,s:i,s:o,s:i}", "streams", outlook_streams[0],
                                  outlook_streams[1], outlook_streams[2], "prompt", OUTLOOK_PROMPT, "split",
                                  outlook_json(&w->split), "latency", outlook_json(&w->latency), "equal", outlook_json(&w->equal),
                                  "one", outlook_json(&w->one), "one_rank", w->one_rank, "pipelines", outlook_json(&w->pipelines),
                                  "n_pipelines", w->n_pipelines);
    json_t *root = json_pack("{s:i,s:s,s:b,s:o,s:o,s:i,s:o,s:i,s:s}", "context", job->options.n_ctx, "objective",
                             job->options.objective == PARTITION_LATENCY ? "latency" : "throughput", "alike", is_alike(p),
                             "ranks", ranks_json(p), "predicted", predicted, "limits", w->split.limits, "slow", slow,
                             "most_streams", w->most_streams, "verdict", verdict);
    int failed = !root || json_dumpf(root, out, JSON_COMPACT) || fputc('\n', out) == EOF || fflush(out);
    json_decref(root);
    return failed ? error_set(err, "the plan cannot be written to standard output") : 0;
}
