/* Quantised matmul with AVX2: eight weight rows in the lanes. SPDX-License-Identifier: MIT
 *
 * Up to three activation rows: blocks are multiplied as they are unpacked. More: a slab of weight rows is unpacked once into
 * panels of 16 rows in scratch, and all activation rows run over it in tiles of three, f32 accumulators in registers for all of
 * K. Limits: few rows, memory; many rows, the four vector pipes (two instructions a quad and 8 rows in 4-bit types). */
#include "kernels/cpu/avx2.h"
#include "kernels/cpu/avx2_tile.h"

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
