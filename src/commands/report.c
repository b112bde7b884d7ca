/* SPDX-License-Identifier: MIT */
#include "src/commands/report.h"

#include <string.h>

#include "src/commands/request_json.h"
#include "src/core/log.h"

static json_t *json_ranks(const struct run_result *r)
{
    json_t *array = json_array();
    for (int32_t i = 0; i < r->n_ranks; i++) {
        const struct job_report *p = &r->ranks[i];
        json_t *rank = json_pack("{s:i,s:s,s:s,s:i,s:[i,i],s:i,s:b,s:f,s:f,s:I,s:I,s:I,s:I}", "rank", p->rank, "host", p->host,
                                 "device", p->device, "threads", p->n_threads, "layers", p->layer_first, p->layer_end,
                                 "gpu_layers", p->gpu_layers, "head", p->owns_head, "busy_s", p->busy_s, "wait_s", p->wait_s,
                                 "weight_bytes", (json_int_t)p->weight_bytes, "kv_bytes", (json_int_t)p->kv_bytes, "bytes_sent",
                                 (json_int_t)p->bytes_sent, "peak_rss_bytes", (json_int_t)p->peak_rss_bytes);
        if (p->gpu.bytes) {
            json_object_set_new(rank, "gpu",
                                json_pack("{s:I,s:I,s:I}", "bytes", (json_int_t)p->gpu.bytes, "short_steps",
                                          (json_int_t)p->gpu.n_short, "replays", (json_int_t)p->gpu.n_replays));
        }
        json_array_append_new(array, rank);
    }
    return array;
}

int report_json(FILE *out, const struct run_result *r, struct error *err)
{
    const struct sequence *q = &r->request->sequence;
    const struct run_timings *t = &r->timings;
    json_t *timings = json_pack("{s:f,s:i,s:f,s:i,s:f,s:f}", "load_s", t->load_s, "prefill_tokens", t->prefill_tokens,
                                "prefill_s", t->prefill_s, "decode_tokens", t->decode_tokens, "decode_s", t->decode_s, "hop_s",
                                t->hop_s);
    json_t *object = json_pack("{s:o}", "prompt_ids", request_json_ids(q->ids, q->n_prompt)), *answer = request_json(r->request);
    int failed = json_object_update(object, answer) || json_object_set_new(object, "timings", timings) ||
                 json_object_set_new(object, "ranks", json_ranks(r)) ||
                 json_dumpf(object, out, JSON_COMPACT | JSON_REAL_PRECISION(9)) || fputc('\n', out) == EOF || fflush(out);
    json_decref(answer);
    json_decref(object);
    return failed ? error_set(err, "the result cannot be written to standard output") : 0;
}

static double per_second(double n, double s)
{
    return s > 0 ? n / s : 0;
}

/* "layers 0-7", or "no layers"; the end is the last one that the rank owns. */
static void layers_text(int32_t first, int32_t end, int32_t n_layers, char *text, size_t size)
{
    if (first == end) {
        snprintf(text, size, "no layers");
    } else {
        snprintf(text, size, "layers %d-%d of %d", first, end - 1, n_layers);
    }
}

static void print_rank(const struct job_report *p, int limits)
{
    enum { BAR_WIDTH = 16 };
    char bar[BAR_WIDTH + 1] = "................";
    double total = p->busy_s + p->wait_s, share = total > 0 ? p->busy_s / total : 0;
    memset(bar, '#', (size_t)(share * BAR_WIDTH + 0.5));
    log_info("rank %d %-12.12s busy %3.0f %% [%s]  %.0f MB memory%s", p->rank, p->host, share * 100, bar,
             (double)p->peak_rss_bytes / 1e6, limits ? "  <- limits" : "");
}

void report_ranks(const struct job_report *ranks, int32_t n_ranks, double hop_s)
{
    int32_t slowest = 0;
    uint64_t bytes_sent = 0;
    for (int32_t i = 0; i < n_ranks; i++) {
        slowest = ranks[i].busy_s > ranks[slowest].busy_s ? i : slowest;
        bytes_sent += ranks[i].bytes_sent;
    }
    for (int32_t i = 0; i < n_ranks; i++) {
        print_rank(&ranks[i], n_ranks > 1 && i == slowest);
    }
    if (n_ranks > 1) {
        log_info("hops     %.3f ms between two ranks, %d a token, %.2f MB sent", hop_s * 1e3, n_ranks, (double)bytes_sent / 1e6);
    }
}

void report_summary(const struct run_result *r)
{
    const struct run_timings *t = &r->timings;
    double rate = per_second(t->decode_tokens, t->decode_s);
    log_info("load     %.2f s", t->load_s);
    log_info("prefill  %d tokens, %.1f tokens/s", t->prefill_tokens, per_second(t->prefill_tokens, t->prefill_s));
    if (t->decode_tokens > 0) {
        log_info("decode   %d tokens, %.1f tokens/s, %.2f ms/token, %.2f GB/s of weights", t->decode_tokens, rate, 1e3 / rate,
                 rate * (double)t->bytes_per_token / 1e9);
    }
    report_ranks(r->ranks, r->n_ranks, t->hop_s);
}

void report_partition(const struct job *job)
{
    const struct cluster *c = job->cluster;
    for (int32_t i = 0; i < c->size; i++) {
        const struct plan_rank *p = &job->plan[i];
        char layers[40], device[PARTS_DEVICE_MAX], on_gpu[40] = "";
        int32_t n_layers = p->range.layer_end - p->range.layer_first, n_gpu = parts_gpu_layers(job, i);
        parts_device_text(job, i, device, sizeof device);
        if (n_gpu > 0 && n_gpu < n_layers) {
            snprintf(on_gpu, sizeof on_gpu, " (the GPU from %d on)", p->range.layer_end - n_gpu);
        }
        layers_text(p->range.layer_first, p->range.layer_end, job->config.n_layers, layers, sizeof layers);
        log_info("rank %d %-12.12s %s  %s%s%s, %.0f MB", i, c->peers[i].host, device, layers, on_gpu,
                 p->range.vocab_end > p->range.vocab_first ? " + head" : "", (double)p->weight_bytes / 1e6);
    }
}
