/* SPDX-License-Identifier: MIT */
#include "src/commands/job/calibrate.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "src/cluster/machine_mode.h"
#include "src/plan/speed_cache.h"
#include "src/core/clock.h"
#include "src/core/log.h"
#include "src/core/thread_pool.h"
#include "src/engine/sampler.h"

/* PAST: a cached position far enough to tell what reading costs; MAX_BYTES: weights beyond every cache, more tell nothing new. */
enum { PAST = 1008, MAX_ROWS = 128, MAX_BYTES = 256 << 20, HEAD_BYTES = 64 << 20, KEY_BYTES = 4096, SWEEPS = 7 };

struct bench {
    struct job *job;
    double limit_s, begin_s;
    struct backend *backend;
    struct slice slice;
    struct segment segment;
    struct head head;
    struct slice_range range;
    float *hidden; /* [MAX_ROWS, dim] owned */
    int32_t pages[(PAST + MAX_ROWS) / KV_PAGE + 1];
    int gpu; /* 1: measured on the GPU */
    struct speed *out;
    int status;
    struct error *err;
};

/* -- what is timed -- */

/* The layers that the rank will probably own, as many as tell the speed of memory; some tiles of the head. */
static struct slice_range choose_range(const struct job *job)
{
    const struct slice_sizes *sizes = &job->sizes;
    int32_t n = sizes->n_layers, size = job->cluster->size, first = (int32_t)((int64_t)n * job->cluster->rank / size),
            end = first;
    uint64_t bytes = 0;
    first = first < n ? first : n - 1;
    for (end = first; end < n && end - first < (n + size - 1) / size && (end == first || bytes < MAX_BYTES); end++) {
        bytes += sizes->layer_bytes[end];
    }
    uint64_t tile = sizes->row_bytes * VOCAB_TILE, n_tiles = HEAD_BYTES / tile + 1;
    return (struct slice_range){.layer_first = first,
                                .layer_end = end,
                                .vocab_end = n_tiles * VOCAB_TILE < (uint64_t)sizes->n_vocab ? (int32_t)n_tiles * VOCAB_TILE
                                                                                             : sizes->n_vocab};
}

/* One step of n rows at positions past.. through the first n_layers of the layers: always the same number of layers for a number
 * of rows, since a backend may replay what it has seen. */
static void step(struct bench *b, int32_t n, int32_t past, int32_t n_layers)
{
    int32_t tokens[MAX_ROWS] = {0}, positions[MAX_ROWS], slots[MAX_ROWS] = {0};
    for (int32_t i = 0; i < n; i++) {
        positions[i] = past + i;
    }
    struct backend_rows rows = {.n_rows = n,
                                .tokens = tokens,
                                .positions = positions,
                                .slots = slots,
                                .pages = b->pages,
                                .max_pages = (int32_t)(sizeof b->pages / sizeof *b->pages)};
    b->segment.end = b->segment.first + n_layers;
    segment_forward(&b->segment, &rows, 0, b->hidden, NULL);
}

static double time_sampling(const struct bench *b, int32_t n_vocab)
{
    struct sampler *sampler;
    struct sampler_params params;
    struct sampler_result result;
    double least_s = INFINITY;
    float *logits = malloc(sizeof *logits * (size_t)n_vocab);
    sampler_params_default(&params);
    if (!logits || sampler_init(&sampler, n_vocab, b->err)) {
        free(logits);
        return 0;
    }
    for (int32_t i = 0; i < n_vocab; i++) {
        logits[i] = (float)((uint32_t)i * 2654435761u >> 16) / 6553.6f;
    }
    for (int i = 0; i < SWEEPS; i++) {
        double start = clock_now_s();
        sampler_pick(sampler, &params, logits, n_vocab, NULL, 0, i, &result);
        least_s = fmin(least_s, clock_now_s() - start);
    }
    sampler_free(sampler);
    free(logits);
    return least_s;
}

/* -- which steps are timed -- */

enum what { LAYERS, HEAD };

