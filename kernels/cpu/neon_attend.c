/* Attention over one group of pages with NEON. SPDX-License-Identifier: MIT
 *
 * Queries go in tiles of 4, 2 or 1 that share every loaded key and value. Scores: lanes are positions; values: lanes are
 * dimensions; so each score and each output keeps its one accumulator, as the contract wants. Keys and values that are not f32
 * are widened on the way, or once a page when many queries read them. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/neon_common.h"

enum {
    TILE = 4,       /* queries a tile */
    N_ACC = 16,     /* accumulators a tile, whatever its number of queries */
    WIDEN_ABOVE = 4 /* queries from which f16 is widened once a page */
};

/* Queries of the job that see something of the page, TILE at most, and what they see. */
struct query_tile {
    int32_t index[TILE];
    int32_t n_visible[TILE];
    float correction[TILE]; /* exp(old maximum - new maximum) */
    float (*p)[KV_PAGE];    /* [TILE] scores, then weights */
};

static size_t attend_scratch_bytes_neon(int32_t k_dim, int32_t v_dim, int32_t n_queries)
{
    (void)n_queries;
    return ((size_t)k_dim + (size_t)v_dim + TILE) * KV_PAGE * sizeof(float);
}

/* Element `at` of a page. */
NEON_INLINE const void *value_at(enum kv_type type, const void *page, size_t at)
{
    return (const char *)page + at * (type == KV_F32 ? sizeof(float) : sizeof(uint16_t));
}

/* Four elements, `vector` times four behind p. */
NEON_INLINE float32x4_t load_values(enum kv_type type, const void *p, int vector)
{
    return type == KV_F32 ? vld1q_f32((const float *)p + 4 * vector) : half4_to_float(vld1_u16((const uint16_t *)p + 4 * vector));
}

/* p = scores of nq queries for all positions below n_seen (and some behind, of no meaning). */
NEON_INLINE void score_tile(enum kv_type type, const struct attend_job *job, const struct query_tile *tile, const int nq,
                            const void *k, int32_t n_seen)
{
    const int nv = N_ACC / nq; /* vectors of positions */
    for (int32_t first = 0; first < n_seen; first += 4 * nv) {
        float32x4_t acc[TILE][N_ACC];
        const float *q[TILE];
        NEON_UNROLL
        for (int i = 0; i < nq; i++) {
            q[i] = job->q[tile->index[i]];
            NEON_UNROLL
            for (int v = 0; v < nv; v++) {
                acc[i][v] = vdupq_n_f32(0);
            }
        }
        for (int32_t dim = 0; dim < job->k_dim; dim++) {
            const void *keys = value_at(type, k, (size_t)dim * KV_PAGE + (size_t)first);
            NEON_UNROLL
            for (int v = 0; v < nv; v++) {
                const float32x4_t kv = load_values(type, keys, v);
                NEON_UNROLL
                for (int i = 0; i < nq; i++) {
                    acc[i][v] = vfmaq_n_f32(acc[i][v], kv, q[i][dim]);
                }
            }
        }
        NEON_UNROLL
        for (int i = 0; i < nq; i++) {
            NEON_UNROLL
            for (int v = 0; v < nv; v++) {
                vst1q_f32(tile->p[i] + first + 4 * v, vmulq_n_f32(acc[i][v], job->scale));
            }
        }
    }
}

