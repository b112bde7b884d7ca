/* Attention over one group of pages with AVX2. SPDX-License-Identifier: MIT
 *
 * Scores and values are the same product: rows of a page, scaled by one number each, are added up in order, positions or value
 * dimensions in the lanes. Tiles of three queries and four vectors. Pages of many queries are widened to f32 once.
 * Limits: the fma pipes with three queries or more, loads and conversions with one. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/avx2.h"
#include "kernels/cpu/x86_float.h"

#define X86_INLINE static inline __attribute__((always_inline))

enum {
    LANES = 8,
    TILE_QUERIES = 3,
    TILE_VECTORS = 4,
    WIDEN_QUERIES = 4 /* from so many queries on, F16 pages are widened before use */
};

/* Rows of a page: f32, or halves. */
struct page_rows {
    const char *data;
    size_t row_bytes;
    int is_half;
};

/* One or more queries that see something of the page at hand. */
struct tile {
    int n;
    int32_t query[TILE_QUERIES];
    int32_t n_visible[TILE_QUERIES]; /* 1 .. KV_PAGE positions of the page */
    float correction[TILE_QUERIES];
};

struct attend_state {
    const struct attend_job *job;
    float *k; /* [k_dim, KV_PAGE] widened page */
    float *v; /* [KV_PAGE, v_stride] widened page */
    float *p; /* [TILE_QUERIES, KV_PAGE] scores, then weights */
    float *o; /* [n_queries, v_stride] the job's own when v_dim is a multiple of LANES */
    int32_t v_stride;
};

static int32_t round_up_lanes(int32_t n)
{
    return (n + LANES - 1) / LANES * LANES;
}

static int32_t min_int(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

size_t attend_scratch_bytes_avx2(int32_t k_dim, int32_t v_dim, int32_t n_queries)
{
    size_t v_stride = (size_t)round_up_lanes(v_dim);
    return (((size_t)k_dim + v_stride + TILE_QUERIES) * KV_PAGE + (size_t)n_queries * v_stride) * sizeof(float);
}

/* c[q][0 .. 8 nv) = fma(a[q][i], row i of b, c[q]) for i in [first, end); before that c is cleared (factor NULL) or
 * multiplied by factor[q]. */
X86_INLINE void add_rows_tile(load8_fn load8, size_t bytes, int nq, int nv, const float *const *a, int32_t first, int32_t end,
                              const char *b, size_t row_bytes, const float *factor, float *const *c)
{
    __m256 acc[TILE_QUERIES * TILE_VECTORS];
#pragma GCC unroll 4
    for (int q = 0; q < nq; q++) {
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) {
            acc[q * nv + v] = factor ? _mm256_mul_ps(_mm256_loadu_ps(c[q] + LANES * v), _mm256_set1_ps(factor[q]))
                                     : _mm256_setzero_ps();
        }
    }
    for (int32_t i = first; i < end; i++) {
        const char *row = b + (size_t)i * row_bytes;
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) {
            __m256 values = load8(row + (size_t)(LANES * v) * bytes);
#pragma GCC unroll 4
            for (int q = 0; q < nq; q++) {
                acc[q * nv + v] = _mm256_fmadd_ps(_mm256_broadcast_ss(a[q] + i), values, acc[q * nv + v]);
            }
        }
    }
#pragma GCC unroll 4
    for (int q = 0; q < nq; q++) {
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) {
            _mm256_storeu_ps(c[q] + LANES * v, acc[q * nv + v]);
        }
    }
}

X86_INLINE void add_rows_vectors(load8_fn load8, size_t bytes, int nq, int32_t n_vectors, const float *const *a, int32_t first,
                                 int32_t end, const struct page_rows *b, const float *factor, float *const *c)
{
    float *to[TILE_QUERIES];
    for (int32_t v = 0; v < n_vectors;) {
        const char *rows = b->data + (size_t)(LANES * v) * bytes;
        for (int q = 0; q < nq; q++) {
            to[q] = c[q] + LANES * v;
        }
        if (n_vectors - v >= TILE_VECTORS) {
            add_rows_tile(load8, bytes, nq, TILE_VECTORS, a, first, end, rows, b->row_bytes, factor, to);
            v += TILE_VECTORS;
        } else {
            add_rows_tile(load8, bytes, nq, 1, a, first, end, rows, b->row_bytes, factor, to);
            v++;
        }
    }
}

X86_INLINE void add_rows_queries(load8_fn load8, size_t bytes, int nq, int32_t n_vectors, const float *const *a, int32_t first,
                                 int32_t end, const struct page_rows *b, const float *factor, float *const *c)
{
    if (nq == 3) {
        add_rows_vectors(load8, bytes, 3, n_vectors, a, first, end, b, factor, c);
    } else if (nq == 2) {
        add_rows_vectors(load8, bytes, 2, n_vectors, a, first, end, b, factor, c);
    } else {
        add_rows_vectors(load8, bytes, 1, n_vectors, a, first, end, b, factor, c);
    }
}

