/* Products of more than eight activation rows with packed weights. SPDX-License-Identifier: MIT
 *
 * A block multiplies N_TILES panels, one a warp, with 8 * N_TILES activation rows: 2 up to sixteen rows, 4 up to 32, 8 beyond.
 * The warps share the activations, which come through two stages of four blocks of 32 columns; each reads its weights one piece
 * ahead, straight into registers, and keeps the accumulators of all its outputs. Few rows: bound by the weights' bytes; many: by
 * the float steps of the contract (three instructions for each of the four outputs that a lane has of a product). grid: (tiles of
 * activation rows, groups of panels of all matrices), rows first, so that neighbours find the weights in L2; block: 32 * N_TILES.
 */
#include "kernels/cuda/cuda_matmul.h"

/* Blocks of weights that are on their way while one is multiplied. */
template <int N_TILES> static constexpr int AHEAD = N_TILES == 8 ? 1 : CUDA_PIECE;

/* One block of a panel times one of eight activation rows. */
template <enum dtype T>
static __device__ __forceinline__ void add_products(const uint32_t a[4], const uint32_t b[2], const struct cuda_scales *scales,
                                                    const float4 x, float acc[4])
{
    float sums[4];
    if constexpr (cuda_panel<T>::halves) {
        for (int part = 0; part < 2; part++) {
            cuda_half_sums(a, b, part, sums);
            cuda_add_sums<2>(scales->d[part], sums, x, acc);
        }
    } else {
        cuda_sums(a, b, sums);
        cuda_add_sums<2>(scales->d[0], sums, x, acc);
    }
    if constexpr (cuda_panel<T>::has_min) {
        cuda_add_minimum<2>(scales->minus_m, x, acc);
    }
}

/* Block j of a stage times a. */
template <enum dtype T, int N_TILES>
static __device__ __forceinline__ void multiply_block(const uint32_t a[4], const struct cuda_scales *scales,
                                                      const struct cuda_stage<N_TILES> *stage, int j, int lane,
                                                      float acc[N_TILES][4])
{
#pragma unroll
    for (int tile = 0; tile < N_TILES; tile += 2) {
        uint32_t b[4]; /* of two tiles */
        cuda_load_matrices(b, (const uint8_t *)stage->blocks[j].q[tile] + 16 * lane);
        add_products<T>(a, b, scales, cuda_stage_scales_of(stage, j, tile, lane), acc[tile]);
        add_products<T>(a, b + 2, scales, cuda_stage_scales_of(stage, j, tile + 1, lane), acc[tile + 1]);
    }
}

/* One piece of a panel times a stage; w: its first blocks on entry, those of the next piece behind. */
template <enum dtype T, int N_TILES>
static __device__ __forceinline__ void multiply_piece(const uint8_t *panel, int32_t piece, int32_t n_blocks,
                                                      const struct cuda_stage<N_TILES> *stage, int lane,
                                                      struct cuda_piece<T, AHEAD<N_TILES>> *w, float acc[N_TILES][4])
{
    const uint8_t *here = cuda_place_of<T>(panel, piece, lane), *next = cuda_place_of<T>(panel, piece + 1, lane);
    const bool has_next = (piece + 1) * CUDA_PIECE < n_blocks;
    cuda_scales_ready(piece, w);
#pragma unroll
    for (int j = 0; j < CUDA_PIECE; j++) {
        if (piece * CUDA_PIECE + j >=
            n_blocks) { /* that all K types pass keeps the schedules of blocks apart, and registers free */
            return;
        }
        struct cuda_scales scales;
        uint32_t a[4];
        cuda_fragment(w, j, lane, a);
        cuda_scales_of(w, j, &scales);
        const int later = j + AHEAD<N_TILES>;
        if (later < CUDA_PIECE && cuda_has_block<T>(piece, later, n_blocks)) {
            cuda_block_load(here, later, lane, w);
        } else if (later >= CUDA_PIECE && has_next && cuda_has_block<T>(piece + 1, later - CUDA_PIECE, n_blocks)) {
            cuda_block_load(next, later - CUDA_PIECE, lane, w);
        }
        if (j == CUDA_PIECE - 1 && has_next) {
            cuda_scales_load(panel, piece + 1, lane, w);
        }
        multiply_block<T, N_TILES>(a, &scales, stage, j, lane, acc);
    }
}

