/* Attention of each row by itself: every row, kv head and, with few rows, group of 512 positions is a piece of work.
 * SPDX-License-Identifier: MIT
 *
 * The query heads of a kv head share its loads. Keys are read straight from their pages: a thread has 4 neighbouring positions
 * and all queries, so a warp reads two pages' 128 bytes (f16) at once; values likewise, a thread a dimension. Nothing is read
 * twice, and what a thread loads does not depend on what it has loaded before, so that many loads are on their way. */
#include "kernels/cuda/cuda_attention.h"
#include "kernels/cuda/cuda_ptx.h"

enum {
    SPLIT_THREADS = 128, /* 4 positions each are a group; 16 lanes each are its pages */
    SPLIT_MOST_QUERIES = 8,
    PAGES_AHEAD = 2, /* of values, prefetched */
    LINE_BYTES = 128,
    SPLIT_BLOCKS = 512 /* what the grid should have at least, and at most where groups decide */
};
static_assert(SPLIT_THREADS * 4 == CUDA_GROUP_POSITIONS && SPLIT_THREADS == KV_GROUP * CUDA_LANES, "a group");

/* One block's row and query heads, and its shared memory. Queries behind n_queries are zeros. */
struct split_block {
    int32_t row, slot, kv_head, first_head, n_queries;
    float *q;                     /* [k_dim][NQ] */
    float *p;                     /* [512][NQ] scores, then weights */
    float *page_max;              /* [8][NQ] */
    float *correction, *page_sum; /* [8][NQ] */
    float *all_m, *all_l, *a, *b; /* [NQ] of the groups so far; what combines the next one with them */
};

/* Where results go: each group's to partials, or, with a result, what groups have made together so far. */
struct split_output {
    struct cuda_attention_partials partials;
    float *result;        /* [n_rows, n_heads * v_dim] or NULL */
    int32_t most_queries; /* with a result: of a tile that a row may be part of */
};

/* Four neighbouring positions' value i, to be multiplied by their scales where the type has some. */
template <kv_type Type> static __device__ __forceinline__ void load_keys(const char *page, int32_t element, float k[4])
{
    if constexpr (Type == KV_F32) {
        float4 four = *(const float4 *)(page + (size_t)element * 4);
        k[0] = four.x, k[1] = four.y, k[2] = four.z, k[3] = four.w;
    } else if constexpr (Type == KV_F16) {
        uint2 four = *(const uint2 *)(page + (size_t)element * 2);
        k[0] = cuda_half_to_float((uint16_t)four.x), k[1] = cuda_half_to_float((uint16_t)(four.x >> 16));
        k[2] = cuda_half_to_float((uint16_t)four.y), k[3] = cuda_half_to_float((uint16_t)(four.y >> 16));
    } else {
        uint32_t four = *(const uint32_t *)(page + element);
        k[0] = (float)(int8_t)four, k[1] = (float)(int8_t)(four >> 8);
        k[2] = (float)(int8_t)(four >> 16), k[3] = (float)(int8_t)(four >> 24);
    }
}

/* Scores of 4 positions from `place` of a page. */
template <int NQ, kv_type Type>
static __device__ __forceinline__ void score_positions(const char *page, int32_t k_dim, int32_t place, const float *q,
                                                       float s[NQ][4])
{
    [[maybe_unused]] constexpr int AT_ONCE = Type == KV_F32 || NQ > 4 ? 8 : 16; /* loads that registers suffice for */
    const char *scales = page + (size_t)k_dim * KV_PAGE;
    for (int32_t first = 0; first < k_dim; first += CUDA_Q8_BLOCK) {
        float d[4];
        if constexpr (Type == KV_Q8_0) {
            load_keys<KV_F16>(scales, first / CUDA_Q8_BLOCK * KV_PAGE + place, d);
        }
        int32_t end = first + CUDA_Q8_BLOCK < k_dim ? first + CUDA_Q8_BLOCK : k_dim;
#pragma unroll AT_ONCE
        for (int32_t i = first; i < end; i++) {
            float k[4], w[NQ];
            load_keys<Type>(page, i * KV_PAGE + place, k);
            cuda_load_floats<NQ>(q + i * NQ, w);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                if constexpr (Type == KV_Q8_0) {
                    k[j] = d[j] * k[j];
                }
#pragma unroll
                for (int n = 0; n < NQ; n++) {
                    s[n][j] = fmaf(w[n], k[j], s[n][j]);
                }
            }
        }
    }
}

