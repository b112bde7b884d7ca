/* What check_cuda_rows compares: a case, and what the CPU's scalar reference makes of it. SPDX-License-Identifier: MIT */
#ifndef TESTS_CUDA_HOST_CHECK_CUDA_ROWS_H
#define TESTS_CUDA_HOST_CHECK_CUDA_ROWS_H

#include "kernels/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CASE_ROWS = 96, CASE_SLOTS = 8, CASE_PAGES = 400, CASE_MAX_PAGES = 48 };

/* Rope, cache and attention of one layer and one step. */
struct attention_case {
    struct kv_layer_shape shape;
    int32_t n_heads;
    enum kv_type k_type, v_type;
    struct rope_spec rope;
    float scale, q_size, v_size; /* q and v are random numbers below these */
    int32_t n_rows, n_all;       /* real rows; with those that have no slot */
    int32_t positions[CASE_ROWS], slots[CASE_ROWS];
    int32_t pages[CASE_SLOTS * CASE_MAX_PAGES];
    int32_t history[CASE_SLOTS]; /* positions of a slot that are in its pages before the step */
    int forms;
};

/* Rows in the forms of an activation; q, d and sum may be NULL. */
struct case_act {
    float *x, *d, *sum;
    int8_t *q;
};

/* Everything that goes in and comes out; arrays as struct rope_store_spec has them, of n_all rows; the caller's. */
struct attention_data {
    float *q, *k, *v;        /* q: rotated afterwards */
    char *k_pages, *v_pages; /* [CASE_PAGES, n_kv_heads, bytes of a head]; begin with the history */
    size_t k_bytes, v_bytes; /* of a head of a page */
    struct case_act out;
};

/* The pages of the case with the slots' histories of random values, all else bytes 255 (a NaN). */
void reference_history(const struct attention_case *c, uint64_t seed, struct attention_data *data);
/* rope_store and attention of the CPU backend with its scalar kernels. */
void reference_attention(const struct attention_case *c, struct attention_data *data);

void reference_sin_cos(double x, double *sine, double *cosine);
/* One row of cols columns. */
void reference_norm(const float *in, const float *weight, float eps, int32_t cols, int forms, const struct case_act *out);
void reference_gate(const float *gate, const float *up, int32_t cols, int forms, const struct case_act *out);

#ifdef __cplusplus
}

/* Each returns the number of failed checks. */
int check_math(uint64_t seed);
int check_norm_and_gate(uint64_t seed, int n_cases);
int check_attention(uint64_t seed, int n_cases);
/* 1, with a line that says where, when n bytes differ as elements of that size. */
int check_same(const char *what, int number, const void *found, const void *expected, size_t n, size_t element);
#endif

#endif
