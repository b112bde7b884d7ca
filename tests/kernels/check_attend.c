/* Attention over a group of pages: head sizes, cache types, ragged visibility, hidden positions full of NaN.
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/kernels/check_kernels.h"
#include "tests/kernels/guarded.h"
#include "tests/kernels/random.h"

enum { N_JOBS = 90, MAX_QUERIES = 40 };

struct attend_case {
    struct attend_job job;
    struct guarded q, k[KV_GROUP], v[KV_GROUP];
    const float *q_rows[MAX_QUERIES];
    int32_t n_visible[MAX_QUERIES];
    const void *k_pages[KV_GROUP], *v_pages[KV_GROUP];
};

struct attend_result {
    struct guarded m, l, o, scratch;
};

/* The pattern of guarded memory is a NaN in floats, halves and scales; positions [0, n) of a page get values. `stride`: of an
 * element of the head, `step`: of a position. Scales have the same two strides in their own array. */
static void fill_head(enum kv_type type, struct guarded *page, int32_t dim, int32_t n, int is_key, float size, uint64_t *seed)
{
    int32_t n_scales = (dim + Q8_BLOCK - 1) / Q8_BLOCK;
    uint16_t *scales = (uint16_t *)((char *)page->data + dim * KV_PAGE);
    for (int32_t j = 0; j < n; j++) {
        for (int32_t i = 0; i < dim; i++) {
            int32_t at = is_key ? i * KV_PAGE + j : j * dim + i;
            float value = random_unit(seed) * size;
            if (type == KV_F32) {
                ((float *)page->data)[at] = value;
            } else if (type == KV_F16) {
                ((uint16_t *)page->data)[at] = half_from_float(value);
            } else {
                ((int8_t *)page->data)[at] = (int8_t)(random_below(seed, 255) - 127);
                int32_t b = i / Q8_BLOCK;
                scales[is_key ? b * KV_PAGE + j : j * n_scales + b] = half_from_float(size * 0.01f * (1 + random_unit(seed)));
            }
        }
    }
}

static void make_case(struct attend_case *c, int number, uint64_t *seed)
{
    static const int32_t dims[12] = {8, 16, 24, 32, 40, 48, 64, 80, 96, 128, 20, 256};
    struct attend_job *job = &c->job;
    memset(c, 0, sizeof *c);
    job->k_type = (enum kv_type)(number % 3);
    job->v_type = (enum kv_type)(number / 3 % 3);
    job->k_dim = dims[random_below(seed, number % 10 ? 11 : 12)];
    job->v_dim = number % 2 ? job->k_dim : dims[random_below(seed, 11)];
    job->n_pages = 1 + random_below(seed, number % 10 ? 3 : KV_GROUP);
    job->n_queries = 1 + random_below(seed, number % 7 ? 6 : MAX_QUERIES);
    job->scale = number % 5 ? 0.1f : 3.0f; /* the large one drives exp to its ends */
    c->q = guarded_alloc((size_t)(job->n_queries * job->k_dim) * sizeof(float), sizeof(float));
    int32_t most = 0;
    for (int32_t i = 0; i < job->n_queries; i++) {
        int32_t all = job->n_pages * KV_PAGE;
        c->n_visible[i] = random_below(seed, 6) == 0 ? 0 : random_below(seed, 4) == 0 ? all : random_below(seed, all + 1);
        most = c->n_visible[i] > most ? c->n_visible[i] : most;
        c->q_rows[i] = (float *)c->q.data + i * job->k_dim;
    }
    for (int32_t i = 0; i < job->n_queries * job->k_dim; i++) {
        ((float *)c->q.data)[i] = random_unit(seed) * 4;
    }
    for (int32_t p = 0; p < job->n_pages; p++) {
        int32_t n = most - p * KV_PAGE < 0 ? 0 : most - p * KV_PAGE > KV_PAGE ? KV_PAGE : most - p * KV_PAGE;
        c->k[p] = guarded_alloc(KV_PAGE * backend_kv_row_bytes(job->k_dim, job->k_type), 64);
        c->v[p] = guarded_alloc(KV_PAGE * backend_kv_row_bytes(job->v_dim, job->v_type), 64);
        fill_head(job->k_type, &c->k[p], job->k_dim, n, 1, 2.0f, seed);
        fill_head(job->v_type, &c->v[p], job->v_dim, n, 0, 1.0f, seed);
        c->k_pages[p] = c->k[p].data;
        c->v_pages[p] = c->v[p].data;
    }
    job->q = c->q_rows;
    job->n_visible = c->n_visible;
    job->k_pages = c->k_pages;
    job->v_pages = c->v_pages;
}

