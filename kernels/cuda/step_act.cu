/* Activations on their way between host and device, in the portable form of backend_act_row_bytes. SPDX-License-Identifier: MIT
 *
 * As with floats (step.cu) the host's end is pinned memory, so a recorded step needs nothing else. */
#include <assert.h>
#include <string.h>

#include "kernels/cuda/backend_private.h"

enum { ACT_THREADS = 128, BLOCK_WORDS = CUDA_Q8_BLOCK / 4 };

/* 32-bit words of a row, quants and scales. */
__device__ static int32_t row_words(int32_t cols)
{
    return cols / 4 + cols / CUDA_Q8_BLOCK;
}

/* A block of threads a row, from `first` on; rows behind the real ones are left out. */
__global__ static void unpack_kernel(struct backend_act act, const int32_t *from, int32_t first, const int32_t *n_rows)
{
    int32_t row = first + (int32_t)blockIdx.x, n_blocks = act.cols / CUDA_Q8_BLOCK;
    if (row >= *n_rows) {
        return;
    }
    const int32_t *words = from + (size_t)blockIdx.x * (size_t)row_words(act.cols);
    int32_t *q = (int32_t *)(act.q + (size_t)row * (size_t)act.cols);
    for (int32_t block = (int32_t)threadIdx.x; block < n_blocks; block += (int32_t)blockDim.x) {
        int32_t sum = 0;
        for (int32_t i = block * BLOCK_WORDS; i < (block + 1) * BLOCK_WORDS; i++) {
            q[i] = words[i];
            sum = __dp4a(words[i], 0x01010101, sum);
        }
        act.d[(size_t)row * (size_t)n_blocks + (size_t)block] = __int_as_float(words[act.cols / 4 + block]);
        act.sum[(size_t)row * (size_t)n_blocks + (size_t)block] = (float)sum;
    }
}

__global__ static void pack_kernel(int32_t *to, struct backend_act act, int32_t first, const int32_t *n_rows)
{
    int32_t row = first + (int32_t)blockIdx.x, n_blocks = act.cols / CUDA_Q8_BLOCK, n_quads = act.cols / 4;
    if (row >= *n_rows) {
        return;
    }
    const int32_t *q = (const int32_t *)(act.q + (size_t)row * (size_t)act.cols);
    const float *d = act.d + (size_t)row * (size_t)n_blocks;
    int32_t *words = to + (size_t)blockIdx.x * (size_t)row_words(act.cols);
    for (int32_t i = (int32_t)threadIdx.x; i < row_words(act.cols); i += (int32_t)blockDim.x) {
        words[i] = i < n_quads ? q[i] : __float_as_int(d[i - n_quads]);
    }
}

static void launch_pack(struct backend_cuda *self, const struct backend_act *act, int32_t first, int32_t n)
{
    cuda_launch<int32_t *, struct backend_act, int32_t, const int32_t *>(pack_kernel, dim3((unsigned)n), dim3(ACT_THREADS), 0,
                                                                         self->stream, (int32_t *)self->out_mapped, *act, first,
                                                                         self->on_device.n_rows);
    self->is_busy = 1;
}

/* Rows that the staging memory holds. */
static int32_t rows_a_piece(const struct backend_cuda *self, int32_t cols)
{
    size_t n = CUDA_STAGING_BYTES / backend_act_row_bytes(cols);
    assert(n >= 1);
    return n < (size_t)self->max_rows ? (int32_t)n : self->max_rows;
}

void cuda_act_upload(struct backend *base, struct backend_act *dst, const void *src, int32_t n_rows)
{
    struct backend_cuda *self = cuda_self(base);
    size_t row_bytes = backend_act_row_bytes(dst->cols);
    int32_t piece = rows_a_piece(self, dst->cols);
    assert(n_rows == self->step.n_rows && (self->mode == CUDA_RUNS || self->rows.n <= piece));
    for (int32_t first = 0; first < n_rows; first += piece) {
        int32_t n = n_rows - first < piece ? n_rows - first : piece;
        if (self->mode == CUDA_RUNS && self->is_busy) {
            cuda_sync(base); /* the device may still read what was there */
        }
        memcpy(self->in, (const char *)src + (size_t)first * row_bytes, (size_t)n * row_bytes);
        if (self->mode == CUDA_REPLAYS || !cuda_launches(self)) {
            return;
        }
        cuda_launch<struct backend_act, const int32_t *, int32_t, const int32_t *>(
            unpack_kernel, dim3((unsigned)(self->mode == CUDA_RECORDS ? self->rows.n : n)), dim3(ACT_THREADS), 0, self->stream,
            *dst, (const int32_t *)self->in_mapped, first, self->on_device.n_rows);
    }
}

void cuda_act_download(struct backend *base, void *dst, const struct backend_act *src, int32_t n_rows)
{
    struct backend_cuda *self = cuda_self(base);
    size_t row_bytes = backend_act_row_bytes(src->cols);
    int32_t piece = rows_a_piece(self, src->cols);
    const void *recorded = NULL;
    assert(n_rows == self->step.n_rows);
    if (self->mode == CUDA_RECORDS && self->rows.n <= piece && cuda_launches(self)) {
        launch_pack(self, src, 0, self->rows.n);
        self->recording->downloads = src->q;
    }
    if (self->mode != CUDA_RUNS) {
        recorded = self->recording->downloads;
        cuda_replay_finish(self);
    }
    for (int32_t first = 0; first < n_rows; first += piece) {
        int32_t n = n_rows - first < piece ? n_rows - first : piece;
        if (recorded != src->q) {
            launch_pack(self, src, first, n);
        }
        cuda_sync(base);
        memcpy((char *)dst + (size_t)first * row_bytes, self->out, (size_t)n * row_bytes);
    }
}
