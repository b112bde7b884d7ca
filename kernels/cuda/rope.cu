/* Rope, and the rounding of keys and values into their pages. SPDX-License-Identifier: MIT */
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_math.h"

enum {
    ROPE_THREADS = 256,
    ROPE_WARPS = ROPE_THREADS / CUDA_WARP,
    ROPE_BLOCKS = 16, /* that few rows are spread over */
    ROPE_MOST_PARTS = 4
};

struct store_view {
    struct cuda_rows rows;
    struct cuda_kv_layer layer;
    enum kv_type k_type, v_type;
    enum rope_kind kind;
    int32_t n_rot, n_heads;
    float attn_factor;
    const double *freqs; /* [n_rot / 2] */
    float *q;            /* [n_rows, n_heads * k_dim] */
    const float *k, *v;  /* [n_rows, n_kv_heads * k_dim], [n_rows, n_kv_heads * v_dim] */
};

/* cos and sin of the row's angles, times attn_factor: shared, [n_rot / 2] each. */
struct rope_table {
    float *cosines, *sines;
};

static __device__ void fill_table(const struct store_view &view, const struct rope_table &table, int32_t position)
{
    for (int32_t i = (int32_t)threadIdx.x; i < view.n_rot / 2; i += ROPE_THREADS) {
        double sine, cosine;
        cuda_sin_cos((double)position * view.freqs[i], &sine, &cosine);
        table.cosines[i] = (float)cosine * view.attn_factor;
        table.sines[i] = (float)sine * view.attn_factor;
    }
}

/* Rotates all heads of q of a row in place, a thread a pair. */
static __device__ void rotate_q(const struct store_view &view, const struct rope_table &table, int32_t row)
{
    int32_t half = view.n_rot / 2, k_dim = view.layer.shape.k_dim;
    int32_t step = view.kind == ROPE_NORM ? 2 : 1, apart = view.kind == ROPE_NORM ? 1 : half;
    float *q = view.q + (size_t)row * (size_t)view.n_heads * (size_t)k_dim;
    int32_t part = (int32_t)blockIdx.y * ROPE_THREADS, n_threads = (int32_t)gridDim.y * ROPE_THREADS;
    for (int32_t i = part + (int32_t)threadIdx.x; i < view.n_heads * half; i += n_threads) {
        int32_t pair = i % half;
        float *x = q + (size_t)(i / half) * (size_t)k_dim + pair * step;
        float x0 = x[0], x1 = x[apart], c = table.cosines[pair], s = table.sines[pair];
        x[0] = x0 * c - x1 * s;
        x[apart] = x0 * s + x1 * c;
    }
}

/* Value i of a head of k after rotation. */
static __device__ float rotated(const struct store_view &view, const struct rope_table &table, const float *k, int32_t i)
{
    int32_t half = view.n_rot / 2, norm = view.kind == ROPE_NORM;
    if (i >= view.n_rot) {
        return k[i];
    }
    int32_t pair = norm ? i / 2 : i % half, first = norm ? i % 2 == 0 : i < half;
    float x0 = k[norm ? 2 * pair : pair], x1 = k[norm ? 2 * pair + 1 : pair + half];
    float c = table.cosines[pair], s = table.sines[pair];
    return first ? x0 * c - x1 * s : x0 * s + x1 * c;
}

/* Rounds x, value i of a head's dim values in the lane of the same number mod 32, and writes it to data[place] of the page; its
 * block's scale goes to scales[scale_place]. Every lane of the warp calls, those with i >= dim for nothing. */
static __device__ void store_value(enum kv_type type, float x, int32_t i, int32_t dim, char *data, size_t place, uint16_t *scales,
                                   size_t scale_place)
{
    if (type == KV_Q8_0) {
        float amax = fabsf(x);
#pragma unroll
        for (int apart = CUDA_WARP / 2; apart > 0; apart /= 2) {
            amax = fmaxf(amax, __shfl_xor_sync(CUDA_ALL_LANES, amax, apart));
        }
        float d = amax / 127.0f;
        if (i < dim) {
            ((int8_t *)data)[place] = (int8_t)cuda_block_round(x, cuda_block_inverse(d));
            if (i % CUDA_Q8_BLOCK == 0) {
                scales[scale_place] = cuda_half_from_float(d);
            }
        }
    } else if (i < dim && type == KV_F16) {
        ((uint16_t *)data)[place] = cuda_half_from_float(x);
    } else if (i < dim) {
        ((float *)data)[place] = x;
    }
}

