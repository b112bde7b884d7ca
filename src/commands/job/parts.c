/* SPDX-License-Identifier: MIT */
#include "src/commands/job/parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/commands/job/job.h"
#include "src/core/log.h"

/* Of a GPU's free memory so much stays free: the driver takes some for itself when kernels are loaded and steps recorded. */
enum { RESERVE_PARTS = 20, RESERVE_LEAST = 256 << 20, BUFFERS_ROUNDING = 24 << 20 };

int parts_read_ngl(const char *text, int32_t *out, struct error *err)
{
    char *end;
    if (!text || strcmp(text, "auto") == 0) {
        *out = PARTS_NGL_AUTO;
        return 0;
    }
    if (strcmp(text, "all") == 0) {
        *out = PARTS_NGL_ALL;
        return 0;
    }
    long n = strtol(text, &end, 10);
    if (end == text || *end || n < 0) {
        return error_set(err, "-ngl is \"%s\", expected a number, all or auto", text);
    }
    *out = n < PARTS_NGL_ALL ? (int32_t)n : PARTS_NGL_ALL;
    return 0;
}

static const struct device *my_device(const struct job *job)
{
    return &job->devices[job->cluster->rank];
}

static const struct plan_rank *my_plan(const struct job *job)
{
    return &job->plan[job->cluster->rank];
}

static int uses_gpu(const struct job *job)
{
    return my_device(job)->kind == DEVICE_CUDA && job->options.gpu_layers != 0;
}

static struct cuda_options gpu_options(const struct job *job, int32_t max_rows, int32_t max_pages)
{
    return (struct cuda_options){.device = my_device(job)->gpu,
                                 .max_rows = max_rows,
                                 .max_pages = max_pages,
                                 .record = !job->options.no_gpu_graphs,
                                 .fast_math = job->options.gpu_math_fast};
}

/* As this job's steps need it. */
static struct cuda_options step_options(const struct job *job)
{
    struct cuda_options o = gpu_options(job, job->options.max_rows, plan_pages(job->options.n_ctx));
    o.memory_limit = job->options.memory_limit;
    return o;
}

static int open_gpu(const struct job *job, struct backend **out, struct error *err)
{
    struct cuda_options o = step_options(job);
    return backend_cuda_create(out, &o, err);
}

static int open_cpu(const struct job *job, int32_t max_rows, struct backend **out, struct error *err)
{
    return backend_cpu_create(out, job->options.isa, job->pool, max_rows, !job->options.no_repack, err);
}

static int measures_gpu(const struct job *job, int32_t rank)
{
    int32_t n = job->options.gpu_layers;
    return job->devices[rank].kind == DEVICE_CUDA && (n == PARTS_NGL_AUTO || n > job->config.n_layers / 2);
}

int parts_measures_gpu(const struct job *job)
{
    return measures_gpu(job, job->cluster->rank);
}

int parts_backend(const struct job *job, int gpu, int32_t max_rows, int32_t max_pages, struct backend **out, struct error *err)
{
    struct cuda_options o = gpu_options(job, max_rows, max_pages);
    return gpu ? backend_cuda_create(out, &o, err) : open_cpu(job, max_rows, out, err);
}

/* -- what is on the GPU -- */

static int owns_head(const struct job *job)
{
    return my_plan(job)->range.vocab_end > my_plan(job)->range.vocab_first;
}

static struct segment_options segment_options(const struct job *job)
{
    const struct job_options *o = &job->options;
    return (struct segment_options){
        .max_rows = o->max_rows, .n_pages = job->n_pages, .k_type = (enum kv_type)o->k_type, .v_type = (enum kv_type)o->v_type};
}

static uint64_t kv_bytes(const struct job *job, int32_t layer)
{
    struct segment_options so = segment_options(job);
    return segment_kv_bytes(&job->config, layer, layer + 1, &so);
}

/* What a layer takes on a GPU: a block for each tensor, one for the keys and one for the values. */
static uint64_t layer_bytes(const struct job *job, int32_t layer)
{
    char prefix[32];
    size_t n = (size_t)snprintf(prefix, sizeof prefix, "blk.%d.", layer);
    uint64_t sum = 2 * backend_cuda_block_bytes((kv_bytes(job, layer) + 1) / 2);
    for (uint64_t i = 0; i < job->file.n_tensors; i++) {
        const struct gguf_tensor *t = &job->file.tensors[i];
        sum += strncmp(t->name, prefix, n) == 0 ? backend_cuda_block_bytes(t->bytes) : 0;
    }
    return sum;
}

