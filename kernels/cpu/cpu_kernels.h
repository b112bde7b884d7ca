/* The inner loops of the CPU backend, one table per instruction set; ref.c defines each, faster files overwrite upward.
 * SPDX-License-Identifier: MIT
 *
 * Every function here works on one thread, allocates nothing, and gives the same bits in every table (kernels/README.md). */
#ifndef KERNELS_CPU_CPU_KERNELS_H
#define KERNELS_CPU_CPU_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/backend.h"

enum { Q8_BLOCK = 32 };

/* Rows of activations, all row-major. x is always there for float weights, q/d/sum for quantised ones. */
struct act_rows {
    const float *x;   /* [n_rows, k] or NULL */
    const int8_t *q;  /* [n_rows, k], in -127..127, or NULL */
    const float *d;   /* [n_rows, k / 32] scale of a block: x ~ d * q */
    const float *sum; /* [n_rows, k / 32] sum of the block's q, an exact integer */
    int32_t k;        /* columns; a multiple of 32 wherever q is given */
};

/* out[r * out_stride + c] = dot(x row r, weight row c) for r in [0, n_rows), c in [0, n_cols), by the contract.
 * w: first weight row, rows row_bytes apart (weights in the file's layout). scratch: >= the table's scratch_bytes(k), 64-byte
 * aligned. */
typedef void (*cpu_matmul_fn)(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                              float *out, size_t out_stride, void *scratch);

/* q, d, sum of one row of n floats, n a multiple of 32. */
typedef void (*cpu_quantize_fn)(const float *x, int32_t n, int8_t *q, float *d, float *sum);
/* y[i] = (x[i] * s) * w[i], s = 1 / sqrt(sum(x^2) / n + eps). y may alias x. */
typedef void (*cpu_rms_norm_fn)(const float *x, const float *w, int32_t n, float eps, float *y);
/* y[i] = (g[i] / (1 + exp(-g[i]))) * u[i]. y may alias g or u. */
typedef void (*cpu_gate_fn)(const float *g, const float *u, int32_t n, float *y);

/* One group of pages for several rows of the same sequence and several query heads of the same kv head.
 * Query i (0 <= i < n_queries) sees positions [0, n_visible[i]) counted from the group's first position; n_visible[i] >= 0 and
 * <= n_pages * 64; with 0 the result is m = -inf, l = 0, o = 0. The part of `K` and `V` behind the last visible position of any
 * query is never read for its value.
 * Page layouts (one kv head, one page):
 *   k: KV_F32 float [k_dim][64] · KV_F16 half [k_dim][64] · KV_Q8_0 int8 [k_dim][64] then half scales [ceil(k_dim/32)][64]
 *   v: KV_F32 float [64][v_dim] · KV_F16 half [64][v_dim] · KV_Q8_0 int8 [64][v_dim] then half scales [64][ceil(v_dim/32)] */
struct attend_job {
    const float *const *q;    /* [n_queries] pointers to k_dim floats */
    const int32_t *n_visible; /* [n_queries] */
    int32_t n_queries;
    const void *const *k_pages; /* [n_pages] */
    const void *const *v_pages; /* [n_pages] */
    int32_t n_pages;            /* 1 .. KV_GROUP */
    int32_t k_dim, v_dim;
    enum kv_type k_type, v_type;
    float scale;
    float *m, *l;  /* [n_queries] running maximum and sum of the softmax */
    float *o;      /* [n_queries, v_dim] not yet divided by l */
    void *scratch; /* >= attend_scratch_bytes(k_dim, v_dim, n_queries), 64-byte aligned */
};
typedef void (*cpu_attend_fn)(const struct attend_job *job);

struct cpu_kernels {
    const char *isa;
    cpu_matmul_fn matmul[DTYPE_COUNT];  /* NULL for unknown types; quantised types read q/d/sum, float types x */
    cpu_matmul_fn one_row[DTYPE_COUNT]; /* what is faster than matmul for one activation row; NULL = matmul is */
    cpu_matmul_fn packed[DTYPE_COUNT];  /* for packed weights (pack.h), n_cols a multiple of 16; NULL = wants the file's layout */
    cpu_quantize_fn quantize;
    cpu_rms_norm_fn rms_norm;
    cpu_gate_fn silu_gate;
    cpu_attend_fn attend;
    int32_t weight_rows; /* hand matmul multiples of this many weight rows where possible (panel height) */
    size_t (*matmul_scratch_bytes)(int32_t k);
    size_t (*attend_scratch_bytes)(int32_t k_dim, int32_t v_dim, int32_t n_queries);
    int32_t attend_queries; /* a good number of queries a job */
};

/* The product to call for that many activation rows. */
static inline cpu_matmul_fn cpu_kernels_matmul(const struct cpu_kernels *table, enum dtype type, int32_t n_rows)
{
    return n_rows == 1 && table->one_row[type] ? table->one_row[type] : table->matmul[type];
}

/* Fills the whole table with the scalar reference. */
void cpu_kernels_init_ref(struct cpu_kernels *table);

/* Each overwrites what it does better and returns 1, or returns 0 and changes nothing where the CPU (or its operating system)
 * lacks the instructions. Files of other architectures are stubs that return 0. */
int cpu_kernels_init_avx2(struct cpu_kernels *table);   /* AVX2 + FMA + F16C */
int cpu_kernels_init_avx512(struct cpu_kernels *table); /* F BW VL DQ, no VNNI; call after avx2 */
int cpu_kernels_init_avx512vnni(struct cpu_kernels *table);
int cpu_kernels_init_neon(struct cpu_kernels *table); /* ASIMD + dotprod */

/* Table for an --isa name: "auto", "scalar", "avx2", "avx512" (VNNI where present), "avx512novnni", "neon". 0, or -1 with *err.
 */
int cpu_kernels_select(struct cpu_kernels *table, const char *isa, struct error *err);

#endif
