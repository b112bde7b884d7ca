/* Weights on their way into device memory: in pieces through pinned memory, packed on the device. SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/backend_private.h"
#include "kernels/file_pages.h"

enum {
    LAYOUT_DEVICE = 1,   /* of a tensor that is in device memory */
    MOST_ROWS = 1 << 19, /* of a matrix: a launch of three has fewer than 65536 blocks of at least 32 rows */
};

static int loader_create(struct backend_cuda *self, struct error *err)
{
    struct cuda_loader *l = (struct cuda_loader *)calloc(1, sizeof *l);
    if (!l) {
        return error_set(err, "out of memory");
    }
    self->loader = l;
    for (int i = 0; i < 2; i++) {
        cudaError_t status = cudaHostAlloc((void **)&l->pinned[i], CUDA_LOAD_BYTES, cudaHostAllocDefault);
        status = status == cudaSuccess ? cudaMalloc((void **)&l->raw[i], CUDA_LOAD_BYTES) : status;
        status = status == cudaSuccess ? cudaEventCreateWithFlags(&l->free[i], cudaEventBlockingSync | cudaEventDisableTiming)
                                       : status;
        if (status != cudaSuccess) {
            cuda_loader_free(self);
            return cuda_refuse(status, "memory that weights are loaded through", err);
        }
    }
    return 0;
}

void cuda_loader_free(struct backend_cuda *self)
{
    struct cuda_loader *l = self->loader;
    if (!l) {
        return;
    }
    cudaStreamSynchronize(self->stream);
    for (int i = 0; i < 2; i++) {
        cudaFreeHost(l->pinned[i]);
        cudaFree(l->raw[i]);
        if (l->free[i]) {
            cudaEventDestroy(l->free[i]);
        }
    }
    free(l);
    self->loader = NULL;
}

/* Rows [first, first + n) of the tensor to where they belong. */
static void load_piece(struct backend_cuda *self, const struct tensor *t, int64_t first, int64_t n, char *to)
{
    struct cuda_loader *l = self->loader;
    int turn = l->next;
    size_t bytes = (size_t)n * t->row_bytes;
    const char *from = (const char *)t->data + (size_t)first * t->row_bytes;
    int is_packed = dtype_info(t->dtype)->quantised;
    cuda_check(cudaEventSynchronize(l->free[turn]), "loading weights");
    memcpy(l->pinned[turn], from, bytes);
    if (t->may_drop) {
        file_pages_drop(from, bytes);
    }
    char *target = is_packed ? l->raw[turn] : to + (size_t)first * t->row_bytes;
    cuda_check(cudaMemcpyAsync(target, l->pinned[turn], bytes, cudaMemcpyHostToDevice, self->stream), "loading weights");
    if (is_packed) {
        cuda_pack(self->stream, t->dtype, target, (int32_t)n, (int32_t)t->cols, (int32_t)((n + CUDA_PANEL - 1) / CUDA_PANEL),
                  to + (size_t)first * t->row_bytes);
        cuda_check(cudaGetLastError(), "packing weights");
    }
    cuda_check(cudaEventRecord(l->free[turn], self->stream), "loading weights");
    l->next = 1 - turn;
}

static int load_matrix(struct backend_cuda *self, struct tensor *t, struct error *err)
{
    int64_t piece = (int64_t)(CUDA_LOAD_BYTES / t->row_bytes) / CUDA_PANEL * CUDA_PANEL;
    if (piece < 1) {
        return error_set(err, "rows of %zu bytes; expected at most %d", t->row_bytes, CUDA_LOAD_BYTES / CUDA_PANEL);
    }
    if (!self->loader && loader_create(self, err)) {
        return -1;
    }
    char *to = (char *)cuda_take(self, backend_cuda_matrix_bytes(t->dtype, t->rows, t->cols), CUDA_FOR_WEIGHTS, "weights", err);
    if (!to) {
        return -1;
    }
    for (int64_t first = 0; first < t->rows; first += piece) {
        int64_t n = t->rows - first < piece ? t->rows - first : piece, after = t->rows - first - n;
        if (t->may_drop) {
            file_pages_want((const char *)t->data + (size_t)(first + n) * t->row_bytes,
                            (size_t)(after < piece ? after : piece) * t->row_bytes);
        }
        load_piece(self, t, first, n, to);
    }
    t->data = to;
    return 0;
}

/* Norms and biases: too small for anything but a plain copy. */
static int load_vector(struct backend_cuda *self, struct tensor *t, struct error *err)
{
    void *to = cuda_take(self, (size_t)t->rows * t->row_bytes, CUDA_FOR_WEIGHTS, "norms and biases", err);
    if (!to) {
        return -1;
    }
    /* In the stream, so that steps come after it; ordinary memory has been read when the call returns. */
    cudaError_t status = cudaMemcpyAsync(to, t->data, (size_t)t->rows * t->row_bytes, cudaMemcpyHostToDevice, self->stream);
    t->data = to;
    return status == cudaSuccess ? 0 : cuda_refuse(status, "copying norms and biases", err);
}

int cuda_import(struct backend *base, struct tensor *t, enum backend_use use, struct error *err)
{
    struct backend_cuda *self = cuda_self(base);
    const struct dtype_info *info = dtype_info(t->dtype);
    if (!info || !info->known) {
        return error_set(err, "weights of type %s are not supported", info ? info->name : "unknown");
    }
    if (t->cols < 1 || t->cols > INT32_MAX || t->cols % info->block != 0) {
        return error_set(err, "%lld columns of type %s; expected a multiple of %d", (long long)t->cols, info->name, info->block);
    }
    if (t->rows < 1 || t->rows > INT32_MAX - CUDA_PANEL || t->row_bytes != dtype_row_bytes(t->dtype, t->cols)) {
        return error_set(err, "%lld rows of %zu bytes; expected rows of %zu bytes", (long long)t->rows, t->row_bytes,
                         dtype_row_bytes(t->dtype, t->cols));
    }
    if (use == BACKEND_MATRIX && t->rows > MOST_ROWS) {
        return error_set(err, "a matrix of %lld rows; expected at most %d on a GPU", (long long)t->rows, MOST_ROWS);
    }
    t->layout = 0;
    if (use == BACKEND_ROWS) {
        return 0; /* stays in the file: the host takes single rows from there */
    }
    cudaSetDevice(self->device.index);
    if (use == BACKEND_MATRIX ? load_matrix(self, t, err) : load_vector(self, t, err)) {
        return -1;
    }
    t->layout = LAYOUT_DEVICE;
    t->may_drop = 0;
    return 0;
}

uint64_t backend_cuda_matrix_bytes(enum dtype type, int64_t rows, int64_t cols)
{
    int64_t padded = dtype_info(type)->quantised ? (rows + CUDA_PANEL - 1) / CUDA_PANEL * CUDA_PANEL : rows;
    return (uint64_t)padded * dtype_row_bytes(type, cols);
}