static void free_case(struct attend_case *c)
{
    guarded_free(&c->q);
    for (int p = 0; p < KV_GROUP; p++) {
        guarded_free(&c->k[p]);
        guarded_free(&c->v[p]);
    }
}

static struct attend_result run_case(const struct cpu_kernels *table, const struct attend_case *c)
{
    struct attend_job job = c->job;
    size_t n = (size_t)job.n_queries * sizeof(float);
    struct attend_result out = {guarded_alloc(n, 4), guarded_alloc(n, 4), guarded_alloc(n * (size_t)job.v_dim, 4),
                                guarded_alloc(table->attend_scratch_bytes(job.k_dim, job.v_dim, job.n_queries), 64)};
    job.m = out.m.data;
    job.l = out.l.data;
    job.o = out.o.data;
    job.scratch = out.scratch.data;
    table->attend(&job);
    /* The largest of +0 and -0 may be either: no later step can tell them apart. */
    for (int32_t i = 0; i < job.n_queries; i++) {
        job.m[i] += 0.0f;
    }
    return out;
}

static void free_result(struct attend_result *r)
{
    guarded_free(&r->m);
    guarded_free(&r->l);
    guarded_free(&r->o);
    guarded_free(&r->scratch);
}

static int report(const struct cpu_kernels *table, const struct attend_job *job, const char *what, const struct guarded *found,
                  const struct guarded *expected, int32_t width)
{
    int64_t at = first_difference(found->data, expected->data, (int64_t)(found->bytes / sizeof(float)));
    if (at < 0) {
        return 0;
    }
    float a = ((float *)found->data)[at], b = ((float *)expected->data)[at];
    fprintf(stderr,
            "%s attend, k %d dims type %d, v %d dims type %d, %d pages, %d queries: %s of query %lld "
            "(sees %d), element %lld is %.9g (%a), expected %.9g (%a)\n",
            table->isa, job->k_dim, job->k_type, job->v_dim, job->v_type, job->n_pages, job->n_queries, what,
            (long long)(at / width), job->n_visible[at / width], (long long)(at % width), a, a, b, b);
    return 1;
}

int check_attend(const struct cpu_kernels *table, const struct cpu_kernels *ref, uint64_t seed)
{
    int failed = 0;
    for (int number = 0; number < N_JOBS && !failed; number++) {
        struct attend_case c;
        make_case(&c, number, &seed);
        struct attend_result found = run_case(table, &c), expected = run_case(ref, &c);
        failed = report(table, &c.job, "m", &found.m, &expected.m, 1) || report(table, &c.job, "l", &found.l, &expected.l, 1) ||
                 report(table, &c.job, "o", &found.o, &expected.o, c.job.v_dim);
        for (int32_t i = 0; i < c.job.n_queries && !failed; i++) {
            if (isnan(((float *)expected.l.data)[i])) {
                fprintf(stderr, "%s attend: the reference reads hidden positions\n", ref->isa);
                failed = 1;
            }
        }
        if (!failed && !(guarded_intact(&found.m) && guarded_intact(&found.l) && guarded_intact(&found.o) &&
                         guarded_intact(&found.scratch))) {
            fprintf(stderr, "%s attend, k %d v %d, %d queries: writes outside its output or scratch\n", table->isa, c.job.k_dim,
                    c.job.v_dim, c.job.n_queries);
            failed = 1;
        }
        free_result(&found);
        free_result(&expected);
        free_case(&c);
    }
    return failed;
}