static uint64_t head_bytes(const struct job *job)
{
    const struct slice_range *r = &my_plan(job)->range;
    uint64_t n_rows = (uint64_t)(r->vocab_end - r->vocab_first);
    return backend_cuda_block_bytes(n_rows * job->sizes.row_bytes) +
           backend_cuda_block_bytes(n_rows * HEAD_MAX_ROWS * sizeof(float));
}

/* Buffers, page tables and what attention needs, whatever number of layers is there. */
static uint64_t fixed_bytes(const struct job *job)
{
    const struct slice_range *r = &my_plan(job)->range;
    struct cuda_options o = step_options(job);
    uint64_t most = backend_cuda_own_bytes(&o, NULL, 0);
    for (int32_t i = r->layer_first; i < r->layer_end; i++) {
        struct kv_layer_shape shape = model_config_kv_shape(&job->config, i);
        uint64_t bytes = backend_cuda_own_bytes(&o, &shape, 1);
        most = bytes > most ? bytes : most;
    }
    uint64_t buffers = my_plan(job)->buffer_bytes; /* some dozen blocks */
    return most + buffers + buffers / 7 + BUFFERS_ROUNDING;
}

/* Bytes that this rank may take of its GPU: ranks that share it share its memory. */
static uint64_t gpu_budget(const struct job *job)
{
    const struct cluster *c = job->cluster;
    uint64_t n_sharing = 0, free_bytes = my_device(job)->gpu_free_bytes, limit = job->options.memory_limit;
    for (int32_t i = 0; i < c->size; i++) {
        const struct device *d = &job->devices[i];
        n_sharing += c->peers[i].node == c->peers[c->rank].node && d->kind == DEVICE_CUDA && d->gpu == my_device(job)->gpu;
    }
    uint64_t share = free_bytes / RESERVE_PARTS, reserve = share > RESERVE_LEAST ? share : RESERVE_LEAST;
    uint64_t budget = free_bytes > reserve ? (free_bytes - reserve) / (n_sharing ? n_sharing : 1) : 0;
    return limit && limit < budget ? limit : budget;
}

uint64_t parts_own_gpu_bytes(const struct job *job)
{
    return uses_gpu(job) && !my_device(job)->gpu_shares_memory ? gpu_budget(job) : 0;
}

/* As much as fits, from the end of the model: head, then layers. */
static struct placement place_by_memory(const struct job *job)
{
    const struct slice_range *r = &my_plan(job)->range;
    uint64_t budget = gpu_budget(job), used = fixed_bytes(job);
    int fits = !owns_head(job) || used + head_bytes(job) <= budget;
    struct placement p = {.gpu_first = r->layer_end, .head = fits && owns_head(job)};
    used += p.head ? head_bytes(job) : 0;
    while (fits && p.gpu_first > r->layer_first && used + layer_bytes(job, p.gpu_first - 1) <= budget) {
        used += layer_bytes(job, --p.gpu_first);
    }
    if (!fits || p.gpu_first > r->layer_first) {
        log_info("rank %d %s: %d of %d layers%s fit into GPU %d (%.1f GB for this rank), the others stay on the CPU",
                 job->cluster->rank, job->cluster->peers[job->cluster->rank].host, r->layer_end - p.gpu_first,
                 r->layer_end - r->layer_first, p.head ? " and the head" : "", my_device(job)->gpu, (double)budget / 1e9);
    }
    return p;
}

/* As -ngl says. */
static struct placement place_by_number(const struct job *job)
{
    const struct slice_range *r = &my_plan(job)->range;
    int32_t n = job->options.gpu_layers, n_layers = job->config.n_layers, first = n > n_layers ? 0 : n_layers + 1 - n;
    first = first < r->layer_first ? r->layer_first : first;
    return (struct placement){.gpu_first = first < r->layer_end ? first : r->layer_end, .head = owns_head(job)};
}

void parts_place(struct job *job)
{
    struct placement mine = {.gpu_first = my_plan(job)->range.layer_end};
    job->placements = calloc((size_t)job->cluster->size, sizeof *job->placements);
    if (!job->placements) {
        fatal("out of memory");
    }
    if (uses_gpu(job)) {
        mine = job->options.gpu_layers == PARTS_NGL_AUTO ? place_by_memory(job) : place_by_number(job);
    }
    cluster_allgather(job->cluster, &mine, sizeof mine, job->placements);
}

int32_t parts_gpu_layers(const struct job *job, int32_t rank)
{
    return job->plan[rank].range.layer_end - job->placements[rank].gpu_first;
}