/* Scores of the group's visible pages into block.p. */
template <int NQ>
static __device__ void score_group(const struct cuda_attention_view &view, const struct split_block &block, int32_t group,
                                   int32_t n_visible)
{
    int32_t position = (int32_t)threadIdx.x * 4, k_dim = view.layer.shape.k_dim;
    if (position / KV_PAGE * KV_PAGE >= n_visible) {
        return;
    }
    const char *page = cuda_attention_page(view, view.layer.k, view.layer.k_bytes, block.slot,
                                           group * KV_GROUP + position / KV_PAGE, block.kv_head);
    float s[NQ][4] = {};
    if (view.k_type == KV_F32) {
        score_positions<NQ, KV_F32>(page, k_dim, position % KV_PAGE, block.q, s);
    } else if (view.k_type == KV_F16) {
        score_positions<NQ, KV_F16>(page, k_dim, position % KV_PAGE, block.q, s);
    } else {
        score_positions<NQ, KV_Q8_0>(page, k_dim, position % KV_PAGE, block.q, s);
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
        float column[NQ];
#pragma unroll
        for (int n = 0; n < NQ; n++) {
            column[n] = s[n][j] * view.scale;
        }
        cuda_store_floats<NQ>(column, block.p + (position + j) * NQ);
    }
}

/* What a lane of half a warp has of a page's 64 values Apart floats apart, zeros where there is no page. */
template <int Apart> static __device__ __forceinline__ void load_lane(const float *from, bool there, float s[4])
{
#pragma unroll
    for (int k = 0; k < 4; k++) {
        s[k] = there ? from[k * CUDA_LANES * Apart] : 0.0f;
    }
}

/* Scores to weights, with each page's correction and sum. Half a warp a page. */
template <int NQ> static __device__ void weigh_group(const struct split_block &block, int32_t n_visible)
{
    int32_t page = (int32_t)threadIdx.x / CUDA_LANES, lane = (int32_t)threadIdx.x % CUDA_LANES;
    int32_t visible = n_visible - page * KV_PAGE, n_pages = (n_visible + KV_PAGE - 1) / KV_PAGE;
    float *mine = block.p + (page * KV_PAGE + lane) * NQ, s[4];
#pragma unroll 1
    for (int n = 0; n < NQ; n++) {
        load_lane<NQ>(mine + n, page < n_pages, s);
        float most = cuda_page_max(s, lane, visible);
        if (lane == 0) {
            block.page_max[page * NQ + n] = most;
        }
    }
    __syncthreads();
#pragma unroll 1
    for (int n = 0; n < NQ; n++) {
        float before = -INFINITY;
        for (int32_t i = 0; i < page; i++) {
            before = fmaxf(before, block.page_max[i * NQ + n]);
        }
        float now = fmaxf(before, block.page_max[page * NQ + n]);
        load_lane<NQ>(mine + n, page < n_pages, s);
        float sum = cuda_page_weights(s, lane, visible, now);
        if (page < n_pages) {
#pragma unroll
            for (int k = 0; k < 4; k++) {
                mine[k * CUDA_LANES * NQ + n] = s[k];
            }
        }
        if (lane == 0) {
            block.page_sum[page * NQ + n] = sum;
            block.correction[page * NQ + n] = cuda_correction(before, now);
        }
    }
    __syncthreads();
}

