/* What the two kernels of attention share: where queries, pages and partial results are. SPDX-License-Identifier: MIT */
#ifndef KERNELS_CUDA_CUDA_ATTENTION_H
#define KERNELS_CUDA_CUDA_ATTENTION_H

#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_math.h"

enum {
    CUDA_GROUP_POSITIONS = KV_PAGE * KV_GROUP,
    CUDA_TILE_QUERIES = 32, /* of attend_tile */
    CUDA_TILE_MOST_DIM = 256
};

struct cuda_attention_view {
    struct cuda_rows rows;
    struct cuda_kv_layer layer;
    enum kv_type k_type, v_type;
    int32_t n_heads, heads; /* of q; of q for each kv head */
    float scale;
    const float *q; /* [n_rows, n_heads * k_dim] */
};

/* Results of single groups: query n = row * n_heads + head, group g at place n * n_groups + g. */
struct cuda_attention_partials {
    float *o;         /* [n, n_groups, v_dim], 16-byte aligned */
    float *m, *l;     /* [n, n_groups] */
    int32_t n_groups; /* that a row may see */
};

/* A page of one kv head: keys or values. index: of the slot's pages. */
static __device__ __forceinline__ const char *cuda_attention_page(const struct cuda_attention_view &view, const char *pages,
                                                                  size_t head_bytes, int32_t slot, int32_t index, int32_t kv_head)
{
    int32_t page = view.rows.pages[(size_t)slot * (size_t)view.rows.max_pages + (size_t)index];
    return pages + ((size_t)page * (size_t)view.layer.shape.n_kv_heads + (size_t)kv_head) * head_bytes;
}

/* Rows that make a tile with `row`: neighbours of one slot among as many as fill CUDA_TILE_QUERIES queries, counted from row 0
 * on. */
struct cuda_tile_rows {
    int32_t first, n;
};
static __device__ __forceinline__ struct cuda_tile_rows cuda_find_tile_rows(const struct cuda_attention_view &view, int32_t row)
{
    int32_t most = view.heads < CUDA_TILE_QUERIES ? CUDA_TILE_QUERIES / view.heads : 1, slot = view.rows.slots[row];
    int32_t begin = row / most * most, end = begin + most < view.rows.n ? begin + most : view.rows.n;
    struct cuda_tile_rows rows = {row, 1};
    while (rows.first > begin && view.rows.slots[rows.first - 1] == slot) {
        rows.first--;
        rows.n++;
    }
    while (rows.first + rows.n < end && view.rows.slots[rows.first + rows.n] == slot) {
        rows.n++;
    }
    return rows;
}

/* Softmax of one query over one page, by the 16 lanes of half a warp; lane j holds scores j, j + 16, j + 32, j + 48 of which
 * those of the first n_visible positions count (n_visible may be <= 0 or > 64: then none or all do). */
static __device__ __forceinline__ float cuda_page_max(const float s[4], int32_t lane, int32_t n_visible)
{
    float most = -INFINITY;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        most = lane + k * CUDA_LANES < n_visible ? fmaxf(most, s[k]) : most;
    }
    return cuda_half_warp_max(most);
}
/* Scores to weights, 0 for the invisible; returns their sum. */
static __device__ __forceinline__ float cuda_page_weights(float s[4], int32_t lane, int32_t n_visible, float maximum)
{
    float sum = 0;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        s[k] = lane + k * CUDA_LANES < n_visible ? cuda_exp(s[k] - maximum) : 0.0f;
        sum += s[k];
    }
    return cuda_half_warp_sum(sum);
}
/* exp(before - now), 0 where nothing was before. */
static __device__ __forceinline__ float cuda_correction(float before, float now)
{
    return before == -INFINITY ? 0.0f : cuda_exp(before - now);
}

/* -- attention_split.cu: each row by itself -- */

/* All rows, their groups side by side. */
void cuda_attend_split(cudaStream_t stream, const struct cuda_attention_view *view,
                       const struct cuda_attention_partials *partials);
/* Rows of tiles of at most most_queries queries, group after group. result: [n_rows, n_heads * v_dim]; rows without a slot stay
 * as they are. */
void cuda_attend_lone(cudaStream_t stream, const struct cuda_attention_view *view, int32_t most_queries, float *result);

/* -- attention_tile.cu: rows of a tile together, group after group -- */

/* Whether it takes heads of those widths. */
int cuda_attend_tile_fits(const struct kv_layer_shape *shape);
/* Tiles of more than lone_queries queries. result: as above, 16-byte aligned. */
void cuda_attend_tile(cudaStream_t stream, const struct cuda_attention_view *view, int32_t lone_queries, float *result);

#endif
