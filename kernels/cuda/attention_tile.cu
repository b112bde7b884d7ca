/* Attention for many rows, as a prompt has: neighbouring rows of a slot and the query heads of a kv head are up to 32 queries
 * that share every key and value. SPDX-License-Identifier: MIT
 *
 * Scores and weighted values are two products of small matrices, each thread with 8 queries times 4 positions, then 8 queries
 * times 4 to 16 dimensions, in registers, every sum in the contract's order. Keys and values pass through shared memory as f32, 4
 * KB at a time; the next piece is on its way to registers meanwhile. Limited by fma, two of three instructions. */
#include "kernels/cuda/cuda_attention.h"
#include "kernels/cuda/cuda_kv_run.h"

enum {
    TILE_THREADS = 64,
    TILE_HIGH = 8,                        /* queries a thread */
    TILE_WIDE = 4,                        /* positions a thread; dimensions a thread and column */
    TILE_COLUMN = 64,                     /* dimensions that all threads have together, a column */
    PIECE_FLOATS = 1024,                  /* of keys or values in shared memory */
    PIECE_DIMS = PIECE_FLOATS / KV_PAGE,  /* of keys */
    WEIGHT_STRIDE = CUDA_TILE_QUERIES + 4 /* of positions in shared memory: spreads them over the banks */
};
static_assert(PIECE_FLOATS == 2 * TILE_THREADS * CUDA_KV_RUN, "two runs a thread");

/* One block's queries: those of heads [first_head, first_head + heads) of rows [row, row + n / heads), and its shared memory. */
struct tile {
    int32_t row, slot, kv_head, first_head, heads, n;
    int32_t least, most;  /* positions that any of them sees at least and at most */
    float *q;             /* [k_dim][32] */
    float *p;             /* [64][WEIGHT_STRIDE] scores of a page, then weights */
    float *piece;         /* [PIECE_FLOATS] */
    float *correction;    /* [32] of the page */
    float *m, *l;         /* [32] of the group */
    float *all_m, *all_l; /* [32] of the groups so far */
    float *a, *b;         /* [32] factors that combine a group with those before */
    int32_t *visible;     /* [32] positions that a query sees; 0 behind n */
};

/* Place of a thread in a tile: its queries are 8 * high .., its positions 4 * wide .., its dimensions 4 * wide .. of each column.
 */
struct tile_place {
    int32_t high, wide;
};

/* The two runs of a thread of elements [first, end) of a page, at most PIECE_FLOATS. */
template <typename Load>
static __device__ __forceinline__ void fetch_piece(Load load, int32_t first, int32_t end, struct cuda_kv_run runs[2])
{
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int32_t element = first + ((int32_t)threadIdx.x + r * TILE_THREADS) * CUDA_KV_RUN;
        if (element < end) {
            load(element, &runs[r]);
        }
    }
}
static __device__ __forceinline__ void store_piece(kv_type type, const struct cuda_kv_run runs[2], float *piece)
{
    __syncthreads();
#pragma unroll
    for (int r = 0; r < 2; r++) {
        cuda_store_run(type, runs[r], piece + ((int32_t)threadIdx.x + r * TILE_THREADS) * CUDA_KV_RUN);
    }
    __syncthreads();
}

/* s += the products of 8 dimensions of a thread's queries and positions. */
static __device__ __forceinline__ void add_products(const float *queries, const float *keys, float s[TILE_HIGH][TILE_WIDE])
{
#pragma unroll
    for (int i = 0; i < CUDA_KV_RUN; i++) {
        float q[TILE_HIGH], k[TILE_WIDE];
        cuda_load_floats<TILE_HIGH>(queries + i * CUDA_TILE_QUERIES, q);
        cuda_load_floats<TILE_WIDE>(keys + i * KV_PAGE, k);
#pragma unroll
        for (int h = 0; h < TILE_HIGH; h++) {
#pragma unroll
            for (int w = 0; w < TILE_WIDE; w++) {
                s[h][w] = fmaf(q[h], k[w], s[h][w]);
            }
        }
    }
}

