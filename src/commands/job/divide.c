/* SPDX-License-Identifier: MIT */
#include "src/commands/job/divide.h"

#include <stdlib.h>
#include <string.h>

#include "src/commands/job/calibrate.h"
#include "src/plan/outlook.h"
#include "src/plan/predict.h"
#include "src/plan/speed_board.h"
#include "src/core/log.h"

/* What this rank may take: the limit that was asked for, or its share of what its node has. */
static uint64_t memory_share(const struct job *job)
{
    uint64_t available = topology_memory_available();
    if (job->options.memory_limit) {
        return job->options.memory_limit;
    }
    if (job_is_simulated(job)) {
        return job->devices[job->cluster->rank].board.memory_bytes;
    }
    return available ? available / (uint64_t)job->cluster->local_size + parts_own_gpu_bytes(job) : UINT64_MAX;
}

int divide_measure(struct job *job, double limit_s, int large, struct error *err)
{
    size_t size = (size_t)job->cluster->size;
    uint64_t mine = memory_share(job);
    job->memory = calloc(size, sizeof *job->memory);
    job->speeds = limit_s > 0 ? calloc(size, sizeof *job->speeds) : NULL;
    job->links = limit_s > 0 ? calloc(size, sizeof *job->links) : NULL;
    if (!job->memory || (limit_s > 0 && (!job->speeds || !job->links))) {
        fatal("out of memory");
    }
    cluster_allgather(job->cluster, &mine, sizeof mine, job->memory);
    if (limit_s <= 0) {
        return 0;
    }
    if (job->link.bytes_per_s > 0) {
        for (size_t i = 0; i < size; i++) {
            job->links[i] = (struct ring_link){job->link.latency_s, job->link.bytes_per_s};
        }
    } else {
        ring_measure(job->cluster, large, job->links);
    }
    if (job_is_simulated(job)) {
        for (size_t i = 0; i < size; i++) {
            speed_from_board(&job->speeds[i], &job->devices[i].board, &job->sizes, &job->config,
                             (enum kv_type)job->options.k_type, (enum kv_type)job->options.v_type);
        }
        return 0;
    }
    return calibrate(job, limit_s, job->speeds, err);
}

struct plan_options divide_by_options(const struct job_options *o)
{
    return (struct plan_options){.split = o->split.given ? o->split.values : NULL,
                                 .n_split = o->split.n,
                                 .k_type = (enum kv_type)o->k_type,
                                 .v_type = (enum kv_type)o->v_type,
                                 .objective = o->objective,
                                 .split_head = o->split_head,
                                 .mix_prompt = o->mix.n > 0 ? o->mix.values[0] : 0,
                                 .mix_answer = o->mix.n > 1 ? o->mix.values[1] : 0};
}

struct plan_options divide_options(const struct job *job)
{
    const struct job_options *o = &job->options;
    struct plan_options po = divide_by_options(o);
    po.n_ranks = job->cluster->size;
    po.n_ctx = o->n_ctx;
    po.n_slots = o->n_slots;
    po.kv_memory = o->kv_memory;
    po.max_rows = o->max_rows;
    po.depth = o->depth;
    po.chunk = o->chunk;
    po.speeds = job->speeds;
    po.memory = job->memory;
    return po;
}

/* Ranks that share a node share its memory, in what parts matters little: where equal parts are too small for a division without
 * a look at memory, the check of the whole node decides. */
static int make(struct job *job, struct error *err)
{
    struct plan_options po = divide_options(job);
    int status = plan_make(&job->sizes, &job->config, &po, job->plan, err);
    if (status && !job->options.memory_limit && !job_is_simulated(job)) {
        po.memory = NULL;
        status = plan_make(&job->sizes, &job->config, &po, job->plan, err);
    }
    return status;
}

int divide_plan(struct job *job, struct error *err)
{
    struct cluster *c = job->cluster;
    struct {
        int32_t status;
        struct error error;
    } answer = {0};
    job->plan = calloc((size_t)c->size, sizeof *job->plan);
    job->owners = calloc((size_t)c->size, sizeof *job->owners);
    if (!job->plan || !job->owners) {
        fatal("out of memory");
    }
    if (c->rank == 0) {
        answer.status = make(job, &answer.error);
    }
    cluster_broadcast(c, &answer, sizeof answer);
    if (answer.status) {
        *err = answer.error;
        return -1;
    }
    cluster_broadcast(c, job->plan, (size_t)c->size * sizeof *job->plan);
    job->n_pages = job->plan[0].n_pages;
    for (int32_t i = 0; i < c->size; i++) {
        job->owners[i] = (struct stage_owner){.vocab_first = job->plan[i].range.vocab_first,
                                              .vocab_end = job->plan[i].range.vocab_end};
    }
    return 0;
}

/* Chunks of a prompt on one rank: from one row to a full chunk, without and with a past. */
static void add_points(const struct job *job, int32_t rank, struct cost_fit *fit)
{
    enum { MOST_ROWS = 512, PAST = 1024 };
    struct slice_range layers = job->plan[rank].range;
    int32_t n_layers = layers.layer_end - layers.layer_first;
    uint64_t bytes = 0;
    for (int32_t i = layers.layer_first; i < layers.layer_end; i++) {
        bytes += job->sizes.layer_bytes[i];
    }
    for (int32_t rows = 1; n_layers > 0 && rows <= MOST_ROWS; rows += (rows + 3) / 4) {
        for (int32_t past = 0; past <= PAST; past += PAST) {
            struct speed_step step = {.n_rows = rows, .past = past, .chunk = 1};
            double seconds = speed_layers_s(&job->speeds[rank], bytes, n_layers, &step);
            if (seconds > 0) {
                cost_fit_add(fit, rows, batch_cost_pairs(past, rows), seconds);
            }
        }
    }
}

struct batch_cost divide_cost(const struct job *job)
{
    enum { ROWS = 128 };
    struct batch_cost slowest = {0};
    for (int32_t rank = 0; job->speeds && rank < job->cluster->size; rank++) {
        struct cost_fit fit = {0};
        struct batch_cost cost;
        add_points(job, rank, &fit);
        if (cost_fit_get(&fit, &cost) && batch_cost_time(&cost, ROWS, 0) > batch_cost_time(&slowest, ROWS, 0)) {
            slowest = cost;
        }
    }
    return slowest;
}

struct batch_way divide_way(const struct job *job)
{
    struct batch_way way = {0};
    for (int32_t i = 0; job->links && job->cluster->size > 1 && i < job->cluster->size; i++) {
        struct batch_way one = predict_way((size_t)job->config.dim * sizeof(float), job->links[i].latency_s,
                                           job->links[i].bytes_per_s);
        way.row_s = one.row_s > way.row_s ? one.row_s : way.row_s;
        way.fixed_s = one.fixed_s > way.fixed_s ? one.fixed_s : way.fixed_s;
    }
    return way;
}

void divide_log_verdict(const struct job *job)
{
    struct outlook_ways ways;
    char text[OUTLOOK_VERDICT_BYTES];
    if (!job->speeds) {
        return;
    }
    struct outlook_input in = {&job->sizes, &job->config, divide_options(job), job->links};
    if (outlook_compare(&in, job->plan, &ways, NULL) == 0) {
        outlook_verdict(&ways, job->cluster->size, text, sizeof text);
        log_info("expected, %s", text);
    }
    outlook_free(&ways);
}
