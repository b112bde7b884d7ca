/* SPDX-License-Identifier: MIT */
#include "src/commands/report.h"

#include "src/commands/json_text.h"
#include "src/core/log.h"

static json_t *json_ids(const int32_t *ids, int32_t n)
{
    json_t *array = json_array();
    for (int32_t i = 0; i < n; i++) {
        json_array_append_new(array, json_integer(ids[i]));
    }
    return array;
}

static json_t *json_logprobs(const struct run_result *r)
{
    json_t *array = json_array();
    int32_t n = r->sequence->n_ids - r->sequence->n_prompt;
    for (int32_t i = 0; r->logprobs && i < n; i++) {
        const struct sampler_result *s = &r->logprobs[i];
        json_t *top = json_array();
        for (int32_t k = 0; k < s->n_top; k++) {
            json_array_append_new(top, json_pack("[i,o]", s->top_ids[k], json_number((double)s->top_logprobs[k])));
        }
        json_array_append_new(array,
                              json_pack("{s:i,s:o,s:o}", "id", s->id, "logprob", json_number((double)s->logprob), "top", top));
    }
    return array;
}

static json_t *json_ranks(const struct run_result *r)
{
    json_t *array = json_array();
    for (int32_t i = 0; i < r->n_ranks; i++) {
        const struct job_report *p = &r->ranks[i];
        json_array_append_new(array,
                              json_pack("{s:i,s:s,s:s,s:i,s:[i,i],s:b,s:f,s:f,s:I,s:I,s:I,s:I}", "rank", p->rank, "host", p->host,
                                        "device", p->device, "threads", p->n_threads, "layers", p->layer_first, p->layer_end,
                                        "head", p->owns_head, "busy_s", p->busy_s, "wait_s", p->wait_s, "weight_bytes",
                                        (json_int_t)p->weight_bytes, "kv_bytes", (json_int_t)p->kv_bytes, "bytes_sent",
                                        (json_int_t)p->bytes_sent, "peak_rss_bytes", (json_int_t)p->peak_rss_bytes));
    }
    return array;
}

int report_json(FILE *out, const struct run_result *r, struct error *err)
{
    const struct sequence *q = r->sequence;
    const struct run_timings *t = &r->timings;
    json_t *timings = json_pack("{s:f,s:i,s:f,s:i,s:f,s:f}", "load_s", t->load_s, "prefill_tokens", t->prefill_tokens,
                                "prefill_s", t->prefill_s, "decode_tokens", t->decode_tokens, "decode_s", t->decode_s, "hop_s",
                                t->hop_s);
    json_t *object = json_pack("{s:o,s:o,s:o,s:o,s:s,s:o,s:o}", "prompt_ids", json_ids(q->ids, q->n_prompt), "ids",
                               json_ids(q->ids + q->n_prompt, q->n_ids - q->n_prompt), "text", json_text(r->text, r->n_text),
                               "logprobs", json_logprobs(r), "stop_reason", sequence_stop_name(q->stop), "timings", timings,
                               "ranks", json_ranks(r));
    int status = !object || json_dumpf(object, out, JSON_COMPACT | JSON_REAL_PRECISION(9))
                     ? error_set(err, "the result cannot be written")
                     : 0;
    json_decref(object);
    fputc('\n', out);
    return status;
}

static double per_second(double n, double s)
{
    return s > 0 ? n / s : 0;
}

void report_summary(const struct run_result *r)
{
    const struct run_timings *t = &r->timings;
    double rate = per_second(t->decode_tokens, t->decode_s);
    log_info("load %.2f s | prefill %d tokens, %.1f tokens/s | decode %d tokens, %.1f tokens/s, %.2f ms/token, %.2f GB/s",
             t->load_s, t->prefill_tokens, per_second(t->prefill_tokens, t->prefill_s), t->decode_tokens, rate,
             rate > 0 ? 1e3 / rate : 0, rate * (double)t->bytes_per_token / 1e9);
    int32_t slowest = 0;
    for (int32_t i = 1; i < r->n_ranks; i++) {
        slowest = r->ranks[i].busy_s > r->ranks[slowest].busy_s ? i : slowest;
    }
    for (int32_t i = 0; i < r->n_ranks; i++) {
        const struct job_report *p = &r->ranks[i];
        double total = p->busy_s + p->wait_s, share = total > 0 ? p->busy_s / total : 0;
        char bar[21];
        for (int k = 0; k < 20; k++) {
            bar[k] = k < (int)(share * 20 + 0.5) ? '#' : '.';
        }
        bar[20] = 0;
        log_info("rank %d %-16.16s busy %3.0f %% [%s] sent %.2f MB, peak memory %.0f MB%s", i, p->host, share * 100, bar,
                 (double)p->bytes_sent / 1e6, (double)p->peak_rss_bytes / 1e6,
                 r->n_ranks > 1 && i == slowest ? "  <- limits" : "");
    }
    if (r->n_ranks > 1) {
        log_info("hop %.3f ms on average (%d for each token)", t->hop_s * 1e3, r->n_ranks);
    }
}

void report_partition(const struct job *job)
{
    const struct cluster *c = job->cluster;
    for (int32_t i = 0; i < c->size; i++) {
        const struct plan_rank *p = &job->plan[i];
        log_info("rank %d %-16.16s %s layers %d-%d of %d%s, %.0f MB", i, c->peers[i].host, job->backend->ops->name,
                 p->range.layer_first, p->range.layer_end, job->config.n_layers,
                 p->range.vocab_end > p->range.vocab_first ? " + head" : "", (double)p->weight_bytes / 1e6);
    }
}