/* Scores of the tile's queries with a page of keys into tile.p. */
static __device__ __forceinline__ void score_page(const struct cuda_attention_view &view, const struct tile &tile,
                                                  const struct tile_place &place, int32_t index)
{
    const char *page = cuda_attention_page(view, view.layer.k, view.layer.k_bytes, tile.slot, index, tile.kv_head);
    int32_t k_dim = view.layer.shape.k_dim, end = k_dim * KV_PAGE;
    auto load = [&](int32_t element, struct cuda_kv_run *run) { cuda_load_key_run(view, page, element, run); };
    float s[TILE_HIGH][TILE_WIDE] = {};
    struct cuda_kv_run runs[2] = {};
    fetch_piece(load, 0, end, runs);
    for (int32_t first = 0; first < k_dim; first += PIECE_DIMS) {
        store_piece(view.k_type, runs, tile.piece);
        fetch_piece(load, (first + PIECE_DIMS) * KV_PAGE, end, runs);
        int32_t n = k_dim - first < PIECE_DIMS ? k_dim - first : (int32_t)PIECE_DIMS;
        for (int32_t i = 0; i < n; i += CUDA_KV_RUN) {
            const float *q = tile.q + (first + i) * CUDA_TILE_QUERIES + place.high * TILE_HIGH;
            add_products(q, tile.piece + i * KV_PAGE + place.wide * TILE_WIDE, s);
        }
    }
#pragma unroll
    for (int w = 0; w < TILE_WIDE; w++) {
        float column[TILE_HIGH];
#pragma unroll
        for (int h = 0; h < TILE_HIGH; h++) {
            column[h] = s[h][w] * view.scale;
        }
        cuda_store_floats<TILE_HIGH>(column, tile.p + (place.wide * TILE_WIDE + w) * WEIGHT_STRIDE + place.high * TILE_HIGH);
    }
}

/* Scores to weights, m, l and correction of every query that sees something of the page, which begins at position `first`. Half a
 * warp a query. */
static __device__ __forceinline__ void weigh_page(const struct tile &tile, int32_t first)
{
    int32_t lane = (int32_t)threadIdx.x % CUDA_LANES;
    __syncthreads();
    for (int32_t i = (int32_t)threadIdx.x / CUDA_LANES; i < CUDA_TILE_QUERIES; i += TILE_THREADS / CUDA_LANES) {
        int32_t n_visible = tile.visible[i] - first;
        float s[4], before = tile.m[i];
#pragma unroll
        for (int k = 0; k < 4; k++) {
            s[k] = tile.p[(lane + k * CUDA_LANES) * WEIGHT_STRIDE + i];
        }
        float now = fmaxf(before, cuda_page_max(s, lane, n_visible));
        float sum = cuda_page_weights(s, lane, n_visible, now);
        float correction = cuda_correction(before, now);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            tile.p[(lane + k * CUDA_LANES) * WEIGHT_STRIDE + i] = s[k];
        }
        __syncwarp(); /* all lanes have read m */
        if (lane == 0) {
            tile.correction[i] = correction;
            tile.l[i] = fmaf(tile.l[i], correction, sum);
            tile.m[i] = now;
        }
    }
    __syncthreads();
}

/* o += weights times values of one position. Masked: only for queries h with position < visible[h]. */
template <int Columns, bool Masked>
static __device__ __forceinline__ void add_position(const float *weights, const float *values, int32_t position,
                                                    const int32_t visible[TILE_HIGH], float o[TILE_HIGH][TILE_WIDE * Columns])
{
    float w[TILE_HIGH];
    cuda_load_floats<TILE_HIGH>(weights, w);
#pragma unroll
    for (int c = 0; c < Columns; c++) {
        float v[TILE_WIDE];
        cuda_load_floats<TILE_WIDE>(values + c * TILE_COLUMN, v);
#pragma unroll
        for (int h = 0; h < TILE_HIGH; h++) {
#pragma unroll
            for (int d = 0; d < TILE_WIDE; d++) {
                float sum = fmaf(w[h], v[d], o[h][c * TILE_WIDE + d]);
                o[h][c * TILE_WIDE + d] = !Masked || position < visible[h] ? sum : o[h][c * TILE_WIDE + d];
            }
        }
    }
}