/* Turns query i's scores into weights (0 behind the visible ones) and takes them into its maximum and sum. */
static void softmax_page(const struct attend_job *job, struct query_tile *tile, int i)
{
    float *p = tile->p[i];
    float *m = job->m + tile->index[i], *l = job->l + tile->index[i];
    for (int32_t j = tile->n_visible[i]; j < KV_PAGE; j++) {
        p[j] = -INFINITY;
    }
    float32x4_t top = vld1q_f32(p);
    for (int32_t j = 4; j < KV_PAGE; j += 4) {
        top = vmaxq_f32(top, vld1q_f32(p + j));
    }
    const float largest = vmaxvq_f32(top);
    const float maximum = *m > largest ? *m : largest;
    const float old[1] = {*m - maximum};
    tile->correction[i] = *m == -INFINITY ? 0.0f : vgetq_lane_f32(exp_neon(vld1q_dup_f32(old)), 0);
    float32x4_t lane[4];
    lane[0] = lane[1] = lane[2] = lane[3] = vdupq_n_f32(0);
    for (int32_t j = 0; j < KV_PAGE; j += 16) {
        NEON_UNROLL
        for (int v = 0; v < 4; v++) {
            float32x4_t e = exp_neon(vsubq_f32(vld1q_f32(p + j + 4 * v), vdupq_n_f32(maximum)));
            vst1q_f32(p + j + 4 * v, e);
            lane[v] = vaddq_f32(lane[v], e);
        }
    }
    *l = __builtin_fmaf(*l, tile->correction[i], sum_lanes_neon(lane));
    *m = maximum;
}

/* o = o * correction + p v for nq queries of the tile from `from` on, positions [first, end), nv vectors of dimensions from dim.
 */
NEON_INLINE void add_values_at(enum kv_type type, const struct attend_job *job, const struct query_tile *tile, int from,
                               const int nq, const int nv, const void *v_page, int32_t first, int32_t end, int32_t dim)
{
    float32x4_t acc[TILE][N_ACC];
    float *o[TILE];
    const float *p[TILE];
    NEON_UNROLL
    for (int i = 0; i < nq; i++) {
        o[i] = job->o + (size_t)tile->index[from + i] * (size_t)job->v_dim + dim;
        p[i] = tile->p[from + i];
        NEON_UNROLL
        for (int v = 0; v < nv; v++) {
            acc[i][v] = vmulq_n_f32(vld1q_f32(o[i] + 4 * v), tile->correction[from + i]);
        }
    }
    for (int32_t j = first; j < end; j++) {
        const void *values = value_at(type, v_page, (size_t)j * (size_t)job->v_dim + (size_t)dim);
        NEON_UNROLL
        for (int v = 0; v < nv; v++) {
            const float32x4_t value = load_values(type, values, v);
            NEON_UNROLL
            for (int i = 0; i < nq; i++) {
                acc[i][v] = vfmaq_n_f32(acc[i][v], value, p[i][j]);
            }
        }
    }
    NEON_UNROLL
    for (int i = 0; i < nq; i++) {
        NEON_UNROLL
        for (int v = 0; v < nv; v++) {
            vst1q_f32(o[i] + 4 * v, acc[i][v]);
        }
    }
}

/* Dimension dim of one query, for widths that are no multiple of four. */
static void add_value_single(enum kv_type type, const struct attend_job *job, const struct query_tile *tile, int i,
                             const void *v_page, int32_t first, int32_t end, int32_t dim)
{
    float *o = job->o + (size_t)tile->index[i] * (size_t)job->v_dim + dim;
    float acc = *o * tile->correction[i];
    for (int32_t j = first; j < end; j++) {
        const void *at = value_at(type, v_page, (size_t)j * (size_t)job->v_dim + (size_t)dim);
        const float value = type == KV_F32 ? *(const float *)at : half_to_float(*(const uint16_t *)at);
        acc = __builtin_fmaf(tile->p[i][j], value, acc);
    }
    *o = acc;
}

NEON_INLINE void add_values(enum kv_type type, const struct attend_job *job, const struct query_tile *tile, int from,
                            const int nq, const void *v_page, int32_t first, int32_t end)
{
    const int nv = N_ACC / nq;
    int32_t dim = 0;
    for (; dim + 4 * nv <= job->v_dim; dim += 4 * nv) {
        add_values_at(type, job, tile, from, nq, nv, v_page, first, end, dim);
    }
    for (; dim + 4 <= job->v_dim; dim += 4) {
        add_values_at(type, job, tile, from, nq, 1, v_page, first, end, dim);
    }
    for (; dim < job->v_dim; dim++) {
        for (int i = from; i < from + nq; i++) {
            add_value_single(type, job, tile, i, v_page, first, end, dim);
        }
    }
}