/* Value d of the position's row of a page of values. */
template <kv_type Type>
static __device__ __forceinline__ float load_value(const char *page, int32_t v_dim, int32_t position, int32_t d)
{
    size_t place = (size_t)position * (size_t)v_dim + (size_t)d;
    if constexpr (Type == KV_F32) {
        return ((const float *)page)[place];
    } else if constexpr (Type == KV_F16) {
        return cuda_half_to_float(((const uint16_t *)page)[place]);
    } else {
        const uint16_t *scales = (const uint16_t *)(page + (size_t)v_dim * KV_PAGE);
        int32_t n_blocks = (v_dim + CUDA_Q8_BLOCK - 1) / CUDA_Q8_BLOCK;
        return cuda_half_to_float(scales[position * n_blocks + d / CUDA_Q8_BLOCK]) * (float)((const int8_t *)page)[place];
    }
}

/* o = corrected o + weights times values of n positions of a page. p: [n][NQ]. */
template <int NQ, kv_type Type>
static __device__ __forceinline__ void add_page(const char *page, int32_t v_dim, int32_t d, int32_t n, const float *p,
                                                float o[NQ])
{
    [[maybe_unused]] constexpr int AT_ONCE = Type == KV_Q8_0 || NQ > 4 ? 8 : 16; /* as for keys; q8_0 takes two */
#pragma unroll AT_ONCE
    for (int32_t j = 0; j < n; j++) {
        float value = load_value<Type>(page, v_dim, j, d), w[NQ];
        cuda_load_floats<NQ>(p + j * NQ, w);
#pragma unroll
        for (int i = 0; i < NQ; i++) {
            o[i] = fmaf(w[i], value, o[i]);
        }
    }
}

/* Values of a visible page of the group on their way to the L2 cache, while something else goes on. The first threads call, as
 * many as there are dimensions or all. */
static __device__ void prefetch_values(const struct cuda_attention_view &view, const struct split_block &block, int32_t group,
                                       int32_t index, int32_t n_visible)
{
    int32_t v_dim = view.layer.shape.v_dim, n_threads = v_dim < SPLIT_THREADS ? v_dim : (int32_t)SPLIT_THREADS;
    if (index * KV_PAGE < n_visible) {
        const char *page = cuda_attention_page(view, view.layer.v, view.layer.v_bytes, block.slot, group * KV_GROUP + index,
                                               block.kv_head);
        for (size_t at = (size_t)threadIdx.x * LINE_BYTES; at < view.layer.v_bytes; at += (size_t)n_threads * LINE_BYTES) {
            cuda_prefetch(page + at);
        }
    }
}

/* Value d of the group's o to its place. */
template <int NQ>
static __device__ __forceinline__ void put_values(const struct cuda_attention_view &view, const struct split_block &block,
                                                  int32_t group, int32_t d, const struct split_output &output, const float o[NQ])
{
    size_t v_dim = (size_t)view.layer.shape.v_dim, n_groups = (size_t)output.partials.n_groups;
    int32_t is_last = view.rows.positions[block.row] / CUDA_GROUP_POSITIONS == group;
#pragma unroll
    for (int i = 0; i < NQ; i++) {
        size_t query = (size_t)block.row * (size_t)view.n_heads + (size_t)(block.first_head + i);
        if (i < block.n_queries && !output.result) {
            output.partials.o[(query * n_groups + (size_t)group) * v_dim + (size_t)d] = o[i];
        } else if (i < block.n_queries) {
            float *to = output.result + query * v_dim + (size_t)d, all = group > 0 ? *to : 0.0f;
            all = fmaf(all, block.a[i], o[i] * block.b[i]);
            *to = is_last ? all / block.all_l[i] : all;
        }
    }
}

