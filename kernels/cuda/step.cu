/* A step of the CUDA backend: its rows, and floats on their way between host and device. SPDX-License-Identifier: MIT
 *
 * Host and device meet in pinned memory that both can read. The host writes there what the step is about (struct cuda_step_words)
 * and the floats that come in; the step's first kernels take both from there, its last one leaves the floats that go out. So what
 * is launched is the same for every step of its kind, and a recorded step needs nothing but its one launch. */
#include <assert.h>
#include <string.h>

#include "kernels/cuda/backend_private.h"
#include "kernels/file_pages.h"
#include "kernels/quantize.h"

enum { EMBED_ROWS = 512 /* rows of a table after which its pages are let go: each has brought some dozen kilobytes along */ };
static const int64_t COPY_THREADS = 256, COPY_BLOCKS = 128; /* at most: enough to keep the memory busy */

static size_t words_of(int32_t max_rows, int32_t max_pages)
{
    return 4 + 3 * (size_t)max_rows + (size_t)max_rows * (size_t)max_pages;
}

static struct cuda_step_words words_at(int32_t *words, int32_t max_rows)
{
    return {words, words + 4, words + 4 + max_rows, words + 4 + 2 * max_rows, words + 4 + 3 * max_rows};
}

uint64_t cuda_step_bytes(int32_t max_rows, int32_t max_pages)
{
    return backend_cuda_block_bytes(words_of(max_rows, max_pages) * sizeof(int32_t)) +
           CUDA_ROPE_TABLES * backend_cuda_block_bytes(CUDA_ROPE_MOST * sizeof(double));
}

int cuda_step_create(struct backend_cuda *self, struct error *err)
{
    size_t bytes = words_of(self->max_rows, self->max_pages) * sizeof(int32_t);
    int32_t *words = (int32_t *)cuda_take_zeroed(self, bytes, CUDA_FOR_ROWS, "page tables", err);
    int32_t *host = words ? (int32_t *)cuda_take_host(self, bytes, 1, err) : NULL;
    self->in = host ? (float *)cuda_take_host(self, CUDA_STAGING_BYTES, 1, err) : NULL;
    self->out = self->in ? (float *)cuda_take_host(self, CUDA_STAGING_BYTES, 1, err) : NULL;
    self->slots = self->out ? (int32_t *)cuda_take_host(self, (size_t)self->max_rows * sizeof *self->slots, 0, err) : NULL;
    if (!self->slots) {
        return -1;
    }
    cudaError_t status = cudaHostGetDevicePointer((void **)&self->mapped, host, 0);
    status = status == cudaSuccess ? cudaHostGetDevicePointer((void **)&self->in_mapped, self->in, 0) : status;
    status = status == cudaSuccess ? cudaHostGetDevicePointer((void **)&self->out_mapped, self->out, 0) : status;
    if (status != cudaSuccess) {
        return cuda_refuse(status, "mapping pinned memory", err);
    }
    self->host = words_at(host, self->max_rows);
    self->on_device = words_at(words, self->max_rows);
    self->rows.positions = self->on_device.positions;
    self->rows.slots = self->on_device.slots;
    self->rows.pages = self->on_device.pages;
    self->rows.max_pages = self->max_pages;
    return 0;
}

/* One block a row: its position and slot, and row blockIdx.x of the page table as far as the step looks at it. */
__global__ static void take_step_kernel(struct cuda_step_words to, struct cuda_step_words from, int32_t max_pages)
{
    size_t row = blockIdx.x, first = row * (size_t)max_pages;
    int32_t n_pages = from.n_pages[row];
    if (threadIdx.x == 0) {
        to.positions[row] = from.positions[row];
        to.slots[row] = from.slots[row];
        if (row == 0) {
            *to.n_rows = *from.n_rows;
        }
    }
    for (int32_t i = (int32_t)threadIdx.x; i < n_pages; i += (int32_t)blockDim.x) {
        to.pages[first + (size_t)i] = from.pages[first + (size_t)i];
    }
}

/* n floats, or, with n_rows, n for each of that many rows. */
template <typename T> __global__ static void copy_kernel(T *to, const T *from, int64_t n, const int32_t *n_rows)
{
    int64_t end = n_rows ? n * *n_rows : n, step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < end; i += step) {
        to[i] = from[i];
    }
}

