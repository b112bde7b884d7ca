/* Attention: which kernel takes the rows, and what comes after it: groups combined in order, results in the forms that a matmul
 * wants. SPDX-License-Identifier: MIT */
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_attention.h"
#include "kernels/cuda/cuda_math.h"

enum {
    FINISH_THREADS = 128,
    LONE_QUERIES = 8 /* a tile of so many, of 32, is slower than its rows each by itself */
};

/* Columns [col, col + Width) of a row: the groups' partial results combined and divided. All are of one head. */
template <int Width>
static __device__ void combine_groups(const struct cuda_attention_partials &partials, size_t query, int32_t v_dim, int32_t d,
                                      int32_t n_groups, float y[Width])
{
    float all_m = -INFINITY, all_l = 0;
#pragma unroll 4
    for (int32_t g = 0; g < n_groups; g++) {
        size_t place = query * (size_t)partials.n_groups + (size_t)g;
        float m = partials.m[place], l = partials.l[place], o[Width];
        cuda_load_floats<Width>(partials.o + place * (size_t)v_dim + (size_t)d, o);
        float most = fmaxf(all_m, m), a = cuda_correction(all_m, most), b = cuda_exp(m - most);
        all_l = fmaf(all_l, a, l * b);
#pragma unroll
        for (int i = 0; i < Width; i++) {
            y[i] = fmaf(y[i], a, o[i] * b);
        }
        all_m = most;
    }
#pragma unroll
    for (int i = 0; i < Width; i++) {
        y[i] = y[i] / all_l;
    }
}

/* Grid: [rows, pieces of a row], as gate_rows. Width: 4, or 1 where v_dim is not a multiple of 4. */
template <int Width>
static __global__ void __launch_bounds__(FINISH_THREADS)
    combine_rows(struct cuda_attention_view view, struct cuda_attention_partials partials, struct backend_act out)
{
    int32_t row = (int32_t)blockIdx.x, col = ((int32_t)blockIdx.y * FINISH_THREADS + (int32_t)threadIdx.x) * Width;
    int32_t v_dim = view.layer.shape.v_dim;
    float y[Width] = {};
    if (view.rows.slots[row] < 0) {
        return;
    }
    if (col < out.cols) {
        size_t query = (size_t)row * (size_t)view.n_heads + (size_t)(col / v_dim);
        combine_groups<Width>(partials, query, v_dim, col % v_dim, view.rows.positions[row] / CUDA_GROUP_POSITIONS + 1, y);
    }
    cuda_store_act<Width>(out, row, col, y);
}

/* The int8 form of finished rows of floats. Grid: as combine_rows. */
static __global__ void __launch_bounds__(FINISH_THREADS) round_rows(const float *x, struct backend_act out)
{
    int32_t row = (int32_t)blockIdx.x, col = ((int32_t)blockIdx.y * FINISH_THREADS + (int32_t)threadIdx.x) * 4;
    float y[4] = {};
    if (col < out.cols) {
        cuda_load_floats<4>(x + (size_t)row * (size_t)out.cols + (size_t)col, y);
    }
    cuda_store_act<4>(out, row, col, y);
}

size_t cuda_attention_scratch_bytes(const struct cuda_kv_layer *layer, int32_t n_heads, int32_t n_rows, int32_t max_pages)
{
    size_t v_dim = (size_t)layer->shape.v_dim, n_groups = (size_t)((max_pages + KV_GROUP - 1) / KV_GROUP);
    size_t split_rows = (size_t)(n_rows < CUDA_RECORDED_ROWS ? n_rows : (int32_t)CUDA_RECORDED_ROWS);
    size_t split = split_rows * (size_t)n_heads * n_groups * (v_dim + 2);
    size_t result = (size_t)n_rows * (size_t)n_heads * v_dim;
    return (split > result ? split : result) * sizeof(float);
}

static dim3 finish_grid(const struct backend_act *out, int32_t width, int32_t n_rows)
{
    int32_t columns = FINISH_THREADS * width;
    return dim3((unsigned)n_rows, (unsigned)((out->cols + columns - 1) / columns));
}

/* Many rows: most are parts of prompts. Nothing but the result needs memory. */
static void attend_in_tiles(cudaStream_t stream, const struct cuda_attention_view *view, void *scratch,
                            const struct backend_act *out)
{
    float *result = out->forms & BACKEND_ACT_FLOAT ? out->x : (float *)scratch;
    if (cuda_attend_tile_fits(&view->layer.shape)) {
        cuda_attend_lone(stream, view, LONE_QUERIES, result);
        cuda_attend_tile(stream, view, LONE_QUERIES, result);
    } else {
        cuda_attend_lone(stream, view, INT32_MAX, result);
    }
    if (out->forms & BACKEND_ACT_INT8) {
        struct backend_act rounded = *out;
        rounded.forms = BACKEND_ACT_INT8;
        cuda_launch(round_rows, finish_grid(out, 4, view->rows.n), dim3(FINISH_THREADS), 0, stream, (const float *)result,
                    rounded);
    }
}

/* Few rows: their groups side by side. */
static void attend_in_groups(cudaStream_t stream, const struct cuda_attention_view *view, int32_t max_context, void *scratch,
                             const struct backend_act *out)
{
    struct cuda_attention_partials partials;
    int32_t v_dim = view->layer.shape.v_dim, width = v_dim % 4 == 0 ? 4 : 1;
    partials.n_groups = (max_context + CUDA_GROUP_POSITIONS - 1) / CUDA_GROUP_POSITIONS;
    size_t n = (size_t)view->rows.n * (size_t)view->n_heads * (size_t)partials.n_groups;
    partials.o = (float *)scratch;
    partials.m = partials.o + n * (size_t)v_dim;
    partials.l = partials.m + n;
    cuda_attend_split(stream, view, &partials);
    cuda_launch(width == 4 ? combine_rows<4> : combine_rows<1>, finish_grid(out, width, view->rows.n), dim3(FINISH_THREADS), 0,
                stream, *view, partials, *out);
}

void cuda_attention_launch(cudaStream_t stream, const struct cuda_rows *rows, const struct attention_spec *spec,
                           int32_t max_context, void *scratch, const struct backend_act *out)
{
    struct cuda_attention_view view = {};
    view.rows = *rows;
    view.layer = spec->kv->layers[spec->layer];
    view.k_type = spec->kv->k_type;
    view.v_type = spec->kv->v_type;
    view.n_heads = spec->n_heads;
    view.heads = spec->n_heads / view.layer.shape.n_kv_heads;
    view.scale = spec->scale;
    view.q = spec->q;
    if (rows->n <= 0) {
        return;
    }
    if (rows->n > CUDA_RECORDED_ROWS) {
        attend_in_tiles(stream, &view, scratch, out);
    } else {
        attend_in_groups(stream, &view, max_context, scratch, out);
    }
}
