/* SPDX-License-Identifier: MIT */
#include "src/commands/job/parts.h"

#include <stdlib.h>
#include <string.h>

#include "src/commands/job/job.h"
#include "src/core/log.h"

/* Of a GPU's free memory so much stays free: the driver takes some for itself when kernels are loaded and steps recorded. */
enum { RESERVE_PARTS = 20, RESERVE_LEAST = 256 << 20 };

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

static struct cuda_options gpu_options(const struct job *job, int32_t max_rows)
{
    return (struct cuda_options){.device = my_device(job)->gpu,
                                 .max_rows = max_rows,
                                 .max_pages = plan_pages(job->options.n_ctx),
                                 .record = !job->options.no_gpu_graphs};
}

static int open_gpu(const struct job *job, int32_t max_rows, struct backend **out, struct error *err)
{
    struct cuda_options o = gpu_options(job, max_rows);
    return backend_cuda_create(out, &o, err);
}

static int open_cpu(const struct job *job, int32_t max_rows, struct backend **out, struct error *err)
{
    return backend_cpu_create(out, job->options.isa, job->pool, max_rows, !job->options.no_repack, err);
}

int parts_backend(const struct job *job, int32_t max_rows, struct backend **out, struct error *err)
{
    return uses_gpu(job) ? open_gpu(job, max_rows, out, err) : open_cpu(job, max_rows, out, err);
}

/* -- what is on the GPU -- */

static int owns_head(const struct job *job)
{
    return my_plan(job)->range.vocab_end > my_plan(job)->range.vocab_first;
}

/* What a layer takes on a GPU. */
static uint64_t layer_bytes(const struct job *job, int32_t layer)
{
    const struct job_options *o = &job->options;
    struct segment_options so = {
        .max_rows = o->max_rows, .n_pages = job->n_pages, .k_type = (enum kv_type)o->k_type, .v_type = (enum kv_type)o->v_type};
    return job->sizes.layer_bytes[layer] + segment_kv_bytes(&job->config, layer, layer + 1, &so);
}

static uint64_t head_bytes(const struct job *job)
{
    const struct slice_range *r = &my_plan(job)->range;
    return (uint64_t)(r->vocab_end - r->vocab_first) * (job->sizes.row_bytes + HEAD_MAX_ROWS * sizeof(float));
}

/* Buffers, page tables and what attention needs, whatever number of layers is there. */
static uint64_t fixed_bytes(const struct job *job)
{
    const struct slice_range *r = &my_plan(job)->range;
    struct cuda_options o = gpu_options(job, job->options.max_rows);
    uint64_t most = 0;
    for (int32_t i = r->layer_first; i < r->layer_end; i++) {
        struct kv_layer_shape shape = model_config_kv_shape(&job->config, i);
        uint64_t bytes = backend_cuda_own_bytes(&o, &shape, 1);
        most = bytes > most ? bytes : most;
    }
    return most + my_plan(job)->buffer_bytes;
}

/* Bytes that this rank may take of its GPU: ranks that share it share its memory. */
static uint64_t gpu_budget(const struct job *job)
{
    const struct cluster *c = job->cluster;
    uint64_t n_sharing = 0, free_bytes = my_device(job)->gpu_free_bytes;
    for (int32_t i = 0; i < c->size; i++) {
        const struct device *d = &job->devices[i];
        n_sharing += c->peers[i].node == c->peers[c->rank].node && d->kind == DEVICE_CUDA && d->gpu == my_device(job)->gpu;
    }
    uint64_t share = free_bytes / RESERVE_PARTS, reserve = share > RESERVE_LEAST ? share : RESERVE_LEAST;
    return free_bytes > reserve ? (free_bytes - reserve) / (n_sharing ? n_sharing : 1) : 0;
}

