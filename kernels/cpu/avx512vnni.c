/* The AVX-512 table for CPUs with VNNI: one instruction for four products a lane. SPDX-License-Identifier: MIT */
#include "kernels/cpu/avx512_packed.h"

X86_INLINE void sum_quads_avx512vnni(const struct x86_format *f, int n_x, const __m512i *w, int first, int n,
                                     const struct x_block *x, __m512i *isum)
{
    (void)f; /* sums of 32 bits: no depth to keep */
#pragma GCC unroll 8
    for (int g = first; g < first + n; g++) {
#pragma GCC unroll 16
        for (int c = 0; c < n_x; c++) {
            __m512i sum = g == first ? _mm512_setzero_si512() : isum[c];
            isum[c] = _mm512_dpbusd_epi32(sum, w[g], broadcast_quad(x->q + (size_t)c * x->k + 4 * g));
        }
    }
}

static void matmul_q4_0_avx512vnni(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                                   float *out, size_t out_stride, void *scratch)
{
    static const struct matmul512 m = {&x86_q4_0, sum_quads_avx512vnni, MAX_TILE_ROWS};
    matmul512(&m, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q4_1_avx512vnni(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                                   float *out, size_t out_stride, void *scratch)
{
    static const struct matmul512 m = {&x86_q4_1, sum_quads_avx512vnni, MAX_TILE_ROWS};
    matmul512(&m, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q5_0_avx512vnni(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                                   float *out, size_t out_stride, void *scratch)
{
    static const struct matmul512 m = {&x86_q5_0, sum_quads_avx512vnni, MAX_TILE_ROWS};
    matmul512(&m, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q5_1_avx512vnni(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                                   float *out, size_t out_stride, void *scratch)
{
    static const struct matmul512 m = {&x86_q5_1, sum_quads_avx512vnni, MAX_TILE_ROWS};
    matmul512(&m, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q8_0_avx512vnni(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                                   float *out, size_t out_stride, void *scratch)
{
    static const struct matmul512 m = {&x86_q8_0_biased, sum_quads_avx512vnni, MAX_TILE_ROWS};
    matmul512(&m, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q4_k_avx512vnni(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                                   float *out, size_t out_stride, void *scratch)
{
    static const struct matmul512 m = {&x86_q4_k, sum_quads_avx512vnni, MAX_TILE_ROWS};
    matmul512(&m, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q5_k_avx512vnni(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                                   float *out, size_t out_stride, void *scratch)
{
    static const struct matmul512 m = {&x86_q5_k, sum_quads_avx512vnni, MAX_TILE_ROWS};
    matmul512(&m, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void matmul_q6_k_avx512vnni(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                                   float *out, size_t out_stride, void *scratch)
{
    static const struct matmul512 m = {&x86_q6_k, sum_quads_avx512vnni, MAX_TILE_ROWS};
    matmul512(&m, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q4_0_avx512vnni(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                                   float *out, size_t out_stride, void *scratch)
{
    static const struct packed512 m = {{&x86_q4_0, sum_quads_avx512vnni, 12}, &pack_q4_0, 12};
    packed512(&m, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q4_1_avx512vnni(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                                   float *out, size_t out_stride, void *scratch)
{
    static const struct packed512 m = {{&x86_q4_1, sum_quads_avx512vnni, 12}, &pack_q4_1, 12};
    packed512(&m, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q5_0_avx512vnni(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                                   float *out, size_t out_stride, void *scratch)
{
    static const struct packed512 m = {{&x86_q5_0, sum_quads_avx512vnni, 12}, &pack_q5_0, 8};
    packed512(&m, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q5_1_avx512vnni(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                                   float *out, size_t out_stride, void *scratch)
{
    static const struct packed512 m = {{&x86_q5_1, sum_quads_avx512vnni, 12}, &pack_q5_1, 8};
    packed512(&m, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q8_0_avx512vnni(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                                   float *out, size_t out_stride, void *scratch)
{
    static const struct packed512 m = {{&x86_q8_0_biased, sum_quads_avx512vnni, 12}, &pack_q8_0, 12};
    packed512(&m, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q4_k_avx512vnni(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                                   float *out, size_t out_stride, void *scratch)
{
    static const struct packed512 m = {{&x86_q4_k, sum_quads_avx512vnni, 12}, &pack_q4_k, 12};
    packed512(&m, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q5_k_avx512vnni(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                                   float *out, size_t out_stride, void *scratch)
{
    static const struct packed512 m = {{&x86_q5_k, sum_quads_avx512vnni, 12}, &pack_q5_k, 8};
    packed512(&m, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

static void packed_q6_k_avx512vnni(const void *w, size_t row_bytes, int32_t n_cols, const struct act_rows *x, int32_t n_rows,
                                   float *out, size_t out_stride, void *scratch)
{
    static const struct packed512 m = {{&x86_q6_k, sum_quads_avx512vnni, 8}, &pack_q6_k, 8};
    packed512(&m, w, row_bytes, n_cols, x, n_rows, out, out_stride, scratch);
}

int cpu_kernels_init_avx512vnni(struct cpu_kernels *table)
{
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vnni")) {
        return 0;
    }
    table->isa = "avx512vnni";
    table->matmul[DTYPE_Q4_0] = matmul_q4_0_avx512vnni;
    table->matmul[DTYPE_Q4_1] = matmul_q4_1_avx512vnni;
    table->matmul[DTYPE_Q5_0] = matmul_q5_0_avx512vnni;
    table->matmul[DTYPE_Q5_1] = matmul_q5_1_avx512vnni;
    table->matmul[DTYPE_Q8_0] = matmul_q8_0_avx512vnni;
    table->matmul[DTYPE_Q4_K] = matmul_q4_k_avx512vnni;
    table->matmul[DTYPE_Q5_K] = matmul_q5_k_avx512vnni;
    table->matmul[DTYPE_Q6_K] = matmul_q6_k_avx512vnni;
    table->packed[DTYPE_Q4_0] = packed_q4_0_avx512vnni;
    table->packed[DTYPE_Q4_1] = packed_q4_1_avx512vnni;
    table->packed[DTYPE_Q5_0] = packed_q5_0_avx512vnni;
    table->packed[DTYPE_Q5_1] = packed_q5_1_avx512vnni;
    table->packed[DTYPE_Q8_0] = packed_q8_0_avx512vnni;
    table->packed[DTYPE_Q4_K] = packed_q4_k_avx512vnni;
    table->packed[DTYPE_Q5_K] = packed_q5_k_avx512vnni;
    table->packed[DTYPE_Q6_K] = packed_q6_k_avx512vnni;
    return 1;
}
