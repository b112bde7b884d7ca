/* Memory of the CUDA backend: chunks of device memory, host memory, and what is said when there is none. SPDX-License-Identifier:
 * MIT
 *
 * Small blocks share chunks, larger ones have an allocation of their own, whose rest small ones may use. No allocation is much
 * larger than the one block that it is for: Jetson's L4T 36.4.7 refuses large allocations. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/backend_private.h"

enum {
    CHUNK_BYTES = CUDA_CHUNK_BYTES,
    SMALL_BYTES = CHUNK_BYTES / 8, /* the largest block that shares a chunk */
    GRAIN_BYTES = 2 << 20,         /* of cudaMalloc itself */
    ALIGN_BYTES = 256
};

static uint64_t round_up(uint64_t bytes, uint64_t to)
{
    return (bytes + to - 1) / to * to;
}

/* A chunk is left for the next one when a small block does not fit: at most SMALL_BYTES of it are lost. */
uint64_t backend_cuda_block_bytes(uint64_t bytes)
{
    const uint64_t filled = CHUNK_BYTES - SMALL_BYTES;
    bytes = round_up(bytes > 0 ? bytes : 1, ALIGN_BYTES);
    return bytes > SMALL_BYTES ? round_up(bytes, GRAIN_BYTES) : (bytes * CHUNK_BYTES + filled - 1) / filled;
}

static double mib(uint64_t bytes)
{
    return (double)bytes / 1048576.0;
}

static const char *advice(enum cuda_purpose purpose)
{
    switch (purpose) {
    case CUDA_FOR_WEIGHTS: return "fewer layers on the GPU (-ngl N) need less";
    case CUDA_FOR_KV:
        return "a smaller cache (--kv-memory), a shorter context (-c N) or fewer layers on the GPU (-ngl N) need less";
    default: return "smaller batches (-b N, -ub N) or fewer layers on the GPU (-ngl N) need less";
    }
}

static void *refuse(const struct backend_cuda *self, uint64_t bytes, enum cuda_purpose purpose, const char *what,
                    struct error *err)
{
    char device[2 * GPU_NAME];
    uint64_t limit = self->memory.limit, left = limit - self->memory.taken, free_bytes = cuda_free_bytes(&self->device);
    gpu_text(&self->device, device, sizeof device);
    if (limit && left < bytes) {
        error_set(err, "%s: no room for %s: %.1f MiB needed, %.1f MiB left of the %.1f MiB that it may take; %s", device, what,
                  mib(bytes), mib(left), mib(limit), advice(purpose));
    } else if (self->device.integrated && free_bytes > 2 * bytes) {
        error_set(
            err,
            "%s: the system refuses %.1f MiB for %s though %.1f MiB are free: memory in pieces, as L4T 36.4.7 and later do; "
            "restart the board, or try: sudo sh -c 'echo 3 >/proc/sys/vm/drop_caches; echo 1 >/proc/sys/vm/compact_memory'",
            device, mib(bytes), what, mib(free_bytes));
    } else {
        error_set(err, "%s: out of memory for %s: %.1f MiB needed, %.1f MiB free of %.1f, %.1f taken by this rank; %s", device,
                  what, mib(bytes), mib(free_bytes), mib(self->device.total_bytes), mib(self->memory.taken), advice(purpose));
    }
    return NULL;
}

/* On a GPU that shares the machine's memory the system would rather end a process than refuse. */
static int may_allocate(const struct backend_cuda *self, uint64_t bytes)
{
    const struct cuda_memory *memory = &self->memory;
    if (memory->limit && (memory->taken > memory->limit || bytes > memory->limit - memory->taken)) {
        return 0;
    }
    return !self->device.integrated || bytes + CHUNK_BYTES < cuda_free_bytes(&self->device);
}

static struct cuda_chunk *new_chunk(struct backend_cuda *self, uint64_t bytes)
{
    void *data = NULL;
    struct cuda_chunk *chunk = (struct cuda_chunk *)malloc(sizeof *chunk);
    if (!chunk || !may_allocate(self, bytes) || cudaMalloc(&data, bytes) != cudaSuccess) {
        cudaGetLastError(); /* it is told otherwise */
        free(chunk);
        return NULL;
    }
    *chunk = {self->memory.chunks, (char *)data, bytes, 0};
    self->memory.chunks = chunk;
    self->memory.taken += bytes;
    return chunk;
}

void *cuda_take(struct backend_cuda *self, uint64_t bytes, enum cuda_purpose purpose, const char *what, struct error *err)
{
    if (bytes > SIZE_MAX / 4) {
        error_set(err, "%s: %.1f MiB are more than memory can hold", what, mib(bytes));
        return NULL;
    }
    cudaSetDevice(self->device.index);
    bytes = round_up(bytes > 0 ? bytes : 1, ALIGN_BYTES);
    struct cuda_chunk *chunk = NULL;
    if (bytes <= SMALL_BYTES) {
        chunk = self->memory.chunks;
        while (chunk && chunk->bytes - chunk->used < bytes) {
            chunk = chunk->next;
        }
        chunk = chunk ? chunk : new_chunk(self, CHUNK_BYTES);
    }
    if (!chunk) {
        chunk = new_chunk(self, round_up(bytes, GRAIN_BYTES));
    }
    if (!chunk) {
        return refuse(self, bytes, purpose, what, err);
    }
    chunk->used += bytes;
    return chunk->data + chunk->used - bytes;
}

void *cuda_take_zeroed(struct backend_cuda *self, uint64_t bytes, enum cuda_purpose purpose, const char *what, struct error *err)
{
    void *data = cuda_take(self, bytes, purpose, what, err);
    if (data) {
        cuda_check(cudaMemsetAsync(data, 0, bytes, self->stream), "clearing memory");
    }
    return data;
}

void *cuda_take_host(struct backend_cuda *self, size_t bytes, int pinned, struct error *err)
{
    struct cuda_host_memory *memory = (struct cuda_host_memory *)malloc(sizeof *memory);
    void *data = NULL;
    cudaError_t status = cudaSuccess;
    if (pinned) {
        status = cudaHostAlloc(&data, bytes, cudaHostAllocMapped | cudaHostAllocPortable);
    } else {
        data = calloc(1, bytes);
    }
    if (!memory || status != cudaSuccess || !data) {
        error_set(err, "no %s host memory for the GPU: %.1f MiB needed", pinned ? "pinned" : "", mib(bytes));
        free(memory);
        return NULL;
    }
    memset(data, 0, bytes);
    *memory = {self->host_memory, data, pinned};
    self->host_memory = memory;
    return data;
}

void cuda_memory_free(struct backend_cuda *self)
{
    for (struct cuda_chunk *c = self->memory.chunks, *next; c; c = next) {
        next = c->next;
        cudaFree(c->data);
        free(c);
    }
    for (struct cuda_host_memory *m = self->host_memory, *next; m; m = next) {
        next = m->next;
        if (m->pinned) {
            cudaFreeHost(m->data);
        } else {
            free(m->data);
        }
        free(m);
    }
}