/* o = corrected o + weights times the first n positions of a page of values; position 0 of it is `first` of the sequence. */
template <int Columns, bool Masked>
static __device__ __forceinline__ void add_page(const struct cuda_attention_view &view, const struct tile &tile,
                                                const struct tile_place &place, int32_t first, int32_t n,
                                                float o[TILE_HIGH][TILE_WIDE * Columns])
{
    enum { DEEP = Columns == 1 ? 16 : Columns == 2 ? 8 : 4 /* positions of a piece */ };
    const char *page = cuda_attention_page(view, view.layer.v, view.layer.v_bytes, tile.slot, first / KV_PAGE, tile.kv_head);
    int32_t v_dim = view.layer.shape.v_dim, high = place.high * TILE_HIGH, visible[TILE_HIGH];
    auto load = [&](int32_t element, struct cuda_kv_run *run) { cuda_load_value_run(view, page, element, run); };
    struct cuda_kv_run runs[2] = {};
    fetch_piece(load, 0, DEEP * v_dim, runs);
#pragma unroll
    for (int h = 0; h < TILE_HIGH; h++) {
        float correction = tile.correction[high + h];
        visible[h] = tile.visible[high + h] - first;
#pragma unroll
        for (int d = 0; d < TILE_WIDE * Columns; d++) {
            o[h][d] = o[h][d] * correction;
        }
    }
    for (int32_t at = 0; at < n; at += DEEP) {
        store_piece(view.v_type, runs, tile.piece);
        if (at + DEEP < n) {
            fetch_piece(load, (at + DEEP) * v_dim, (at + 2 * DEEP) * v_dim, runs);
        }
        const float *weights = tile.p + at * WEIGHT_STRIDE + high, *values = tile.piece + place.wide * TILE_WIDE;
        int32_t deep = Masked && n - at < DEEP ? n - at : (int32_t)DEEP; /* a page that all see whole has no rest */
#pragma unroll 4
        for (int32_t j = 0; j < deep; j++) {
            add_position<Columns, Masked>(weights + j * WEIGHT_STRIDE, values + j * v_dim, at + j, visible, o);
        }
    }
}

/* Where a thread's dimensions of query i and a column are in the result. */
static __device__ __forceinline__ float *result_place(const struct cuda_attention_view &view, const struct tile &tile,
                                                      const struct tile_place &place, int32_t i, int32_t column, float *result)
{
    size_t query = (size_t)(tile.row + i / tile.heads) * (size_t)view.n_heads + (size_t)(tile.first_head + i % tile.heads);
    return result + query * (size_t)view.layer.shape.v_dim + (size_t)(column * TILE_COLUMN + place.wide * TILE_WIDE);
}

/* Takes the group that begins at position `first` into what result has of those before, not yet divided. */
template <int Columns>
static __device__ __forceinline__ void combine_group(const struct cuda_attention_view &view, const struct tile &tile,
                                                     const struct tile_place &place, int32_t first, float *result,
                                                     const float o[TILE_HIGH][TILE_WIDE * Columns])
{
    int32_t t = (int32_t)threadIdx.x;
    if (t < CUDA_TILE_QUERIES && tile.visible[t] > first) {
        float most = fmaxf(tile.all_m[t], tile.m[t]);
        tile.a[t] = cuda_correction(tile.all_m[t], most);
        tile.b[t] = cuda_exp(tile.m[t] - most);
        tile.all_l[t] = fmaf(tile.all_l[t], tile.a[t], tile.l[t] * tile.b[t]);
        tile.all_m[t] = most;
    }
    __syncthreads();
#pragma unroll
    for (int h = 0; h < TILE_HIGH; h++) {
        int32_t i = place.high * TILE_HIGH + h;
        float a = tile.a[i], b = tile.b[i];
#pragma unroll
        for (int c = 0; c < Columns; c++) {
            float *to = result_place(view, tile, place, i, c, result), all[TILE_WIDE] = {};
            if (tile.visible[i] <= first || c * TILE_COLUMN + place.wide * TILE_WIDE >= view.layer.shape.v_dim) {
                continue;
            }
            if (first > 0) {
                cuda_load_floats<TILE_WIDE>(to, all);
            }
#pragma unroll
            for (int e = 0; e < TILE_WIDE; e++) {
                all[e] = fmaf(all[e], a, o[h][c * TILE_WIDE + e] * b);
            }
            cuda_store_floats<TILE_WIDE>(all, to);
        }
    }
}