struct probe {
    enum what what;
    int32_t n_rows, past, n_layers;
    int left_out;   /* 1: it would take too long */
    double least_s; /* of the sweeps so far: nobody disturbed */
};

static const int32_t probe_rows[] = {1, 2, 4, 8, 16, 32, MAX_ROWS};
enum { N_ROWS = sizeof probe_rows / sizeof *probe_rows, N_PROBES = 2 * N_ROWS + 2, CHUNK = 4, FAR = 2 * N_ROWS, FAR_CHUNK };

/* Layers and head for each number of rows, layers far from the beginning for one row and for a chunk. Many rows tell as much with
 * few layers: they compute more than they read. */
static void choose_probes(const struct bench *b, struct probe *probes)
{
    int32_t n_layers = b->range.layer_end - b->range.layer_first, most = b->job->options.max_rows;
    memset(probes, 0, N_PROBES * sizeof *probes);
    for (int32_t i = 0; i < N_ROWS; i++) {
        int32_t n = probe_rows[i], few = 4 * n_layers / n > 1 ? 4 * n_layers / n : 1, skip = n > most;
        probes[i] = (struct probe){LAYERS, n, 0, few < n_layers ? few : n_layers, skip, INFINITY};
        probes[N_ROWS + i] = (struct probe){HEAD, n, 0, 0, n > HEAD_MAX_ROWS || skip, INFINITY};
    }
    probes[FAR] = (struct probe){LAYERS, 1, PAST, n_layers, 0, INFINITY};
    probes[FAR_CHUNK] = probes[CHUNK];
    probes[FAR_CHUNK].past = PAST;
}

static void run_probe(struct bench *b, struct probe *p)
{
    double start = clock_now_s();
    if (p->what == LAYERS) {
        step(b, p->n_rows, p->past, p->n_layers);
    } else {
        head_forward(&b->head, b->hidden, p->n_rows);
    }
    p->least_s = fmin(p->least_s, clock_now_s() - start);
}

/* Sweeps over all probes, so that a neighbour's burst of work does not fall on one of them alone, until the time is up. What
 * would take more than a sixth of it (by the probe before) is left out. */
static void run_probes(struct bench *b, struct probe *probes)
{
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        for (int32_t i = 0; i < N_PROBES; i++) {
            struct probe *p = &probes[i];
            if (sweep == 0 && !p->left_out && p->n_rows > 1) {
                const struct probe *before = &probes[i == FAR_CHUNK ? CHUNK : i - 1];
                double layers = p->what == LAYERS ? (double)p->n_layers / before->n_layers : 1;
                double guess_s = before->least_s * layers * p->n_rows / before->n_rows;
                p->left_out = before->left_out || guess_s > b->limit_s / 6;
            }
            if (sweep > 0 && clock_now_s() - b->begin_s > b->limit_s) {
                return;
            }
            if (!p->left_out) {
                run_probe(b, p);
            }
        }
    }
}

/* Never less than for fewer rows: that would be noise. */
static void measure(struct bench *b)
{
    struct probe probes[N_PROBES];
    struct speed *s = b->out;
    int32_t n_layers = b->range.layer_end - b->range.layer_first;
    double tiles = (double)b->range.vocab_end / VOCAB_TILE;
    for (int32_t i = 0; i < n_layers; i++) {
        s->layer_bytes += (double)b->job->sizes.layer_bytes[b->range.layer_first + i] / n_layers;
    }
    choose_probes(b, probes);
    run_probes(b, probes);
    for (int32_t i = 0; i < N_ROWS && !probes[i].left_out; i++) {
        struct probe *head = &probes[N_ROWS + i];
        double layer_s = probes[i].least_s / probes[i].n_layers;
        double tile_s = head->left_out ? 0 : head->least_s / tiles;
        s->rows[i] = probe_rows[i];
        s->layer_s[i] = i && layer_s < s->layer_s[i - 1] ? s->layer_s[i - 1] : layer_s;
        s->tile_s[i] = i && tile_s < s->tile_s[i - 1] ? s->tile_s[i - 1] : tile_s;
        s->n_points++;
    }
    double more_s = probes[FAR].least_s / n_layers - s->layer_s[0];
    s->pair_s = more_s > 0 ? more_s / PAST : 0;
    if (!probes[FAR_CHUNK].left_out) {
        more_s = probes[FAR_CHUNK].least_s / probes[FAR_CHUNK].n_layers - s->layer_s[CHUNK];
        s->chunk_pair_s = more_s > 0 ? more_s / probes[FAR_CHUNK].n_rows / PAST : 0;
    } else {
        s->chunk_pair_s = s->pair_s;
    }
    s->sample_s = time_sampling(b, b->job->sizes.n_vocab);
}