/* o of the group, a thread a dimension. */
template <int NQ>
static __device__ void add_values(const struct cuda_attention_view &view, const struct split_block &block, int32_t group,
                                  int32_t n_visible, const struct split_output &output)
{
    int32_t v_dim = view.layer.shape.v_dim, n_pages = (n_visible + KV_PAGE - 1) / KV_PAGE;
    for (int32_t d = (int32_t)threadIdx.x; d < v_dim; d += SPLIT_THREADS) {
        float o[NQ] = {};
        for (int32_t p = 0; p < n_pages; p++) {
            const char *page = cuda_attention_page(view, view.layer.v, view.layer.v_bytes, block.slot, group * KV_GROUP + p,
                                                   block.kv_head);
            int32_t n = n_visible - p * KV_PAGE < KV_PAGE ? n_visible - p * KV_PAGE : (int32_t)KV_PAGE;
            prefetch_values(view, block, group, p + PAGES_AHEAD, n_visible);
            const float *weights = block.p + p * KV_PAGE * NQ;
#pragma unroll
            for (int i = 0; i < NQ; i++) {
                o[i] = o[i] * block.correction[p * NQ + i];
            }
            if (view.v_type == KV_F32) {
                add_page<NQ, KV_F32>(page, v_dim, d, n, weights, o);
            } else if (view.v_type == KV_F16) {
                add_page<NQ, KV_F16>(page, v_dim, d, n, weights, o);
            } else {
                add_page<NQ, KV_Q8_0>(page, v_dim, d, n, weights, o);
            }
        }
        put_values<NQ>(view, block, group, d, output, o);
    }
}

/* m and l of the group to their places, or into those of the groups so far; a thread a query. */
template <int NQ>
static __device__ void add_sums(const struct cuda_attention_view &view, const struct split_block &block, int32_t group,
                                int32_t n_visible, const struct split_output &output)
{
    int32_t i = (int32_t)threadIdx.x;
    float m = -INFINITY, l = 0;
    if (i >= block.n_queries) {
        return;
    }
    for (int32_t p = 0; p < (n_visible + KV_PAGE - 1) / KV_PAGE; p++) {
        m = fmaxf(m, block.page_max[p * NQ + i]);
        l = fmaf(l, block.correction[p * NQ + i], block.page_sum[p * NQ + i]);
    }
    if (output.result) {
        float before = group > 0 ? block.all_m[i] : -INFINITY, most = fmaxf(before, m);
        block.a[i] = cuda_correction(before, most);
        block.b[i] = cuda_exp(m - most);
        block.all_l[i] = fmaf(group > 0 ? block.all_l[i] : 0.0f, block.a[i], l * block.b[i]);
        block.all_m[i] = most;
    } else {
        size_t query = (size_t)block.row * (size_t)view.n_heads + (size_t)(block.first_head + i);
        output.partials.m[query * (size_t)output.partials.n_groups + (size_t)group] = m;
        output.partials.l[query * (size_t)output.partials.n_groups + (size_t)group] = l;
    }
}

template <int NQ>
static __device__ void attend_group(const struct cuda_attention_view &view, const struct split_block &block, int32_t group,
                                    int32_t n_visible, const struct split_output &output)
{
    for (int32_t p = 0; p < PAGES_AHEAD; p++) {
        prefetch_values(view, block, group, p, n_visible);
    }
    score_group<NQ>(view, block, group, n_visible);
    __syncthreads();
    weigh_group<NQ>(block, n_visible);
    add_sums<NQ>(view, block, group, n_visible, output);
    __syncthreads();
    add_values<NQ>(view, block, group, n_visible, output);
    __syncthreads();
}