/* As much as fits, from the end of the model: head, then layers. */
static void place_by_memory(struct job *job)
{
    struct parts *p = &job->parts;
    const struct slice_range *r = &my_plan(job)->range;
    uint64_t budget = gpu_budget(job), used = fixed_bytes(job);
    int fits = !owns_head(job) || used + head_bytes(job) <= budget;
    p->head_on_gpu = fits && owns_head(job);
    used += p->head_on_gpu ? head_bytes(job) : 0;
    p->gpu_first = r->layer_end;
    while (fits && p->gpu_first > r->layer_first && used + layer_bytes(job, p->gpu_first - 1) <= budget) {
        used += layer_bytes(job, --p->gpu_first);
    }
    if (!fits || p->gpu_first > r->layer_first) {
        log_info("rank %d %s: %d of %d layers%s fit into GPU %d (%.1f GB for this rank), the others stay on the CPU",
                 job->cluster->rank, job->cluster->peers[job->cluster->rank].host, r->layer_end - p->gpu_first,
                 r->layer_end - r->layer_first, p->head_on_gpu ? " and the head" : "", my_device(job)->gpu, (double)budget / 1e9);
    }
}

void parts_place(struct job *job)
{
    struct parts *p = &job->parts;
    const struct slice_range *r = &my_plan(job)->range;
    int32_t n_layers = job->config.n_layers, n = job->options.gpu_layers;
    p->gpu_first = r->layer_end;
    if (!uses_gpu(job)) {
        return;
    }
    if (n == PARTS_NGL_AUTO) {
        place_by_memory(job);
        return;
    }
    int32_t first = n > n_layers ? 0 : n_layers + 1 - n;
    p->head_on_gpu = owns_head(job);
    p->gpu_first = first < r->layer_first ? r->layer_first : first > r->layer_end ? r->layer_end : first;
}

static int has_gpu_part(const struct job *job)
{
    return job->parts.head_on_gpu || job->parts.gpu_first < my_plan(job)->range.layer_end;
}

uint64_t parts_gpu_bytes(const struct job *job)
{
    uint64_t sum = has_gpu_part(job) ? fixed_bytes(job) + (job->parts.head_on_gpu ? head_bytes(job) : 0) : 0;
    for (int32_t i = job->parts.gpu_first; i < my_plan(job)->range.layer_end; i++) {
        sum += layer_bytes(job, i);
    }
    return sum;
}

/* -- making it -- */

/* Everything that the rank owns is on its GPU. */
static int all_on_gpu(const struct job *job)
{
    return has_gpu_part(job) && job->parts.gpu_first == my_plan(job)->range.layer_first &&
           job->parts.head_on_gpu == owns_head(job);
}

int parts_open(struct job *job, struct error *err)
{
    struct parts *p = &job->parts;
    int32_t max_rows = job->options.max_rows;
    if (job_is_simulated(job)) {
        return backend_sim_create(&p->main, &my_device(job)->board, max_rows, err);
    }
    if (all_on_gpu(job)) {
        return open_gpu(job, max_rows, &p->main, err);
    }
    return open_cpu(job, max_rows, &p->main, err) || (has_gpu_part(job) && open_gpu(job, max_rows, &p->gpu, err)) ? -1 : 0;
}

struct slice_places parts_places(const struct job *job)
{
    const struct parts *p = &job->parts;
    struct backend *behind = p->gpu ? p->gpu : p->main;
    return (struct slice_places){
        .first = p->main, .behind = behind, .cut = p->gpu_first, .head = p->head_on_gpu ? behind : p->main};
}

int parts_make(struct job *job, struct error *err)
{
    struct parts *p = &job->parts;
    const struct job_options *o = &job->options;
    const struct slice_range *r = &my_plan(job)->range;
    struct slice_places places = parts_places(job);
    struct segment_options so = {
        .max_rows = o->max_rows, .n_pages = job->n_pages, .k_type = (enum kv_type)o->k_type, .v_type = (enum kv_type)o->v_type};
    int32_t cut = p->gpu ? p->gpu_first : r->layer_end;
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