static void clear_add_rows(int nq, int32_t n_vectors, const float *const *a, int32_t n, const struct page_rows *b,
                           float *const *c)
{
    if (b->is_half) {
        add_rows_queries(load8_f16, 2, nq, n_vectors, a, 0, n, b, NULL, c);
    } else {
        add_rows_queries(load8_f32, 4, nq, n_vectors, a, 0, n, b, NULL, c);
    }
}

static void scale_add_rows(int nq, int32_t n_vectors, const float *const *a, int32_t first, int32_t end,
                           const struct page_rows *b, const float *factor, float *const *c)
{
    if (b->is_half) {
        add_rows_queries(load8_f16, 2, nq, n_vectors, a, first, end, b, factor, c);
    } else {
        add_rows_queries(load8_f32, 4, nq, n_vectors, a, first, end, b, factor, c);
    }
}

static void widen_k(const struct attend_job *job, const void *page, int32_t n_positions, float *k)
{
    const uint16_t *half = page;
    const int8_t *q = page;
    const uint16_t *scales = (const uint16_t *)(q + job->k_dim * KV_PAGE);
    for (int32_t i = 0; i < job->k_dim; i++) {
        for (int32_t j = 0; j < n_positions; j += LANES) {
            __m256 values;
            int32_t at = i * KV_PAGE + j;
            if (job->k_type == KV_F16) {
                values = load8_f16(half + at);
            } else {
                __m256i bytes = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(q + at)));
                values = _mm256_mul_ps(load8_f16(scales + i / Q8_BLOCK * KV_PAGE + j), _mm256_cvtepi32_ps(bytes));
            }
            _mm256_storeu_ps(k + at, values);
        }
    }
}

/* One position's values; n = v_dim. The lanes behind the end hold anything. */
static void widen_v_row(enum kv_type type, const void *row, const uint16_t *scales, int32_t n, float *v)
{
    static const size_t bytes[KV_N_TYPES] = {[KV_F32] = 4, [KV_F16] = 2, [KV_Q8_0] = 1};
    for (int32_t d = 0; d < n; d += LANES) {
        char padded[LANES * sizeof(float)] = {0};
        const char *source = (const char *)row + (size_t)d * bytes[type];
        if (n - d < LANES) {
            source = memcpy(padded, source, (size_t)(n - d) * bytes[type]);
        }
        __m256 values;
        if (type == KV_F32) {
            values = load8_f32(source);
        } else if (type == KV_F16) {
            values = load8_f16(source);
        } else {
            __m256i q = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)source));
            values = _mm256_mul_ps(_mm256_set1_ps(_cvtsh_ss(scales[d / Q8_BLOCK])), _mm256_cvtepi32_ps(q));
        }
        _mm256_storeu_ps(v + d, values);
    }
}

static void widen_v(const struct attend_job *job, const void *page, int32_t n_positions, int32_t stride, float *v)
{
    size_t row_bytes = (size_t)job->v_dim * (job->v_type == KV_F32 ? 4 : job->v_type == KV_F16 ? 2 : 1);
    const uint16_t *scales = (const uint16_t *)((const int8_t *)page + job->v_dim * KV_PAGE);
    int32_t n_scales = (job->v_dim + Q8_BLOCK - 1) / Q8_BLOCK;
    for (int32_t j = 0; j < n_positions; j++) {
        const char *row = (const char *)page + (size_t)j * row_bytes;
        widen_v_row(job->v_type, row, job->v_type == KV_Q8_0 ? scales + j * n_scales : NULL, job->v_dim, v + j * stride);
    }
}

static struct page_rows k_rows(const struct attend_state *s, int32_t page, int32_t n_positions)
{
    const struct attend_job *job = s->job;
    const void *data = job->k_pages[page];
    if (job->k_type == KV_F32) {
        return (struct page_rows){data, KV_PAGE * sizeof(float), 0};
    }
    if (job->k_type == KV_F16 && job->n_queries < WIDEN_QUERIES) {
        return (struct page_rows){data, KV_PAGE * sizeof(uint16_t), 1};
    }
    widen_k(job, data, n_positions, s->k);
    return (struct page_rows){(const char *)s->k, KV_PAGE * sizeof(float), 0};
}

static struct page_rows v_rows(const struct attend_state *s, int32_t page, int32_t n_positions)
{
    const struct attend_job *job = s->job;
    const void *data = job->v_pages[page];
    if (s->v_stride == job->v_dim && job->v_type == KV_F32) {
        return (struct page_rows){data, (size_t)job->v_dim * sizeof(float), 0};
    }
    if (s->v_stride == job->v_dim && job->v_type == KV_F16 && job->n_queries < WIDEN_QUERIES) {
        return (struct page_rows){data, (size_t)job->v_dim * sizeof(uint16_t), 1};
    }
    widen_v(job, data, n_positions, s->v_stride, s->v);
    return (struct page_rows){(const char *)s->v, (size_t)s->v_stride * sizeof(float), 0};
}