static int prepare(struct bench *b)
{
    struct job *job = b->job;
    int32_t n_pages = (int32_t)(sizeof b->pages / sizeof *b->pages);
    struct segment_options so = {.max_rows = MAX_ROWS,
                                 .n_pages = n_pages,
                                 .k_type = (enum kv_type)job->options.k_type,
                                 .v_type = (enum kv_type)job->options.v_type};
    b->hidden = realloc(b->hidden, sizeof *b->hidden * MAX_ROWS * (size_t)job->config.dim);
    if (!b->hidden) {
        return error_set(b->err, "out of memory for %d rows", MAX_ROWS);
    }
    for (int32_t i = 0; i < MAX_ROWS * job->config.dim; i++) {
        b->hidden[i] = (float)(i % 17 - 8) / 8;
    }
    for (int32_t i = 0; i < n_pages; i++) {
        b->pages[i] = i;
    }
    if (parts_backend(job, b->gpu, MAX_ROWS, n_pages, &b->backend, b->err)) {
        return -1;
    }
    struct slice_places places = {b->backend, b->backend, 0, b->backend};
    return slice_load(&b->slice, &job->file, &job->config, &b->range, &places, NULL, NULL, b->err) ||
                   segment_init(&b->segment, &job->config, &b->slice, b->range.layer_first, b->range.layer_end, b->backend, &so,
                                b->err) ||
                   head_init(&b->head, &job->config, &b->slice, b->backend, b->err)
               ? -1
               : 0;
}

static void release(struct bench *b)
{
    head_free(&b->head);
    slice_free(&b->slice);
    if (b->backend) {
        b->backend->ops->destroy(b->backend);
    }
    b->backend = NULL;
}

static void *bench_thread(void *context)
{
    struct bench *b = context;
    topology_bind(b->job->topology, 0);
    b->status = prepare(b);
    if (b->status && b->gpu &&
        b->job->options.gpu_layers == PARTS_NGL_AUTO) { /* it is too full to be measured, and to be used much */
        release(b);
        b->gpu = 0;
        b->status = prepare(b);
    }
    if (b->status == 0) {
        step(b, 1, 0, b->range.layer_end - b->range.layer_first); /* a GPU loads its kernels when they are first launched */
        head_forward(&b->head, b->hidden, 1);
        b->begin_s = clock_now_s();
        measure(b);
    }
    release(b);
    free(b->hidden);
    return NULL;
}

/* On a thread of its own, bound as the compute thread will be. */
static int run_bench(struct job *job, double limit_s, struct speed *out, struct error *err)
{
    struct bench b = {
        .job = job, .limit_s = limit_s, .range = choose_range(job), .gpu = parts_measures_gpu(job), .out = out, .err = err};
    pthread_t thread;
    memset(out, 0, sizeof *out);
    if (pthread_create(&thread, NULL, bench_thread, &b)) {
        return error_set(err, "no thread for measuring speed");
    }
    pthread_join(thread, NULL);
    return b.status;
}

/* -- the key -- */

/* "Q4_K 193, Q6_K 33, ": the matrices of the file by type. */
static void types_text(const struct gguf *file, char *text, size_t size)
{
    int32_t counts[DTYPE_COUNT] = {0};
    for (uint64_t i = 0; i < file->n_tensors; i++) {
        counts[file->tensors[i].type] += file->tensors[i].n_dims == 2;
    }
    text[0] = '\0';
    for (uint32_t type = 0; type < DTYPE_COUNT; type++) {
        size_t used = strlen(text);
        if (counts[type]) {
            snprintf(text + used, size - used, "%s %d, ", dtype_info(type)->name, counts[type]);
        }
    }
}