/* A panel times rows [first, first + 8 * N_TILES). All warps of the block call it, each with its own panel. */
template <enum dtype T, int N_TILES>
static __device__ __forceinline__ void multiply_panel(const struct cuda_products *p, const uint8_t *panel, int32_t first,
                                                      struct cuda_stage<N_TILES> *stages, float acc[N_TILES][4])
{
    const int thread = (int)threadIdx.x, lane = thread % 32;
    const int32_t n_blocks = p->cols / CUDA_Q8_BLOCK, n_pieces = (n_blocks + CUDA_PIECE - 1) / CUDA_PIECE;
    const int32_t row = first + thread / CUDA_PIECE;
    cuda_piece<T, AHEAD<N_TILES>> weights = {};
    struct cuda_stage_scales scales = cuda_stage_begin<N_TILES>(p, row, 0, thread, &stages[0]);
    cuda_piece_load(panel, 0, n_blocks, lane, &weights);
    for (int32_t piece = 0; piece < n_pieces; piece++) {
        cuda_stage_end<N_TILES>(scales, thread, &stages[piece % 2]);
        __syncthreads();
        scales = cuda_stage_begin<N_TILES>(p, row, piece + 1, thread, &stages[(piece + 1) % 2]);
        multiply_piece<T, N_TILES>(panel, piece, n_blocks, &stages[piece % 2], lane, &weights, acc);
    }
    cuda_copy_wait<0>();
}

template <enum dtype T, int N_TILES>
static __global__ void __launch_bounds__(32 * N_TILES, 16 / N_TILES) matmul_tile_kernel(const struct cuda_products p)
{
    __shared__ struct cuda_stage<N_TILES> stages[2];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, which = cuda_product_of(&p, (int32_t)blockIdx.y);
    const int32_t panel = ((int32_t)blockIdx.y - p.mats[which].first) * N_TILES + warp;
    const int32_t last = (p.mats[which].rows - 1) / CUDA_PANEL, first = (int32_t)blockIdx.x * 8 * N_TILES;
    const size_t panel_bytes = (size_t)(p.cols / CUDA_Q8_BLOCK / cuda_panel<T>::unit_blocks) * cuda_panel<T>::unit_bytes;
    float acc[N_TILES][4] = {};
    multiply_panel<T, N_TILES>(&p, p.mats[which].data + (size_t)min(panel, last) * panel_bytes, first, stages, acc);
    if (panel > last) {
        return;
    }
#pragma unroll
    for (int i = 0; i < 4 * N_TILES; i++) {
        int c = i % 4; /* of cuda_mma_s8 */
        int32_t x = first + i / 4 * 8 + lane % 4 * 2 + c % 2, w = panel * CUDA_PANEL + lane / 4 * 2 + c / 2;
        cuda_product_store(&p.mats[which], p.n_rows, x, w, acc[i / 4][c]);
    }
}

typedef void (*tile_kernel)(struct cuda_products);

template <int N_TILES> static tile_kernel tile_kernel_of(enum dtype type)
{
    switch (type) {
    case DTYPE_Q4_0: return matmul_tile_kernel<DTYPE_Q4_0, N_TILES>;
    case DTYPE_Q4_1: return matmul_tile_kernel<DTYPE_Q4_1, N_TILES>;
    case DTYPE_Q5_0: return matmul_tile_kernel<DTYPE_Q5_0, N_TILES>;
    case DTYPE_Q5_1: return matmul_tile_kernel<DTYPE_Q5_1, N_TILES>;
    case DTYPE_Q8_0: return matmul_tile_kernel<DTYPE_Q8_0, N_TILES>;
    case DTYPE_Q4_K: return matmul_tile_kernel<DTYPE_Q4_K, N_TILES>;
    case DTYPE_Q5_K: return matmul_tile_kernel<DTYPE_Q5_K, N_TILES>;
    default: return matmul_tile_kernel<DTYPE_Q6_K, N_TILES>;
    }
}

template <int N_TILES> static void launch_tiles(cudaStream_t stream, enum dtype type, struct cuda_products *products)
{
    int32_t n_groups = cuda_products_place(products, CUDA_PANEL * N_TILES);
    int32_t n_row_tiles = (products->n_rows + 8 * N_TILES - 1) / (8 * N_TILES);
    cuda_launch(tile_kernel_of<N_TILES>(type), dim3((unsigned)n_row_tiles, (unsigned)n_groups), dim3(32 * N_TILES), 0, stream,
                *products);
}

void cuda_matmul_tile(cudaStream_t stream, enum dtype type, struct cuda_products products)
{
    if (products.n_rows <= 16) {
        launch_tiles<2>(stream, type, &products);
    } else if (products.n_rows <= 32) {
        launch_tiles<4>(stream, type, &products);
    } else {
        launch_tiles<8>(stream, type, &products);
    }
}