/* The whole of one page for a tile of nq queries. */
NEON_INLINE void attend_tile(enum kv_type k_type, enum kv_type v_type, const struct attend_job *job, struct query_tile *tile,
                             const int nq, const void *k, const void *v)
{
    int32_t common = KV_PAGE, n_seen = 0;
    for (int i = 0; i < nq; i++) {
        common = tile->n_visible[i] < common ? tile->n_visible[i] : common;
        n_seen = tile->n_visible[i] > n_seen ? tile->n_visible[i] : n_seen;
    }
    score_tile(k_type, job, tile, nq, k, n_seen);
    for (int i = 0; i < nq; i++) {
        softmax_page(job, tile, i);
    }
    add_values(v_type, job, tile, 0, nq, v, 0, common);
    /* What only some queries see: 0 * v added to the others would turn -0 into +0. */
    for (int i = 0; i < nq && nq > 1; i++) {
        if (tile->n_visible[i] > common) {
            tile->correction[i] = 1.0f;
            add_values(v_type, job, tile, i, 1, v, common, tile->n_visible[i]);
        }
    }
}

NEON_INLINE void attend_tile_of(enum kv_type k_type, enum kv_type v_type, const struct attend_job *job, struct query_tile *tile,
                                int nq, const void *k, const void *v)
{
    if (nq == 4) {
        attend_tile(k_type, v_type, job, tile, 4, k, v);
    } else if (nq == 2) {
        attend_tile(k_type, v_type, job, tile, 2, k, v);
    } else {
        attend_tile(k_type, v_type, job, tile, 1, k, v);
    }
}

static void attend_tile_any(enum kv_type k_type, enum kv_type v_type, const struct attend_job *job, struct query_tile *tile,
                            int nq, const void *k, const void *v)
{
    if (k_type == KV_F32 && v_type == KV_F32) {
        attend_tile_of(KV_F32, KV_F32, job, tile, nq, k, v);
    } else if (k_type == KV_F32) {
        attend_tile_of(KV_F32, KV_F16, job, tile, nq, k, v);
    } else if (v_type == KV_F32) {
        attend_tile_of(KV_F16, KV_F32, job, tile, nq, k, v);
    } else {
        attend_tile_of(KV_F16, KV_F16, job, tile, nq, k, v);
    }
}

static void widen_halves(const uint16_t *half, int32_t n, float *out)
{
    int32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        vst1q_f32(out + i, half4_to_float(vld1_u16(half + i)));
    }
    for (; i < n; i++) {
        out[i] = half_to_float(half[i]);
    }
}

NEON_INLINE void widen_bytes(int8x8_t q, float32x4_t scale0, float32x4_t scale1, float *out)
{
    int16x8_t wide = vmovl_s8(q);
    vst1q_f32(out, vmulq_f32(scale0, vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)))));
    vst1q_f32(out + 4, vmulq_f32(scale1, vcvtq_f32_s32(vmovl_high_s16(wide))));
}

/* int8 [k_dim][KV_PAGE], then half scales [k_dim / 32][KV_PAGE]. */
static void widen_k_q8_0(const int8_t *q, int32_t k_dim, float *out)
{
    const uint16_t *scales = (const uint16_t *)(const void *)(q + (size_t)k_dim * KV_PAGE);
    for (int32_t dim = 0; dim < k_dim; dim++) {
        const uint16_t *scale = scales + dim / Q8_BLOCK * KV_PAGE;
        for (int32_t j = 0; j < KV_PAGE; j += 8) {
            const uint16x8_t h = vld1q_u16(scale + j);
            widen_bytes(vld1_s8(q + dim * KV_PAGE + j), half4_to_float(vget_low_u16(h)), half4_high_to_float(h),
                        out + dim * KV_PAGE + j);
        }
    }
}