/* Divides what the thread itself has written. */
static __device__ void finish_tile(const struct cuda_attention_view &view, const struct tile &tile,
                                   const struct tile_place &place, float *result)
{
    for (int32_t i = place.high * TILE_HIGH; i < (place.high + 1) * TILE_HIGH && i < tile.n; i++) {
        for (int32_t c = 0; c * TILE_COLUMN + place.wide * TILE_WIDE < view.layer.shape.v_dim; c++) {
            float *to = result_place(view, tile, place, i, c, result), all[TILE_WIDE];
            cuda_load_floats<TILE_WIDE>(to, all);
#pragma unroll
            for (int e = 0; e < TILE_WIDE; e++) {
                all[e] = all[e] / tile.all_l[i];
            }
            cuda_store_floats<TILE_WIDE>(all, to);
        }
    }
}

/* The block's queries; 0 when it has none: another block has its row, or another kernel, or nobody. Rows are taken from the last
 * one on, which sees most. */
static __device__ int find_tile(const struct cuda_attention_view &view, int32_t lone_queries, struct tile *tile)
{
    int32_t n_parts = (view.heads + CUDA_TILE_QUERIES - 1) / CUDA_TILE_QUERIES, part = (int32_t)blockIdx.y % n_parts;
    int32_t left = view.heads - part * CUDA_TILE_QUERIES;
    tile->kv_head = (int32_t)blockIdx.y / n_parts;
    tile->heads = left < CUDA_TILE_QUERIES ? left : (int32_t)CUDA_TILE_QUERIES;
    tile->first_head = tile->kv_head * view.heads + part * CUDA_TILE_QUERIES;
    tile->row = (int32_t)(gridDim.x - 1 - blockIdx.x);
    tile->slot = view.rows.slots[tile->row];
    if (tile->slot < 0) {
        return 0;
    }
    struct cuda_tile_rows rows = cuda_find_tile_rows(view, tile->row);
    if (rows.first != tile->row || rows.n * view.heads <= lone_queries) {
        return 0;
    }
    tile->n = rows.n * tile->heads;
    tile->least = INT32_MAX;
    tile->most = 0;
    for (int32_t r = rows.first; r < rows.first + rows.n; r++) {
        int32_t n_visible = view.rows.positions[r] + 1;
        tile->least = n_visible < tile->least ? n_visible : tile->least;
        tile->most = n_visible > tile->most ? n_visible : tile->most;
    }
    return 1;
}

/* Lays out the shared memory, returns its bytes. */
static __host__ __device__ size_t place_tile(struct tile *tile, float *base, int32_t k_dim)
{
    float *at = base;
    tile->p = at, at += KV_PAGE * WEIGHT_STRIDE;
    tile->piece = at, at += PIECE_FLOATS;
    tile->correction = at, at += CUDA_TILE_QUERIES;
    tile->m = at, at += CUDA_TILE_QUERIES;
    tile->l = at, at += CUDA_TILE_QUERIES;
    tile->all_m = at, at += CUDA_TILE_QUERIES;
    tile->all_l = at, at += CUDA_TILE_QUERIES;
    tile->a = at, at += CUDA_TILE_QUERIES;
    tile->b = at, at += CUDA_TILE_QUERIES;
    tile->visible = (int32_t *)at, at += CUDA_TILE_QUERIES;
    tile->q = at, at += k_dim * CUDA_TILE_QUERIES;
    return (size_t)(at - base) * sizeof(float);
}

/* q of all queries, and the state before the first group. A warp has all queries, so that shared memory is written bank by bank.
 */