static void launch_copy(struct backend_cuda *self, float *to, const float *from, int64_t n, int32_t most_rows,
                        const int32_t *n_rows)
{
    int is_wide = n % 4 == 0 && ((uintptr_t)to | (uintptr_t)from) % sizeof(float4) == 0;
    int64_t units = is_wide ? n / 4 : n, blocks = (units * most_rows + COPY_THREADS - 1) / COPY_THREADS;
    dim3 grid((unsigned)(blocks < COPY_BLOCKS ? blocks : COPY_BLOCKS)), block((unsigned)COPY_THREADS);
    if (is_wide) {
        cuda_launch<float4 *, const float4 *, int64_t, const int32_t *>(copy_kernel<float4>, grid, block, 0, self->stream,
                                                                        (float4 *)to, (const float4 *)from, units, n_rows);
    } else {
        cuda_launch<float *, const float *, int64_t, const int32_t *>(copy_kernel<float>, grid, block, 0, self->stream, to, from,
                                                                      units, n_rows);
    }
    self->is_busy = 1;
}

/* -- rows -- */

/* The number of the slot in this step; as rows of a sequence stand side by side the search is short. */
static int32_t find_slot(struct backend_cuda *self, int32_t *slots, int32_t n_slots, int32_t slot, int32_t previous)
{
    if (previous >= 0 && slots[previous] == slot) {
        return previous;
    }
    for (int32_t i = n_slots - 1; i >= 0; i--) {
        if (slots[i] == slot) {
            return i;
        }
    }
    slots[n_slots] = slot;
    self->host.n_pages[n_slots] = 0;
    return n_slots;
}

static void take_rows(struct backend_cuda *self, const struct backend_rows *rows)
{
    struct cuda_step_words *host = &self->host;
    int32_t *slots = self->slots, n_slots = 0, previous = -1, longest = 0;
    for (int32_t i = 0; i < rows->n_rows; i++) {
        int32_t position = rows->positions[i], slot = find_slot(self, slots, n_slots, rows->slots[i], previous);
        int32_t n_pages = position / KV_PAGE + 1;
        assert(position >= 0 && n_pages <= self->max_pages && n_pages <= rows->max_pages);
        n_slots = slot == n_slots ? n_slots + 1 : n_slots;
        host->positions[i] = position;
        host->slots[i] = previous = slot;
        host->n_pages[slot] = n_pages > host->n_pages[slot] ? n_pages : host->n_pages[slot];
        longest = position + 1 > longest ? position + 1 : longest;
    }
    for (int32_t s = 0; s < n_slots; s++) {
        memcpy(host->pages + (size_t)s * (size_t)self->max_pages, rows->pages + (size_t)slots[s] * (size_t)rows->max_pages,
               (size_t)host->n_pages[s] * sizeof *host->pages);
    }
    for (int32_t i = n_slots; i < rows->n_rows; i++) {
        host->n_pages[i] = 0;
    }
    self->max_context = longest;
}

void cuda_step_begin(struct backend *base, const struct backend_rows *rows)
{
    struct backend_cuda *self = cuda_self(base);
    assert(rows->n_rows >= 0 && rows->n_rows <= self->max_rows);
    cuda_check(cudaSetDevice(self->device.index), "choosing the GPU");
    cuda_replay_finish(self);
    if (self->is_busy) {
        cuda_sync(base); /* what the host writes now may still be read */
    }
    cuda_loader_free(self);
    self->step = *rows;
    self->rows.n = rows->n_rows;
    *self->host.n_rows = rows->n_rows;
    self->max_context = 0;
    self->is_waiting = 1;
    if (rows->positions && rows->slots && rows->pages) {
        take_rows(self, rows);
    } else {
        memset(self->host.n_pages, 0, (size_t)rows->n_rows * sizeof(int32_t));
    }
}

int cuda_launches(struct backend_cuda *self)
{
    assert(self->mode != CUDA_REPLAYS);
    if (self->rows.n == 0) {
        return 0;
    }
    if (self->is_waiting) {
        struct cuda_step_words from = words_at((int32_t *)self->mapped, self->max_rows);
        cuda_launch<struct cuda_step_words, struct cuda_step_words, int32_t>(
            take_step_kernel, dim3((unsigned)self->rows.n), dim3(64), 0, self->stream, self->on_device, from, self->max_pages);
        self->is_waiting = 0;
    }
    self->is_busy = 1;
    return 1;
}

/* -- floats in and out -- */

/* Waits without using a core. */
static void wait_for_device(struct backend_cuda *self)
{
    cuda_check(cudaGetLastError(), "launching a step");
    cuda_check(cudaEventRecord(self->done, self->stream), "computing a step");
    cuda_check(cudaEventSynchronize(self->done), "computing a step");
    self->is_busy = 0;
}

