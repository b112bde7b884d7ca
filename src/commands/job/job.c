/* SPDX-License-Identifier: MIT */
#include "src/commands/job/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/commands/job/calibrate.h"
#include "src/commands/job/divide.h"
#include "src/commands/job/loading.h"
#include "src/core/clock.h"
#include "src/core/log.h"
#include "src/core/thread_pool.h"

enum { DEFAULT_CTX = 4096, DEFAULT_ROWS = 512, CHUNK_PIPELINE = 256, CHUNK_BLIND = 128, MB = 1000000 };
enum { NEED_WORDS_LISTED = 16384 /* biased and penalised tokens that a batch can name */ };

void job_options_default(struct job_options *o)
{
    memset(o, 0, sizeof *o);
    o->k_type = o->v_type = KV_F16;
    o->isa = "auto";
    o->gpu = -1;
    o->gpu_layers = PARTS_NGL_AUTO;
    o->n_slots = 1;
}

int32_t job_default_ctx(const struct model_config *config)
{
    return config->n_ctx_train < DEFAULT_CTX ? config->n_ctx_train : DEFAULT_CTX;
}

int32_t job_default_chunk(int32_t n_ranks)
{
    return n_ranks > 1 ? CHUNK_PIPELINE : DEFAULT_ROWS;
}

int32_t job_default_depth(int32_t n_ranks)
{
    return 2 * n_ranks;
}

/* Options that every rank must read alike; a hostfile that starts different programs or wrappers shows here. */
static uint64_t options_hash(const struct job_options *o)
{
    const int64_t values[] = {o->n_ctx,      o->max_rows,      o->chunk,         o->depth,
                              o->k_type,     o->v_type,        o->n_slots,       o->split_head,
                              o->objective,  o->calibrate,     o->trace != NULL, (int64_t)o->kv_memory,
                              o->gpu_layers, o->gpu_math_fast, BATCH_MAGIC};
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        hash = (hash ^ (uint64_t)values[i]) * 0x100000001b3u;
    }
    const char *const texts[] = {LLM_VERSION, o->device, o->sim_link};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (const char *c = texts[i] ? texts[i] : ""; *c; c++) {
            hash = (hash ^ (uint64_t)*c) * 0x100000001b3u;
        }
        hash = (hash ^ ',') * 0x100000001b3u;
    }
    for (int32_t i = 0; i < o->split.n; i++) {
        hash = (hash ^ (uint64_t)o->split.values[i]) * 0x100000001b3u;
    }
    return hash;
}

int job_is_simulated(const struct job *job)
{
    return job->devices[0].kind == DEVICE_SIM;
}

/* The same list on every rank: all find the same mistake. */
static int choose_devices(struct job *job, struct error *err)
{
    const struct job_options *o = &job->options;
    job->devices = calloc((size_t)job->cluster->size, sizeof *job->devices);
    if (!job->devices) {
        return error_set(err, "out of memory");
    }
    if (device_parse(o->device, job->cluster->size, job->devices, err)) {
        return -1;
    }
    int32_t n_open = 0; /* ranks that a GPU may be found for */
    for (int32_t i = 0; i < job->cluster->size; i++) {
        n_open += job->devices[i].kind == DEVICE_AUTO || job->devices[i].kind == DEVICE_CUDA;
        job->devices[i].kind = job->devices[i].kind == DEVICE_AUTO && o->gpu_layers == 0 ? DEVICE_CPU : job->devices[i].kind;
    }
    if (o->gpu >= 0 && n_open == 0) {
        return error_set(err, "--gpu %d was given with --device %s, which uses no GPU", o->gpu, o->device);
    }
    if (o->sim_link && !job_is_simulated(job)) {
        return error_set(err, "--sim-link %s was given without --device sim:BOARD, which it belongs to", o->sim_link);
    }
    return o->sim_link && board_link_find(o->sim_link, &job->link, err) ? error_prefix(err, "--sim-link") : 0;
}