static int has_gpu_part(const struct job *job, int32_t rank)
{
    return job->placements[rank].head || parts_gpu_layers(job, rank) > 0;
}

/* Everything that the rank owns is on its GPU. */
static int all_on_gpu(const struct job *job, int32_t rank)
{
    const struct slice_range *r = &job->plan[rank].range;
    int head = r->vocab_end > r->vocab_first;
    return has_gpu_part(job, rank) && job->placements[rank].gpu_first == r->layer_first && job->placements[rank].head == head;
}

uint64_t parts_machine_bytes(const struct job *job, int32_t rank)
{
    const struct plan_rank *p = &job->plan[rank];
    uint64_t bytes = plan_total(p), on_gpu = 0;
    if (job->devices[rank].kind != DEVICE_CUDA || job->devices[rank].gpu_shares_memory) {
        return bytes;
    }
    for (int32_t i = job->placements[rank].gpu_first; i < p->range.layer_end; i++) {
        on_gpu += job->sizes.layer_bytes[i] + kv_bytes(job, i);
    }
    if (job->placements[rank].head && !(p->range.embeds && job->sizes.tied)) {
        on_gpu += (uint64_t)(p->range.vocab_end - p->range.vocab_first) * job->sizes.row_bytes;
    }
    return bytes > on_gpu ? bytes - on_gpu : 0;
}

int parts_is_as_measured(const struct job *job, int32_t rank)
{
    return measures_gpu(job, rank) ? all_on_gpu(job, rank) : !has_gpu_part(job, rank);
}

void parts_device_text(const struct job *job, int32_t rank, char *text, size_t size)
{
    struct device d = job->devices[rank];
    int cpu = d.kind != DEVICE_SIM && !has_gpu_part(job, rank), both = !cpu && d.kind == DEVICE_CUDA && !all_on_gpu(job, rank);
    char device[DEVICE_TEXT_MAX];
    d.kind = cpu ? DEVICE_CPU : d.kind;
    device_text(&d, device, sizeof device);
    snprintf(text, size, "%s%s", both ? "cpu+" : "", device);
}

/* -- making it -- */

static const struct placement *my_placement(const struct job *job)
{
    return &job->placements[job->cluster->rank];
}

int parts_open(struct job *job, struct error *err)
{
    struct parts *p = &job->parts;
    int32_t max_rows = job->options.max_rows;
    if (job_is_simulated(job)) {
        return backend_sim_create(&p->main, &my_device(job)->board, max_rows, err);
    }
    if (all_on_gpu(job, job->cluster->rank)) {
        return open_gpu(job, &p->main, err);
    }
    return open_cpu(job, max_rows, &p->main, err) || (has_gpu_part(job, job->cluster->rank) && open_gpu(job, &p->gpu, err)) ? -1
                                                                                                                            : 0;
}

struct slice_places parts_places(const struct job *job)
{
    const struct parts *p = &job->parts;
    struct backend *behind = p->gpu ? p->gpu : p->main;
    return (struct slice_places){.first = p->main,
                                 .behind = behind,
                                 .cut = my_placement(job)->gpu_first,
                                 .head = my_placement(job)->head ? behind : p->main};
}

int parts_make(struct job *job, struct error *err)
{
    struct parts *p = &job->parts;
    const struct slice_range *r = &my_plan(job)->range;
    struct slice_places places = parts_places(job);
    struct segment_options so = segment_options(job);
    int32_t cut = p->gpu ? my_placement(job)->gpu_first : r->layer_end;
    if (cut > r->layer_first || r->layer_first == r->layer_end) {
        if (segment_init(&p->segments[p->n_segments++], &job->config, &job->slice, r->layer_first, cut, places.first, &so, err)) {
            return -1;
        }
    }
    if (cut < r->layer_end &&
        segment_init(&p->segments[p->n_segments++], &job->config, &job->slice, cut, r->layer_end, places.behind, &so, err)) {
        return -1;
    }
    return owns_head(job) ? head_init(&p->head, &job->config, &job->slice, places.head, err) : 0;
}

struct cuda_counts parts_gpu_counts(const struct job *job)
{
    const struct parts *p = &job->parts;
    const struct backend *gpu = p->gpu ? p->gpu : all_on_gpu(job, job->cluster->rank) ? p->main : NULL;
    return gpu ? backend_cuda_counts(gpu) : (struct cuda_counts){0};
}

void parts_close(struct parts *p)
{
    head_free(&p->head);
    if (p->gpu) {
        p->gpu->ops->destroy(p->gpu);
    }
    if (p->main) {
        p->main->ops->destroy(p->main);
    }
    memset(p, 0, sizeof *p);
}
