/* Quantised matmul with AVX2: eight weight rows in the lanes. SPDX-License-Identifier: MIT
 *
 * Up to three activation rows: blocks are multiplied as they are unpacked. More: a slab of weight rows is unpacked once into
 * panels of 16 rows in scratch, and all activation rows run over it in tiles of three, f32 accumulators in registers for all of
 * K. Limits: few rows, memory; many rows, the four vector pipes (two instructions a quad and 8 rows in 4-bit types). */
#include "kernels/cpu/avx2.h"
#include "kernels/cpu/x86_panel.h"

enum { TILE_ROWS = 3 /* activation rows a tile */ };

/* One block of 16 weight rows. */
struct panel_block {
    __m256i q[X86_QUADS * PANEL_VECTORS];
    __m256 d[PANEL_VECTORS];
    __m256 minus_m[PANEL_VECTORS];
    __m256 d_second[PANEL_VECTORS]; /* scale of the second half */
};
_Static_assert(sizeof(struct panel_block) == PANEL_BLOCK_BYTES, "slab_bytes counts them");

X86_INLINE __m256i broadcast_quad(const int8_t *p)
{
    return _mm256_set1_epi32(load_i32((const uint8_t *)p));
}

/* int16 sums of pairs; exact as |w| <= 128 and |x| <= 127. */
X86_INLINE __m256i multiply_quad(const struct x86_format *f, __m256i w, __m256i x)
{
    return f->is_signed ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)) : _mm256_maddubs_epi16(w, x);
}

/* isum[c * nv + v] = exact sums of quads [first, first + n) of nv vectors of weight rows with n_x activation rows. */
X86_INLINE void sum_quads(const struct x86_format *f, int nv, int n_x, const __m256i *w, int first, int n,
                          const struct x_block *x, __m256i *isum)
{
    const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 8
    for (int g0 = first; g0 < first + n; g0 += f->depth) {
        __m256i pairs[TILE_ROWS * PANEL_VECTORS];
        int end = g0 + (f->depth < n ? f->depth : n);
#pragma GCC unroll 8
        for (int g = g0; g < end; g++) {
#pragma GCC unroll 4
            for (int c = 0; c < n_x; c++) {
                __m256i quad = broadcast_quad(x->q + (size_t)c * x->k + 4 * g);
#pragma GCC unroll 2
                for (int v = 0; v < nv; v++) {
                    __m256i product = multiply_quad(f, w[g * nv + v], quad);
                    pairs[c * nv + v] = g == g0 ? product : _mm256_add_epi16(pairs[c * nv + v], product);
                }
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < n_x * nv; i++) {
            __m256i sum = _mm256_madd_epi16(pairs[i], ones);
            isum[i] = g0 == first ? sum : _mm256_add_epi32(isum[i], sum);
        }
    }
}

/* acc = fma(fl(d * dx), isum of quads [first, first + n), acc); bias_sum[c]: sum of those activations, for the formats with a
 * bias. */
X86_INLINE void add_products(const struct x86_format *f, int nv, int n_x, const __m256i *w, const __m256 *d, int first, int n,
                             const struct x_block *x, const __m256 *bias_sum, __m256 *acc)
{
    __m256i isum[TILE_ROWS * PANEL_VECTORS];
    sum_quads(f, nv, n_x, w, first, n, x, isum);
#pragma GCC unroll 4
    for (int c = 0; c < n_x; c++) {
        __m256 dx = _mm256_broadcast_ss(x->d + (size_t)c * x->n_blocks);
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) {
            __m256 sum = _mm256_cvtepi32_ps(isum[c * nv + v]);
            if (f->bias != 0) { /* integers below 2^24: exact */
                sum = _mm256_fmadd_ps(_mm256_set1_ps(-f->bias), bias_sum[c], sum);
            }
            acc[c * nv + v] = _mm256_fmadd_ps(_mm256_mul_ps(d[v], dx), sum, acc[c * nv + v]);
        }
    }
}