static __device__ void start_tile(const struct cuda_attention_view &view, const struct tile &tile)
{
    int32_t i = (int32_t)threadIdx.x % CUDA_TILE_QUERIES, k_dim = view.layer.shape.k_dim, row = tile.row + i / tile.heads;
    const float *q = view.q + ((size_t)row * (size_t)view.n_heads + (size_t)(tile.first_head + i % tile.heads)) * (size_t)k_dim;
    for (int32_t d = (int32_t)threadIdx.x / CUDA_TILE_QUERIES * 4; d < k_dim; d += TILE_THREADS / CUDA_TILE_QUERIES * 4) {
        float four[4] = {};
        if (i < tile.n) {
            cuda_load_floats<4>(q + d, four);
        }
#pragma unroll
        for (int e = 0; e < 4; e++) {
            tile.q[(d + e) * CUDA_TILE_QUERIES + i] = four[e];
        }
    }
    tile.visible[i] = i < tile.n ? view.rows.positions[row] + 1 : 0;
    tile.all_m[i] = -INFINITY;
    tile.all_l[i] = 0;
}

/* Grid: [rows, kv heads times their parts of 32 query heads]; the first row of a tile does it all. Columns: 64 dimensions of v
 * each. */
template <int Columns>
static __global__ void __launch_bounds__(TILE_THREADS, Columns > 1 ? 4 : 5)
    attend_tile(struct cuda_attention_view view, int32_t lone_queries, float *result)
{
    CUDA_DYNAMIC_SHARED(shared);
    struct tile tile;
    if (!find_tile(view, lone_queries, &tile)) {
        return;
    }
    place_tile(&tile, (float *)shared, view.layer.shape.k_dim);
    start_tile(view, tile);
    int32_t t = (int32_t)threadIdx.x, lane = t % CUDA_WARP;
    struct tile_place place = {lane / 8, t / CUDA_WARP * 8 + lane % 8};
    for (int32_t group = 0; group < tile.most; group += CUDA_GROUP_POSITIONS) {
        float o[TILE_HIGH][TILE_WIDE * Columns] = {};
        __syncthreads();
        tile.m[lane] = -INFINITY;
        tile.l[lane] = 0;
        int32_t end = group + CUDA_GROUP_POSITIONS < tile.most ? group + CUDA_GROUP_POSITIONS : tile.most;
        for (int32_t first = group; first < end; first += KV_PAGE) {
            score_page(view, tile, place, first / KV_PAGE);
            weigh_page(tile, first);
            if (tile.least >= first + KV_PAGE) {
                add_page<Columns, false>(view, tile, place, first, KV_PAGE, o);
            } else {
                int32_t n = tile.most - first < KV_PAGE ? tile.most - first : (int32_t)KV_PAGE;
                add_page<Columns, true>(view, tile, place, first, n, o);
            }
        }
        combine_group<Columns>(view, tile, place, group, result, o);
    }
    finish_tile(view, tile, place, result);
}

int cuda_attend_tile_fits(const struct kv_layer_shape *shape)
{
    return shape->k_dim % CUDA_KV_RUN == 0 && shape->v_dim % CUDA_KV_RUN == 0 && shape->k_dim <= CUDA_TILE_MOST_DIM &&
           shape->v_dim <= CUDA_TILE_MOST_DIM;
}

void cuda_attend_tile(cudaStream_t stream, const struct cuda_attention_view *view, int32_t lone_queries, float *result)
{
    static void (*const kernels[])(struct cuda_attention_view, int32_t, float *) = {attend_tile<1>, attend_tile<2>,
                                                                                    attend_tile<3>, attend_tile<4>};
    const struct kv_layer_shape *shape = &view->layer.shape;
    struct tile tile;
    size_t bytes = place_tile(&tile, NULL, shape->k_dim);
    int32_t n_parts = (view->heads + CUDA_TILE_QUERIES - 1) / CUDA_TILE_QUERIES;
    cuda_launch(kernels[(shape->v_dim - 1) / TILE_COLUMN], dim3((unsigned)view->rows.n, (unsigned)(shape->n_kv_heads * n_parts)),
                dim3(TILE_THREADS), bytes, stream, *view, lone_queries, result);
}