static float largest_lane(__m256 v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

/* Raw scores p[0 .. n) to weights; takes them into query i's m and l and returns the factor for its o. Lanes behind n become 0.
 */
static float softmax_page(const struct attend_job *job, int32_t i, float *p, int32_t n)
{
    __m256 largest = _mm256_set1_ps(-INFINITY);
    for (int32_t j = 0; j < n; j += LANES) {
        __m256 s = _mm256_mul_ps(_mm256_loadu_ps(p + j), _mm256_set1_ps(job->scale));
        s = _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), s, _mm256_castsi256_ps(first_lanes_avx2(n - j)));
        largest = _mm256_max_ps(s, largest); /* a NaN leaves it as it is */
        _mm256_storeu_ps(p + j, s);
    }
    float page_largest = largest_lane(largest);
    float maximum = job->m[i] > page_largest ? job->m[i] : page_largest;
    float correction = job->m[i] == -INFINITY ? 0.0f : _mm256_cvtss_f32(exp_avx2(_mm256_set1_ps(job->m[i] - maximum)));
    __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (int32_t j = 0; j < n; j += LANES) {
        __m256 e = exp_avx2(_mm256_sub_ps(_mm256_loadu_ps(p + j), _mm256_set1_ps(maximum)));
        e = _mm256_and_ps(e, _mm256_castsi256_ps(first_lanes_avx2(n - j)));
        int half = j / LANES % 2;
        sums[half] = _mm256_add_ps(sums[half], e);
        _mm256_storeu_ps(p + j, e);
    }
    job->l[i] = fmaf(job->l[i], correction, sum_lanes_avx2(sums[0], sums[1]));
    job->m[i] = maximum;
    return correction;
}

static void attend_tile(const struct attend_state *s, struct tile *tile, const struct page_rows *k, const struct page_rows *v)
{
    static const float one = 1.0f;
    const struct attend_job *job = s->job;
    const float *q[TILE_QUERIES], *weights[TILE_QUERIES];
    float *scores[TILE_QUERIES], *o[TILE_QUERIES];
    int32_t most = 0, common = KV_PAGE, n_vectors = s->v_stride / LANES;
    for (int t = 0; t < tile->n; t++) {
        q[t] = job->q[tile->query[t]];
        weights[t] = scores[t] = s->p + t * KV_PAGE;
        o[t] = s->o + (size_t)tile->query[t] * (size_t)s->v_stride;
        most = tile->n_visible[t] > most ? tile->n_visible[t] : most;
        common = min_int(common, tile->n_visible[t]);
    }
    clear_add_rows(tile->n, round_up_lanes(most) / LANES, q, job->k_dim, k, scores);
    for (int t = 0; t < tile->n; t++) {
        tile->correction[t] = softmax_page(job, tile->query[t], scores[t], tile->n_visible[t]);
    }
    scale_add_rows(tile->n, n_vectors, weights, 0, common, v, tile->correction, o);
    for (int t = 0; t < tile->n; t++) {
        if (tile->n_visible[t] > common) {
            scale_add_rows(1, n_vectors, &weights[t], common, tile->n_visible[t], v, &one, &o[t]);
        }
    }
}

static int32_t visible_in_page(const struct attend_job *job, int32_t query, int32_t page)
{
    int32_t n = job->n_visible[query] - page * KV_PAGE;
    return n < 0 ? 0 : min_int(n, KV_PAGE);
}

static void attend_page(const struct attend_state *s, int32_t page)
{
    const struct attend_job *job = s->job;
    int32_t most = 0;
    for (int32_t i = 0; i < job->n_queries; i++) {
        int32_t n = visible_in_page(job, i, page);
        most = n > most ? n : most;
    }
    if (most == 0) {
        return;
    }
    struct page_rows k = k_rows(s, page, most), v = v_rows(s, page, most);
    struct tile tile = {.n = 0};
    for (int32_t i = 0; i < job->n_queries; i++) {
        int32_t n = visible_in_page(job, i, page);
        if (n > 0) {
            tile.query[tile.n] = i;
            tile.n_visible[tile.n++] = n;
        }
        if (tile.n == TILE_QUERIES || (tile.n > 0 && i == job->n_queries - 1)) {
            attend_tile(s, &tile, &k, &v);
            tile.n = 0;
        }
    }
}

void attend_avx2(const struct attend_job *job)
{
    struct attend_state s = {.job = job, .v_stride = round_up_lanes(job->v_dim)};
    size_t n_out = (size_t)job->n_queries * (size_t)s.v_stride;
    s.k = job->scratch;
    s.v = s.k + job->k_dim * KV_PAGE;
    s.p = s.v + s.v_stride * KV_PAGE;
    s.o = s.v_stride == job->v_dim ? job->o : s.p + TILE_QUERIES * KV_PAGE;
    memset(s.o, 0, n_out * sizeof *s.o);
    for (int32_t i = 0; i < job->n_queries; i++) {
        job->m[i] = -INFINITY;
        job->l[i] = 0;
    }
    for (int32_t page = 0; page < job->n_pages; page++) {
        attend_page(&s, page);
    }
    if (s.o != job->o) {
        for (int32_t i = 0; i < job->n_queries; i++) {
            memcpy(job->o + (size_t)i * (size_t)job->v_dim, s.o + (size_t)i * (size_t)s.v_stride,
                   (size_t)job->v_dim * sizeof(float));
        }
    }
}