/* The contract's steps of one block. w: [X86_QUADS][nv]; d, d_second, minus_m: [nv]; acc: [n_x][nv]. */
X86_INLINE void add_block(const struct x86_format *f, int nv, int n_x, const __m256i *w, const __m256 *d, const __m256 *d_second,
                          const __m256 *minus_m, const struct x_block *x, __m256 *acc)
{
    __m256 sum[TILE_ROWS], first[TILE_ROWS], second[TILE_ROWS];
#pragma GCC unroll 4
    for (int c = 0; c < n_x; c++) {
        sum[c] = _mm256_broadcast_ss(x->sum + (size_t)c * x->n_blocks);
        first[c] = sum[c];
        if (f->has_halves) {
            first[c] = _mm256_cvtepi32_ps(_mm256_broadcastd_epi32(sum_first_half(x->q + (size_t)c * x->k)));
        }
        second[c] = f->has_halves ? _mm256_sub_ps(sum[c], first[c]) : sum[c];
    }
    if (f->has_halves) {
        add_products(f, nv, n_x, w, d, 0, X86_QUADS / 2, x, first, acc);
        add_products(f, nv, n_x, w, d_second, X86_QUADS / 2, X86_QUADS / 2, x, second, acc);
    } else {
        add_products(f, nv, n_x, w, d, 0, X86_QUADS, x, sum, acc);
    }
    if (f->has_min) {
#pragma GCC unroll 4
        for (int c = 0; c < n_x; c++) {
            __m256 dx = _mm256_broadcast_ss(x->d + (size_t)c * x->n_blocks);
#pragma GCC unroll 2
            for (int v = 0; v < nv; v++) {
                acc[c * nv + v] = _mm256_fmadd_ps(_mm256_mul_ps(minus_m[v], dx), sum[c], acc[c * nv + v]);
            }
        }
    }
}

/* Where outputs go: n_x rows, eight columns from `out`, or one when all lanes hold the same weight row. */
struct target {
    float *out;
    size_t stride;
    int n_lanes; /* 8 or 1 */
};

/* Eight weight rows from w with n_x activation rows, unpacking as it goes. */
X86_INLINE void few_rows(const struct x86_format *f, int n_x, const uint8_t *w, size_t row_bytes, struct x_block x,
                         const struct target *to)
{
    __m256 acc[TILE_ROWS] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    int64_t n_units = (int64_t)x.n_blocks / f->unit_blocks;
    for (int64_t u = 0; u < n_units; u++) {
        struct rows8 block[X86_MAX_UNIT];
        prefetch_unit(f, w, row_bytes, X86_LANES, u);
        f->unpack(w, row_bytes, u, block);
        for (int j = 0; j < f->unit_blocks; j++) {
            add_block(f, 1, n_x, block[j].q, &block[j].d[0], &block[j].d[1], &block[j].minus_m, &x, acc);
            next_block(&x);
        }
    }
    for (int c = 0; c < n_x; c++) {
        float *out = to->out + (size_t)c * to->stride;
        if (to->n_lanes == X86_LANES) {
            _mm256_storeu_ps(out, acc[c]);
        } else {
            *out = _mm256_cvtss_f32(acc[c]);
        }
    }
}

/* Matmul without panels. A last group that is not full starts earlier and computes some outputs again; fewer than eight
 * weight rows go one by one, the same row in all lanes. */
X86_INLINE void matmul_few(const struct x86_format *f, const uint8_t *w, size_t row_bytes, int32_t n_cols,
                           const struct act_rows *x, int32_t n_rows, float *out, size_t out_stride)
{
    int32_t step = n_cols < X86_LANES ? 1 : X86_LANES;
    size_t lane_bytes = step == 1 ? 0 : row_bytes;
    for (int32_t r = 0; r < n_rows; r += TILE_ROWS) {
        struct x_block tile = x_block_of(x, r);
        for (int32_t c = 0; c < n_cols; c += step) {
            int32_t first = c <= n_cols - step ? c : n_cols - step;
            const uint8_t *rows = w + (size_t)first * row_bytes;
            struct target to = {out + (size_t)r * out_stride + first, out_stride, step};
            if (n_rows - r >= 3) {
                few_rows(f, 3, rows, lane_bytes, tile, &to);
            } else if (n_rows - r == 2) {
                few_rows(f, 2, rows, lane_bytes, tile, &to);
            } else {
                few_rows(f, 1, rows, lane_bytes, tile, &to);
            }
        }
    }
}

/* Eight weight rows as vector v of a panel. */
X86_INLINE void fill_panel(const struct x86_format *f, const uint8_t *w, size_t row_bytes, int32_t n_blocks, int v,
                           struct panel_block *panel)
{
    for (int64_t u = 0; u < n_blocks / f->unit_blocks; u++) {
        struct rows8 block[X86_MAX_UNIT];
        f->unpack(w, row_bytes, u, block);
        for (int j = 0; j < f->unit_blocks; j++, panel++) {
            for (int g = 0; g < X86_QUADS; g++) {
                panel->q[g * PANEL_VECTORS + v] = block[j].q[g];
            }
            panel->d[v] = block[j].d[0];
            if (f->has_min) {
                panel->minus_m[v] = block[j].minus_m;
            }
            if (f->has_halves) {
                panel->d_second[v] = block[j].d[1];
            }
        }
    }
}