/* Grid: [rows, kv heads times their parts of NQ query heads, groups that work at once; 1 with a result]. */
template <int NQ>
static __global__ void __launch_bounds__(SPLIT_THREADS, NQ > 4 ? 3 : 4)
    attend_split(struct cuda_attention_view view, struct split_output output)
{
    CUDA_DYNAMIC_SHARED(shared);
    int32_t n_parts = (view.heads + NQ - 1) / NQ, k_dim = view.layer.shape.k_dim, part = (int32_t)blockIdx.y % n_parts;
    struct split_block block;
    block.row = (int32_t)blockIdx.x;
    block.slot = view.rows.slots[block.row];
    int32_t n_positions = view.rows.positions[block.row] + 1, group = (int32_t)blockIdx.z;
    if (block.slot < 0 || group * CUDA_GROUP_POSITIONS >= n_positions) {
        return;
    }
    if (output.result && cuda_find_tile_rows(view, block.row).n * view.heads > output.most_queries) {
        return;
    }
    block.kv_head = (int32_t)blockIdx.y / n_parts;
    block.first_head = block.kv_head * view.heads + part * NQ;
    block.n_queries = view.heads - part * NQ < NQ ? view.heads - part * NQ : NQ;
    block.p = (float *)shared;
    block.page_max = block.p + CUDA_GROUP_POSITIONS * NQ;
    block.correction = block.page_max + KV_GROUP * NQ;
    block.page_sum = block.correction + KV_GROUP * NQ;
    block.all_m = block.page_sum + KV_GROUP * NQ;
    block.all_l = block.all_m + NQ;
    block.a = block.all_l + NQ;
    block.b = block.a + NQ;
    block.q = block.b + NQ;
    const float *q = view.q + ((size_t)block.row * (size_t)view.n_heads + (size_t)block.first_head) * (size_t)k_dim;
    for (int32_t i = (int32_t)threadIdx.x; i < k_dim * NQ; i += SPLIT_THREADS) {
        block.q[i % k_dim * NQ + i / k_dim] = i / k_dim < block.n_queries ? q[i] : 0.0f;
    }
    __syncthreads();
    for (; group * CUDA_GROUP_POSITIONS < n_positions; group += (int32_t)gridDim.z) {
        int32_t left = n_positions - group * CUDA_GROUP_POSITIONS;
        attend_group<NQ>(view, block, group, left < CUDA_GROUP_POSITIONS ? left : (int32_t)CUDA_GROUP_POSITIONS, output);
    }
}

template <int NQ>
static void launch(cudaStream_t stream, const struct cuda_attention_view *view, const struct split_output *output)
{
    int32_t n_parts = (view->heads + NQ - 1) / NQ, n_units = view->layer.shape.n_kv_heads * n_parts, at_once = 1;
    if (!output->result) {
        at_once = SPLIT_BLOCKS / (view->rows.n * n_units);
        at_once = at_once < 1 ? 1 : at_once < output->partials.n_groups ? at_once : output->partials.n_groups;
    }
    size_t floats = (size_t)NQ * (size_t)(CUDA_GROUP_POSITIONS + 3 * KV_GROUP + 4 + view->layer.shape.k_dim);
    cuda_launch(attend_split<NQ>, dim3((unsigned)view->rows.n, (unsigned)n_units, (unsigned)at_once), dim3(SPLIT_THREADS),
                floats * sizeof(float), stream, *view, *output);
}

static void launch_any(cudaStream_t stream, const struct cuda_attention_view *view, const struct split_output *output)
{
    static void (*const launches[])(cudaStream_t, const struct cuda_attention_view *,
                                    const struct split_output *) = {launch<1>, launch<2>, launch<4>, launch<SPLIT_MOST_QUERIES>};
    launches[view->heads == 1 ? 0 : view->heads == 2 ? 1 : view->heads <= 4 ? 2 : 3](stream, view, output);
}

void cuda_attend_split(cudaStream_t stream, const struct cuda_attention_view *view,
                       const struct cuda_attention_partials *partials)
{
    struct split_output output = {*partials, NULL, 0};
    launch_any(stream, view, &output);
}

void cuda_attend_lone(cudaStream_t stream, const struct cuda_attention_view *view, int32_t most_queries, float *result)
{
    struct split_output output = {{}, result, most_queries};
    launch_any(stream, view, &output);
}