void calibrate_key(const struct job *job, char *key, size_t size)
{
    const struct model_config *c = &job->config;
    const struct job_options *o = &job->options;
    const struct layer_shape *s = &c->layers[0];
    const struct device *d = &job->devices[job->cluster->rank];
    int gpu = parts_measures_gpu(job);
    struct stat program;
    char types[512], mode[1024];
    if (stat("/proc/self/exe", &program)) {
        memset(&program, 0, sizeof program);
    }
    types_text(&job->file, types, sizeof types);
    machine_mode_text("", mode, sizeof mode);
    snprintf(
        key, size,
        "llm %s %lld bytes of %lld; model %s layers %d dim %d heads %d/%d x %d/%d ffn %d vocab %d types %sfor %d ranks; isa %s%s "
        "threads %d rows %d kv %d/%d; %s%s%s; %s",
        LLM_VERSION, (long long)program.st_size, (long long)program.st_mtime, c->arch->name, c->n_layers, c->dim, s->n_heads,
        s->n_kv_heads, c->k_dim, c->v_dim, s->ffn_dim, c->n_vocab, types, job->cluster->size, o->isa,
        o->no_repack ? " no-repack" : "", thread_pool_size(job->pool), o->max_rows < MAX_ROWS ? o->max_rows : MAX_ROWS, o->k_type,
        o->v_type, gpu ? d->gpu_name : "cpu", gpu && o->no_gpu_graphs ? " no graphs" : "",
        gpu && o->gpu_math_fast ? " fast math" : "", mode);
}

/* -- all ranks -- */

/* Ranks of a node with the same key have one leader, the lowest. */
struct identity {
    uint64_t key;
    int64_t node;
};

static int same(const struct identity *a, const struct identity *b)
{
    return a->key == b->key && a->node == b->node;
}

static int get_speed(struct job *job, const char *key, double limit_s, struct speed *out, struct error *err)
{
    char path[1024];
    double begin_s = clock_now_s();
    int has_place = speed_cache_path(key, path, sizeof path) == 0;
    int cached = has_place && !job->options.calibrate && speed_cache_load(path, key, out);
    if (!cached && run_bench(job, limit_s, out, err)) {
        return error_prefix(err, "measuring speed");
    }
    if (!cached && has_place) {
        speed_cache_save(path, key, out);
    }
    log_verbose("rank %d: %.3f ms a layer, %.3f ms a head tile, %s in %.2f s", job->cluster->rank, out->layer_s[0] * 1e3,
                out->tile_s[0] * 1e3, cached ? "known" : "measured", clock_now_s() - begin_s);
    return 0;
}

int calibrate(struct job *job, double limit_s, struct speed *speeds, struct error *err)
{
    struct cluster *c = job->cluster;
    char key[KEY_BYTES];
    struct identity mine = {.key = 0xcbf29ce484222325u, .node = c->peers[c->rank].node};
    struct identity *all = calloc((size_t)c->size, sizeof *all);
    struct speed speed = {0};
    if (!all) {
        fatal("out of memory");
    }
    calibrate_key(job, key, sizeof key);
    for (const char *p = key; *p; p++) {
        mine.key = (mine.key ^ (unsigned char)*p) * 0x100000001b3u;
    }
    cluster_allgather(c, &mine, sizeof mine, all);
    int32_t leader = 0;
    while (!same(&all[leader], &mine)) {
        leader++;
    }
    int status = cluster_agree(c, leader == c->rank ? get_speed(job, key, limit_s, &speed, err) : 0, err);
    if (status == 0) {
        cluster_allgather(c, &speed, sizeof speed, speeds);
        for (int32_t i = 0; i < c->size; i++) {
            for (leader = 0; !same(&all[leader], &all[i]);) {
                leader++;
            }
            speeds[i] = speeds[leader];
        }
    }
    free(all);
    return status;
}