void cuda_sync(struct backend *base)
{
    struct backend_cuda *self = cuda_self(base);
    cuda_replay_finish(self);
    wait_for_device(self);
}

/* A recorded step's floats come and go in one piece. */
static const size_t STAGING_FLOATS = CUDA_STAGING_BYTES / sizeof(float);

/* The in-going staging memory holds floats for n_rows rows: brings them to the device. */
static void bring(struct backend_cuda *self, float *dst, int64_t row_floats, int32_t n_rows)
{
    if (self->mode == CUDA_REPLAYS) {
        return; /* it is the recording's first step */
    }
    if (cuda_launches(self)) {
        int by_rows = self->mode == CUDA_RECORDS;
        launch_copy(self, dst, self->in_mapped, by_rows ? row_floats : row_floats * n_rows, by_rows ? self->rows.n : 1,
                    by_rows ? self->on_device.n_rows : NULL);
    }
}

/* Before the host writes to the in-going staging memory again. */
static void wait_for_in(struct backend_cuda *self)
{
    if (self->is_busy) {
        assert(self->mode == CUDA_RUNS);
        wait_for_device(self);
    }
}

void cuda_upload(struct backend *base, float *dst, const float *src, size_t n)
{
    struct backend_cuda *self = cuda_self(base);
    if (self->mode != CUDA_RUNS) {
        assert(n <= STAGING_FLOATS && n % (size_t)self->step.n_rows == 0);
        memcpy(self->in, src, n * sizeof *src);
        bring(self, dst, (int64_t)(n / (size_t)self->step.n_rows), self->step.n_rows);
        return;
    }
    for (size_t done = 0, piece; done < n; done += piece) {
        piece = n - done < STAGING_FLOATS ? n - done : STAGING_FLOATS;
        wait_for_in(self);
        memcpy(self->in, src + done, piece * sizeof *src);
        bring(self, dst + done, (int64_t)piece, 1);
    }
}

void cuda_embed(struct backend *base, const struct tensor *table, float scale, float *out)
{
    struct backend_cuda *self = cuda_self(base);
    int32_t n_rows = self->step.n_rows, piece = (int32_t)(STAGING_FLOATS / (size_t)table->cols);
    assert(table->layout == 0 && piece >= (self->mode == CUDA_RUNS ? 1 : n_rows));
    for (int32_t first = 0; first < n_rows; first += piece) {
        int32_t n = n_rows - first < piece ? n_rows - first : piece;
        wait_for_in(self);
        for (int32_t r = 0; r < n; r++) {
            float *y = self->in + (size_t)r * (size_t)table->cols;
            int32_t token = self->step.tokens[first + r];
            assert(token >= 0 && token < table->rows);
            dequantize_row(table->dtype, (const char *)table->data + (size_t)token * table->row_bytes, table->cols, y);
            for (int64_t i = 0; i < table->cols; i++) {
                y[i] *= scale;
            }
        }
        bring(self, out + (size_t)first * (size_t)table->cols, table->cols, n);
    }
    self->n_embedded += n_rows;
    if (table->may_drop && self->n_embedded >= EMBED_ROWS) {
        file_pages_drop(table->data, (size_t)table->rows * table->row_bytes);
        self->n_embedded = 0;
    }
}

void cuda_download(struct backend *base, float *dst, const float *src, size_t n)
{
    struct backend_cuda *self = cuda_self(base);
    size_t row_floats = self->step.n_rows > 0 ? n / (size_t)self->step.n_rows : 0;
    const void *recorded = NULL;
    if (self->mode == CUDA_RECORDS && row_floats * (size_t)self->rows.n <= STAGING_FLOATS && cuda_launches(self)) {
        launch_copy(self, self->out_mapped, src, (int64_t)row_floats, self->rows.n, self->on_device.n_rows);
        self->recording->downloads = src;
    }
    if (self->mode != CUDA_RUNS) {
        recorded = self->recording->downloads;
        cuda_replay_finish(self);
    }
    if (recorded == src && n > 0) {
        wait_for_device(self);
        memcpy(dst, self->out, n * sizeof *dst);
        return;
    }
    for (size_t done = 0, piece; done < n; done += piece) {
        piece = n - done < STAGING_FLOATS ? n - done : STAGING_FLOATS;
        launch_copy(self, self->out_mapped, src + done, (int64_t)piece, 1, NULL);
        wait_for_device(self);
        memcpy(dst + done, self->out, piece * sizeof *dst);
    }
}