/* One panel with n_x activation rows; out[v]: first output of vector v. */
X86_INLINE void panel_tile(const struct x86_format *f, int n_x, const struct panel_block *panel, struct x_block x,
                           float *const *out, size_t out_stride)
{
    __m256 acc[TILE_ROWS * PANEL_VECTORS];
    for (int i = 0; i < n_x * PANEL_VECTORS; i++) {
        acc[i] = _mm256_setzero_ps();
    }
    size_t n_blocks = x.n_blocks;
    for (size_t b = 0; b < n_blocks; b++) {
        add_block(f, PANEL_VECTORS, n_x, panel[b].q, panel[b].d, panel[b].d_second, panel[b].minus_m, &x, acc);
        next_block(&x);
    }
    for (int c = 0; c < n_x; c++) {
        for (int v = 0; v < PANEL_VECTORS; v++) {
            _mm256_storeu_ps(out[v] + (size_t)c * out_stride, acc[c * PANEL_VECTORS + v]);
        }
    }
}

size_t matmul_quantised_scratch_bytes_avx2(int32_t k)
{
    return slab_bytes(k);
}

X86_INLINE void matmul_panels(const struct x86_format *f, const uint8_t *w, size_t row_bytes, int32_t n_cols,
                              const struct act_rows *x, int32_t n_rows, float *out, size_t out_stride, struct panel_block *slab)
{
    int32_t n_blocks = x->k / Q8_BLOCK;
    int32_t slab_rows = slab_panels(x->k) * PANEL_ROWS;
    for (int32_t c0 = 0; c0 < n_cols; c0 += slab_rows) {
        int32_t c_end = c0 + slab_rows < n_cols ? c0 + slab_rows : n_cols;
        struct panel_block *panel = slab;
        for (int32_t c = c0; c < c_end; c += PANEL_ROWS, panel += n_blocks) {
            for (int v = 0; v < PANEL_VECTORS; v++) {
                fill_panel(f, w + (size_t)vector_first(c, v, n_cols) * row_bytes, row_bytes, n_blocks, v, panel);
            }
        }
        for (int32_t r = 0; r < n_rows;) {
            int32_t left = n_rows - r;
            int32_t n_x = left == 4 ? 2 : left < TILE_ROWS ? left : TILE_ROWS;
            struct x_block tile = x_block_of(x, r);
            panel = slab;
            for (int32_t c = c0; c < c_end; c += PANEL_ROWS, panel += n_blocks) {
                float *to[PANEL_VECTORS];
                for (int v = 0; v < PANEL_VECTORS; v++) {
                    to[v] = out + (size_t)r * out_stride + vector_first(c, v, n_cols);
                }
                if (n_x == 3) {
                    panel_tile(f, 3, panel, tile, to, out_stride);
                } else if (n_x == 2) {
                    panel_tile(f, 2, panel, tile, to, out_stride);
                } else {
                    panel_tile(f, 1, panel, tile, to, out_stride);
                }
            }
            r += n_x;
        }
    }
}

X86_INLINE void matmul(const struct x86_format *f, const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x,
                       int32_t n_rows, float *out, size_t out_stride, void *scratch)
{
    if (n_rows <= TILE_ROWS || n_cols < X86_LANES) {
        matmul_few(f, w, row_bytes, n_cols, x, n_rows, out, out_stride);
    } else {
        matmul_panels(f, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
    }
}

static void matmul_q4_0_avx2(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    matmul(&x86_q4_0, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q4_1_avx2(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    matmul(&x86_q4_1, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q5_0_avx2(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    matmul(&x86_q5_0, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q5_1_avx2(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    matmul(&x86_q5_1, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q8_0_avx2(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    matmul(&x86_q8_0, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q4_k_avx2(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    matmul(&x86_q4_k, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q5_k_avx2(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    matmul(&x86_q5_k, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q6_k_avx2(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                             float *out, size_t out_stride, void *scratch)
{
    matmul(&x86_q6_k, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

void matmul_set_avx2(struct cpu_kernels *table)
{
    table->matmul[DTYPE_Q4_0] = matmul_q4_0_avx2;
    table->matmul[DTYPE_Q4_1] = matmul_q4_1_avx2;
    table->matmul[DTYPE_Q5_0] = matmul_q5_0_avx2;
    table->matmul[DTYPE_Q5_1] = matmul_q5_1_avx2;
    table->matmul[DTYPE_Q8_0] = matmul_q8_0_avx2;
    table->matmul[DTYPE_Q4_K] = matmul_q4_k_avx2;
    table->matmul[DTYPE_Q5_K] = matmul_q5_k_avx2;
    table->matmul[DTYPE_Q6_K] = matmul_q6_k_avx2;
}
