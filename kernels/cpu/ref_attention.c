/* Attention of the scalar reference: one group of pages. SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "kernels/cpu/math_ref.h"
#include "kernels/cpu/ref.h"
#include "src/core/math.h"

/* Keys [k_dim][KV_PAGE] and values [KV_PAGE][v_dim] of a page as f32, then the scores of one query. */
struct page_values {
    float *k;
    float *v;
    float *p; /* [KV_PAGE] */
};

size_t attend_scratch_bytes_ref(int32_t k_dim, int32_t v_dim, int32_t n_queries)
{
    (void)n_queries;
    return ((size_t)k_dim + (size_t)v_dim + 1) * KV_PAGE * sizeof(float);
}

static void widen_halves(const void *source, int32_t n, float *out)
{
    const uint16_t *half = source;
    for (int32_t i = 0; i < n; i++) {
        out[i] = half_to_float(half[i]);
    }
}

static void load_k(const struct attend_job *job, int32_t page, float *k)
{
    const void *source = job->k_pages[page];
    int32_t n = job->k_dim * KV_PAGE;
    if (job->k_type == KV_F32) {
        memcpy(k, source, (size_t)n * sizeof *k);
    } else if (job->k_type == KV_F16) {
        widen_halves(source, n, k);
    } else {
        const int8_t *q = source;
        const uint16_t *scales = (const uint16_t *)(q + n);
        for (int32_t i = 0; i < n; i++) {
            int32_t dim = i / KV_PAGE, position = i % KV_PAGE;
            k[i] = half_to_float(scales[dim / Q8_BLOCK * KV_PAGE + position]) * (float)q[i];
        }
    }
}

static void load_v(const struct attend_job *job, int32_t page, float *v)
{
    const void *source = job->v_pages[page];
    int32_t n = job->v_dim * KV_PAGE;
    if (job->v_type == KV_F32) {
        memcpy(v, source, (size_t)n * sizeof *v);
    } else if (job->v_type == KV_F16) {
        widen_halves(source, n, v);
    } else {
        const int8_t *q = source;
        const uint16_t *scales = (const uint16_t *)(q + n);
        int32_t n_scales = (job->v_dim + Q8_BLOCK - 1) / Q8_BLOCK;
        for (int32_t i = 0; i < n; i++) {
            int32_t position = i / job->v_dim, dim = i % job->v_dim;
            v[i] = half_to_float(scales[position * n_scales + dim / Q8_BLOCK]) * (float)q[i];
        }
    }
}

/* Scores of the visible positions into p; returns the largest. */
static float score_page(const struct attend_job *job, const float *q, const struct page_values *page, int32_t n_visible)
{
    float largest = -INFINITY;
    for (int32_t j = 0; j < n_visible; j++) {
        float acc = 0;
        for (int32_t i = 0; i < job->k_dim; i++) {
            acc = fmaf(q[i], page->k[i * KV_PAGE + j], acc);
        }
        page->p[j] = acc * job->scale;
        largest = page->p[j] > largest ? page->p[j] : largest;
    }
    return largest;
}

/* Takes a page with n_visible >= 1 positions into query i's running softmax. */
static void add_page(const struct attend_job *job, int32_t i, const struct page_values *page, int32_t n_visible)
{
    float *o = job->o + (size_t)i * (size_t)job->v_dim;
    float lane[16] = {0};
    float largest = score_page(job, job->q[i], page, n_visible);
    float maximum = job->m[i] > largest ? job->m[i] : largest;
    float correction = job->m[i] == -INFINITY ? 0.0f : math_exp(job->m[i] - maximum);
    for (int32_t j = 0; j < n_visible; j++) {
        page->p[j] = math_exp(page->p[j] - maximum);
        lane[j % 16] += page->p[j];
    }
    job->l[i] = fmaf(job->l[i], correction, sum_lanes_ref(lane));
    job->m[i] = maximum;
    for (int32_t d = 0; d < job->v_dim; d++) {
        o[d] = o[d] * correction;
    }
    for (int32_t j = 0; j < n_visible; j++) {
        for (int32_t d = 0; d < job->v_dim; d++) {
            o[d] = fmaf(page->p[j], page->v[j * job->v_dim + d], o[d]);
        }
    }
}

void attend_ref(const struct attend_job *job)
{
    struct page_values page;
    page.k = job->scratch;
    page.v = page.k + job->k_dim * KV_PAGE;
    page.p = page.v + job->v_dim * KV_PAGE;
    for (int32_t i = 0; i < job->n_queries; i++) {
        job->m[i] = -INFINITY;
        job->l[i] = 0;
        memset(job->o + (size_t)i * (size_t)job->v_dim, 0, (size_t)job->v_dim * sizeof *job->o);
    }
    for (int32_t p = 0; p < job->n_pages; p++) {
        load_k(job, p, page.k);
        load_v(job, p, page.v);
        for (int32_t i = 0; i < job->n_queries; i++) {
            int32_t n_visible = job->n_visible[i] - p * KV_PAGE;
            n_visible = n_visible > KV_PAGE ? KV_PAGE : n_visible;
            if (n_visible > 0) {
                add_page(job, i, &page, n_visible);
            }
        }
    }
}