static __device__ void store_k(const struct store_view &view, const struct rope_table &table, int32_t row, int32_t page,
                               int32_t place)
{
    int32_t dim = view.layer.shape.k_dim, n_kv_heads = view.layer.shape.n_kv_heads, n_blocks = (dim + 31) / 32;
    int32_t lane = (int32_t)threadIdx.x % CUDA_WARP;
    int32_t warp = (int32_t)(blockIdx.y * ROPE_THREADS + threadIdx.x) / CUDA_WARP, n_warps = (int32_t)gridDim.y * ROPE_WARPS;
    for (int32_t b = warp; b < n_kv_heads * n_blocks; b += n_warps) {
        int32_t head = b / n_blocks, block = b % n_blocks, i = block * 32 + lane;
        const float *k = view.k + ((size_t)row * (size_t)n_kv_heads + (size_t)head) * (size_t)dim;
        char *data = view.layer.k + ((size_t)page * (size_t)n_kv_heads + (size_t)head) * view.layer.k_bytes;
        uint16_t *scales = (uint16_t *)(data + (size_t)dim * KV_PAGE);
        float x = i < dim ? rotated(view, table, k, i) : 0.0f;
        store_value(view.k_type, x, i, dim, data, (size_t)i * KV_PAGE + (size_t)place, scales,
                    (size_t)block * KV_PAGE + (size_t)place);
    }
}

static __device__ void store_v(const struct store_view &view, int32_t row, int32_t page, int32_t place)
{
    int32_t dim = view.layer.shape.v_dim, n_kv_heads = view.layer.shape.n_kv_heads, n_blocks = (dim + 31) / 32;
    int32_t lane = (int32_t)threadIdx.x % CUDA_WARP;
    int32_t warp = (int32_t)(blockIdx.y * ROPE_THREADS + threadIdx.x) / CUDA_WARP, n_warps = (int32_t)gridDim.y * ROPE_WARPS;
    for (int32_t b = warp; b < n_kv_heads * n_blocks; b += n_warps) {
        int32_t head = b / n_blocks, block = b % n_blocks, i = block * 32 + lane;
        const float *v = view.v + ((size_t)row * (size_t)n_kv_heads + (size_t)head) * (size_t)dim;
        char *data = view.layer.v + ((size_t)page * (size_t)n_kv_heads + (size_t)head) * view.layer.v_bytes;
        uint16_t *scales = (uint16_t *)(data + (size_t)dim * KV_PAGE);
        float x = i < dim ? v[i] : 0.0f;
        store_value(view.v_type, x, i, dim, data, (size_t)place * (size_t)dim + (size_t)i, scales,
                    (size_t)place * (size_t)n_blocks + (size_t)block);
    }
}

/* Grid: a block a row; shared: the row's table. Limited by latency for few rows; for many by the scattered writes of keys and by
 * f64, of which these devices do two a clock and SM: hence one table a row for all heads. */
static __global__ void __launch_bounds__(ROPE_THREADS) rope_store_rows(struct store_view view)
{
    CUDA_DYNAMIC_SHARED(shared);
    struct rope_table table = {(float *)shared, (float *)shared + view.n_rot / 2};
    int32_t row = (int32_t)blockIdx.x, slot = view.rows.slots[row], position = view.rows.positions[row];
    if (slot < 0) {
        return;
    }
    fill_table(view, table, position);
    __syncthreads();
    rotate_q(view, table, row);
    int32_t page = view.rows.pages[(size_t)slot * (size_t)view.rows.max_pages + (size_t)(position / KV_PAGE)];
    store_k(view, table, row, page, position % KV_PAGE);
    store_v(view, row, page, position % KV_PAGE);
}

void cuda_rope_store_launch(cudaStream_t stream, const struct cuda_rows *rows, const struct rope_store_spec *spec,
                            const double *freqs)
{
    struct store_view view = {};
    view.rows = *rows;
    view.layer = spec->kv->layers[spec->layer];
    view.k_type = spec->kv->k_type;
    view.v_type = spec->kv->v_type;
    view.kind = spec->rope.kind;
    view.n_rot = spec->rope.kind == ROPE_NONE ? 0 : spec->rope.n_rot;
    view.n_heads = spec->n_heads;
    view.attn_factor = spec->rope.attn_factor;
    view.freqs = freqs;
    view.q = spec->q;
    view.k = spec->k;
    view.v = spec->v;
    if (rows->n > 0) {
        cuda_launch(rope_store_rows, dim3((unsigned)rows->n), dim3(ROPE_THREADS), (size_t)view.n_rot * sizeof(float), stream,
                    view);
    }
}
