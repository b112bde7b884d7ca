/* SPDX-License-Identifier: MIT */
#include "src/commands/info/info_plan.h"

#include <stdlib.h>
#include <string.h>

#include "src/commands/job/job.h"

int info_plan_init(struct info_plan *plan, const struct gguf *file, const struct plan_options *options, struct error *err)
{
    struct model_config config;
    memset(plan, 0, sizeof *plan);
    plan->options = *options;
    if (model_config_init(&config, file, &plan->why)) {
        return 0;
    }
    struct job_options defaults;
    job_options_default(&defaults);
    struct plan_options *o = &plan->options;
    o->n_ctx = o->n_ctx ? o->n_ctx : job_default_ctx(&config);
    o->max_rows = job_default_chunk(o->n_ranks);
    o->max_rows = o->max_rows < o->n_ctx ? o->max_rows : o->n_ctx;
    o->n_slots = defaults.n_slots;
    o->depth = job_default_depth(o->n_ranks);
    o->chunk = o->max_rows;
    o->split_head = PLAN_SPLIT_HEAD_OFF;
    struct slice_sizes sizes = {0};
    plan->ranks = calloc((size_t)o->n_ranks, sizeof *plan->ranks);
    int status = plan->ranks ? slice_sizes_init(&sizes, file, &config, err) : error_set(err, "out of memory");
    if (status == 0 && plan_make(&sizes, &config, o, plan->ranks, &plan->why)) {
        free(plan->ranks);
        plan->ranks = NULL;
    }
    slice_sizes_free(&sizes);
    model_config_free(&config);
    return status;
}

void info_plan_free(struct info_plan *plan)
{
    free(plan->ranks);
    memset(plan, 0, sizeof *plan);
}

static double megabytes(uint64_t bytes)
{
    return (double)bytes / 1e6;
}

static void print_row(FILE *out, const char *who, const char *layers, const char *head, const struct plan_rank *p)
{
    fprintf(out, "  %-5s %-10s %-5s %9.1f MB %9.1f MB %9.1f MB %9.1f MB\n", who, layers, head, megabytes(p->weight_bytes),
            megabytes(p->kv_bytes), megabytes(p->buffer_bytes), megabytes(plan_total(p)));
}

void info_plan_print(FILE *out, const struct info_plan *plan)
{
    if (!plan->ranks) {
        fprintf(out, "\nWould not run: %s\n", plan->why.text);
        return;
    }
    static const char *const kv_names[] = {"f32", "f16", "q8_0"};
    const struct plan_options *o = &plan->options;
    struct plan_rank all = {0};
    fprintf(out, "\nMemory on %d rank%s, context %d, KV cache %s/%s\n", o->n_ranks, o->n_ranks == 1 ? "" : "s", o->n_ctx,
            kv_names[o->k_type], kv_names[o->v_type]);
    fprintf(out, "  %-5s %-10s %-5s %12s %12s %12s %12s\n", "rank", "layers", "head", "weights", "KV cache", "buffers", "all");
    for (int32_t i = 0; i < o->n_ranks; i++) {
        const struct plan_rank *p = &plan->ranks[i];
        char who[16], layers[32];
        snprintf(who, sizeof who, "%d", i);
        snprintf(layers, sizeof layers, "[%d, %d)", p->range.layer_first, p->range.layer_end);
        print_row(out, who, layers, p->range.vocab_end > p->range.vocab_first ? "yes" : "", p);
        all.weight_bytes += p->weight_bytes;
        all.kv_bytes += p->kv_bytes;
        all.buffer_bytes += p->buffer_bytes;
    }
    if (o->n_ranks > 1) {
        print_row(out, "all", "", "", &all);
        if (!o->split) {
            fprintf(out, "Layers by their bytes, the head on rank 0. A job divides by measured speed: llm plan shows how.\n");
        }
    }
}

json_t *info_plan_json(const struct info_plan *plan)
{
    if (!plan->ranks) {
        return json_pack("{s:s}", "error", plan->why.text);
    }
    json_t *ranks = json_array();
    for (int32_t i = 0; i < plan->options.n_ranks; i++) {
        const struct plan_rank *p = &plan->ranks[i];
        json_array_append_new(ranks, json_pack("{s:i,s:[i,i],s:b,s:I,s:I,s:I}", "rank", i, "layers", p->range.layer_first,
                                               p->range.layer_end, "head", p->range.vocab_end > p->range.vocab_first,
                                               "weight_bytes", (json_int_t)p->weight_bytes, "kv_bytes", (json_int_t)p->kv_bytes,
                                               "buffer_bytes", (json_int_t)p->buffer_bytes));
    }
    return json_pack("{s:i,s:s,s:o}", "context", plan->options.n_ctx, "split", plan->options.split ? "given" : "bytes", "ranks",
                     ranks);
}