/* The first n_seen positions of int8 [KV_PAGE][v_dim], then half scales [KV_PAGE][v_dim / 32]. */
static void widen_v_q8_0(const int8_t *q, int32_t v_dim, int32_t n_seen, float *out)
{
    const int32_t n_scales = (v_dim + Q8_BLOCK - 1) / Q8_BLOCK;
    const uint16_t *scales = (const uint16_t *)(const void *)(q + (size_t)v_dim * KV_PAGE);
    for (int32_t j = 0; j < n_seen; j++, q += v_dim, out += v_dim) {
        int32_t dim = 0;
        for (; dim + 8 <= v_dim; dim += 8) {
            const float32x4_t scale = vdupq_n_f32(half_to_float(scales[j * n_scales + dim / Q8_BLOCK]));
            widen_bytes(vld1_s8(q + dim), scale, scale, out + dim);
        }
        for (; dim < v_dim; dim++) {
            out[dim] = half_to_float(scales[j * n_scales + dim / Q8_BLOCK]) * (float)q[dim];
        }
    }
}

/* A page of keys and values as the tiles read them. */
struct page_view {
    const void *k, *v;
    enum kv_type k_type, v_type;
};

/* n_active queries see at most n_seen positions of page number `page`. */
static struct page_view view_page(const struct attend_job *job, int32_t page, int32_t n_active, int32_t n_seen)
{
    struct page_view view = {job->k_pages[page], job->v_pages[page], job->k_type, job->v_type};
    float *k = job->scratch, *v = k + (size_t)job->k_dim * KV_PAGE;
    if (job->k_type == KV_Q8_0) {
        widen_k_q8_0(view.k, job->k_dim, k);
    } else if (job->k_type == KV_F16 && n_active > WIDEN_ABOVE) {
        widen_halves(view.k, job->k_dim * KV_PAGE, k);
    }
    if (job->v_type == KV_Q8_0) {
        widen_v_q8_0(view.v, job->v_dim, n_seen, v);
    } else if (job->v_type == KV_F16 && n_active > WIDEN_ABOVE) {
        widen_halves(view.v, job->v_dim * n_seen, v);
    }
    if (job->k_type == KV_Q8_0 || (job->k_type == KV_F16 && n_active > WIDEN_ABOVE)) {
        view.k = k;
        view.k_type = KV_F32;
    }
    if (job->v_type == KV_Q8_0 || (job->v_type == KV_F16 && n_active > WIDEN_ABOVE)) {
        view.v = v;
        view.v_type = KV_F32;
    }
    return view;
}

static int32_t visible_in_page(const struct attend_job *job, int32_t i, int32_t page)
{
    int32_t n = job->n_visible[i] - page * KV_PAGE;
    return n > KV_PAGE ? KV_PAGE : n;
}

static void attend_page(const struct attend_job *job, int32_t page)
{
    int32_t n_active = 0, n_seen = 0;
    for (int32_t i = 0; i < job->n_queries; i++) {
        const int32_t n = visible_in_page(job, i, page);
        n_active += n > 0;
        n_seen = n > n_seen ? n : n_seen;
    }
    if (n_active == 0) {
        return;
    }
    const struct page_view view = view_page(job, page, n_active, n_seen);
    struct query_tile tile;
    tile.p = (float(*)[KV_PAGE])((float *)job->scratch + (size_t)(job->k_dim + job->v_dim) * KV_PAGE);
    int32_t next = 0;
    while (n_active > 0) {
        const int want = n_active >= 4 ? 4 : n_active >= 2 ? 2 : 1;
        for (int n = 0; n < want; next++) {
            const int32_t visible = visible_in_page(job, next, page);
            if (visible > 0) {
                tile.index[n] = next;
                tile.n_visible[n] = visible;
                n++;
            }
        }
        attend_tile_any(view.k_type, view.v_type, job, &tile, want, view.k, view.v);
        n_active -= want;
    }
}

static void attend_neon(const struct attend_job *job)
{
    for (int32_t i = 0; i < job->n_queries; i++) {
        job->m[i] = -INFINITY;
        job->l[i] = 0;
    }
    memset(job->o, 0, (size_t)job->n_queries * (size_t)job->v_dim * sizeof *job->o);
    for (int32_t page = 0; page < job->n_pages; page++) {
        attend_page(job, page);
    }
}

void neon_attend_init(struct cpu_kernels *table)
{
    table->attend = attend_neon;
    table->attend_scratch_bytes = attend_scratch_bytes_neon;
    table->attend_queries = 16;
}