/* What this machine has of what was asked for, then everybody's. */
static int find_devices(struct job *job, struct error *err)
{
    struct cluster *c = job->cluster;
    int status = device_find(&job->devices[c->rank], c->local_rank, job->options.gpu, topology_memory_available(), err);
    if (cluster_agree(c, status, err)) {
        return -1;
    }
    struct device mine = job->devices[c->rank];
    cluster_allgather(c, &mine, sizeof mine, job->devices);
    return 0;
}

static int open_file(struct job *job, struct error *err)
{
    if (!job->options.model) {
        return error_set(err, "no model: -m FILE names a GGUF file");
    }
    if (gguf_open(&job->file, job->options.model, err)) {
        return -1;
    }
    if (model_config_init(&job->config, &job->file, err)) {
        return error_prefix(err, "%s", job->options.model);
    }
    return slice_sizes_init(&job->sizes, &job->file, &job->config, err);
}

static int32_t smallest(int32_t a, int32_t b, int32_t c)
{
    int32_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* File and options, the same on every rank. */
static int open_together(struct job *job, struct cluster *cluster, const struct job_options *options, struct error *err)
{
    cluster->is_starting = 1;
    int status = cluster_agree(cluster, choose_devices(job, err), err) || find_devices(job, err) ||
                 cluster_agree(cluster, open_file(job, err), err) ||
                 cluster_agree_equal(cluster, options_hash(options), "the program's version or one of its options", err) ||
                 cluster_agree_equal(cluster, gguf_header_hash(&job->file), "the model file (header and sizes)", err);
    cluster->is_starting = 0;
    return status;
}

int job_open(struct job *job, struct cluster *cluster, const struct job_options *options, struct error *err)
{
    memset(job, 0, sizeof *job);
    job->cluster = cluster;
    job->options = *options;
    if (open_together(job, cluster, options, err)) {
        return -1;
    }
    if (job_is_simulated(job) && cluster->rank == 0) {
        log_info("simulated boards: times are by their profiles, the text means nothing");
    }
    struct job_options *o = &job->options;
    if (o->n_ctx == 0) {
        o->n_ctx = job_default_ctx(&job->config);
    } else if (o->n_ctx > job->config.n_ctx_train && cluster->rank == 0) {
        log_warn("-c %d is more than the %d positions that the model was made for", o->n_ctx, job->config.n_ctx_train);
    }
    int32_t chunk = job_default_chunk(cluster->size);
    job->chunk_is_given = o->chunk > 0;
    o->chunk = o->chunk ? o->chunk : chunk;
    o->max_rows = o->max_rows ? o->max_rows : o->chunk > chunk ? o->chunk : chunk;
    o->chunk = smallest(o->chunk, o->max_rows, o->n_ctx);
    o->max_rows = o->n_slots == 1 ? o->chunk : o->max_rows; /* one sequence fills a batch with one chunk at most */
    o->depth = o->depth ? o->depth : job_default_depth(cluster->size);
    return 0;
}

/* This rank's part of the plan. */
static const struct plan_rank *mine(const struct job *job)
{
    return &job->plan[job->cluster->rank];
}

/* 1 when ranks behind rank 0 own vocabulary rows. */
static int head_is_divided(const struct job *job)
{
    return job->owners[0].vocab_end < job->config.n_vocab;
}

static unsigned long long megabytes(uint64_t bytes)
{
    return (unsigned long long)((bytes + MB - 1) / MB);
}

/* What this rank needs against --memory-limit, or what all ranks of this node need against what it has. */
static int check_memory(const struct job *job, struct error *err)
{
    static const char advice[] = "more ranks, another --split, a smaller -c or -b, or -ctk q8_0 -ctv q8_0 need less";
    const struct cluster *c = job->cluster;
    const struct plan_rank *p = mine(job);
    uint64_t need = plan_total(p), limit = job->options.memory_limit, available = topology_memory_available(), node = 0;
    for (int32_t i = 0; i < c->size; i++) {
        node += c->peers[i].node == c->peers[c->rank].node ? parts_machine_bytes(job, i) : 0;
    }
    if (limit && need > limit) {
        return error_set(err, "%llu MB are needed (weights %llu, KV cache %llu, buffers %llu), --memory-limit allows %llu MB; %s",
                         megabytes(need), megabytes(p->weight_bytes), megabytes(p->kv_bytes), megabytes(p->buffer_bytes),
                         megabytes(limit), advice);
    }
    const struct device *d = &job->devices[c->rank];
    if (d->kind == DEVICE_SIM) {
        return need <= d->board.memory_bytes
                   ? 0
                   : error_set(err,
                               "%llu MB are needed (weights %llu, KV cache %llu, buffers %llu), board "
                               "%s has %llu MB for it; %s",
                               megabytes(need), megabytes(p->weight_bytes), megabytes(p->kv_bytes), megabytes(p->buffer_bytes),
                               d->board.name, megabytes(d->board.memory_bytes), advice);
    }
    if (!limit && available && node > available) {
        return error_set(
            err, "%llu MB are needed on this node (this rank: weights %llu, KV cache %llu, buffers %llu), %llu MB are free; %s",
            megabytes(node), megabytes(p->weight_bytes), megabytes(p->kv_bytes), megabytes(p->buffer_bytes), megabytes(available),
            advice);
    }
    return 0;
}

static void bind_worker(void *context, int32_t thread)
{
    const struct job *job = context;
    topology_bind(job->topology, thread);
}

static void bind_compute(void *context)
{
    bind_worker(context, 0);
}

static int make_threads(struct job *job, struct error *err)
{
    struct cluster *c = job->cluster;
    int32_t n_threads = job->options.n_threads;
    if (topology_init(&job->topology, err)) {
        return -1;
    }
    int simulated = job_is_simulated(job); /* ranks that sleep most of the time share all cores, bound to none */
    topology_plan(job->topology, simulated ? 0 : c->local_rank, simulated ? 1 : c->local_size, &n_threads);
    topology_bind(job->topology, -1);
    job->report.n_threads = simulated ? 1 : n_threads;
    if (simulated) {
        return 0;
    }
    char cores[64] = "";
    if (topology_place_text(job->topology, -1, cores, sizeof cores) == 0) {
        log_verbose("rank %d (%s): %d thread%s on processing units %s", c->rank, c->peers[c->rank].host, n_threads,
                    n_threads == 1 ? "" : "s", cores);
    }
    return thread_pool_init(&job->pool, n_threads, bind_worker, job, err);
}

int job_start_threads(struct job *job, struct error *err)
{
    return cluster_agree(job->cluster, make_threads(job, err), err);
}

/* Speeds decide nothing when there is one rank, or when the split is given by hand. */
static double measuring_limit_s(const struct job *job)
{
    return job->cluster->size > 1 && !job->options.split.given ? CALIBRATE_RUN_S : 0;
}

static int start_together(struct job *job, struct generator *generator, struct error *err)
{
    struct cluster *c = job->cluster;
    double start_s = clock_now_s();
    if (job_start_threads(job, err) || divide_measure(job, measuring_limit_s(job), RING_QUICK, err) || divide_plan(job, err)) {
        return -1;
    }
    parts_place(job);
    if (cluster_agree(c, check_memory(job, err), err) || cluster_agree(c, parts_open(job, err), err) ||
        cluster_agree(c, loading_run(job, err), err) || cluster_agree(c, parts_make(job, err), err) ||
        cluster_agree(c, job_trace_open(&job->trace, c, job->options.trace, err), err)) {
        return -1;
    }
    int32_t max_rows = job->options.max_rows, n_slots = job->options.n_slots;
    int32_t max_pages = plan_pages(job->options.n_ctx); /* a sequence may come with all of them shared */
    struct stage_options so = {
        .depth = job->options.depth,
        .shape = {.max_rows = max_rows,
                  .max_pages = max_rows / KV_PAGE + (n_slots < max_rows ? n_slots : max_rows) + 1 + max_pages,
                  .dim = job->config.dim,
                  .n_stages = c->size,
                  .max_need_words = head_is_divided(job) ? BATCH_NEED_WORDS * max_rows + NEED_WORDS_LISTED : 0},
        .n_slots = n_slots,
        .max_pages_per_slot = max_pages,
        .owners = head_is_divided(job) ? job->owners : NULL,
        .on_logits = generator_on_logits,
        .on_shortlist = generator_on_shortlist,
        .on_logits_context = generator,
        .link_latency_s = job->link.latency_s,
        .link_bytes_per_s = job->link.bytes_per_s,
        .trace = job_trace_rings(&job->trace),
    };
    if (stage_init(&job->stage, c, job->parts.segments, job->parts.n_segments, job->parts.head.host ? &job->parts.head : NULL,
                   &so, job_is_simulated(job) ? NULL : bind_compute, job, err)) {
        return -1;
    }
    job->report.load_s = clock_now_s() - start_s;
    job_trace_start(&job->trace, c);
    log_verbose("rank %d (%s): weights %llu MB, KV cache %llu MB, buffers %llu MB, loaded in %.2f s", c->rank,
                c->peers[c->rank].host, megabytes(mine(job)->weight_bytes), megabytes(mine(job)->kv_bytes),
                megabytes(mine(job)->buffer_bytes), job->report.load_s);
    return 0;
}

int job_start(struct job *job, struct generator *generator, struct error *err)
{
    job->cluster->is_starting = 1;
    int status = start_together(job, generator, err);
    job->cluster->is_starting = 0;
    return status;
}

int job_make_generator(struct job *job, struct scheduler *scheduler, struct generator *generator, struct error *err)
{
    const struct job_options *o = &job->options;
    int32_t size = job->cluster->size;
    struct scheduler_options so = {.n_slots = o->n_slots,
                                   .n_pages = job->n_pages,
                                   .max_rows = o->max_rows,
                                   .chunk = o->chunk,
                                   .blind_chunk = size > 1 && !job->chunk_is_given ? CHUNK_BLIND : 0,
                                   .n_ranks = size < o->depth ? size : o->depth,
                                   .max_groups = o->depth,
                                   .cost = divide_cost(job),
                                   .way = divide_way(job),
                                   .no_sharing = o->no_sharing};
    return scheduler_init(scheduler, &so, err) || generator_init(generator, &job->stage, scheduler, job->config.n_vocab, err) ? -1
                                                                                                                              : 0;
}

double job_hop_s(const struct job *job)
{
    const struct stage *stage = &job->stage;
    int32_t size = job->cluster->size;
    return size > 1 && stage->n_rounds ? stage->hops_s / (double)stage->n_rounds / size : 0;
}

void job_gather_reports(struct job *job, struct job_report *all)
{
    struct job_report *r = &job->report;
    struct link_counters counters;
    link_get_counters(job->stage.link, &counters);
    r->rank = job->cluster->rank;
    memcpy(r->host, job->cluster->peers[r->rank].host, sizeof r->host);
    parts_device_text(job, r->rank, r->device, sizeof r->device);
    r->layer_first = mine(job)->range.layer_first;
    r->layer_end = mine(job)->range.layer_end;
    r->owns_head = mine(job)->range.vocab_end > mine(job)->range.vocab_first;
    r->gpu_layers = parts_gpu_layers(job, r->rank);
    r->gpu = parts_gpu_counts(job);
    r->weight_bytes = mine(job)->weight_bytes;
    r->kv_bytes = mine(job)->kv_bytes;
    r->busy_s = job->stage.totals.busy_s;
    r->wait_s = job->stage.totals.wait_s;
    r->bytes_sent = counters.bytes_sent + (job->stage.mail ? mail_bytes_sent(job->stage.mail) : 0);
    r->peak_rss_bytes = topology_peak_rss();
    cluster_allgather(job->cluster, r, sizeof *r, all);
}

void job_close(struct job *job)
{
    if (job->stage.cluster) {
        stage_free(&job->stage);
    }
    slice_free(&job->slice);
    parts_close(&job->parts);
    thread_pool_free(job->pool);
    job_trace_close(&job->trace);
    speed_watch_free(&job->watch);
    topology_free(job->topology);
    free(job->plan);
    free(job->placements);
    free(job->speeds);
    free(job->links);
    free(job->memory);
    free(job->owners);
    slice_sizes_free(&job->sizes);
    free(job->devices);
    model_config_free(&job->config);
    gguf_close(&job->file);
    memset(job, 0, sizeof *job);
}
