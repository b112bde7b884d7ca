/* The CUDA backend's own state, shared by its parts: memory.cu, import.cu, step.cu, backend_cuda.cu. SPDX-License-Identifier: MIT
 */
#ifndef KERNELS_CUDA_BACKEND_PRIVATE_H
#define KERNELS_CUDA_BACKEND_PRIVATE_H

#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/device.h"

/* What memory is taken for: which option makes it less. */
enum cuda_purpose { CUDA_FOR_WEIGHTS, CUDA_FOR_KV, CUDA_FOR_ROWS };

enum { CUDA_CHUNK_BYTES = 64 << 20 };
/* Device memory comes in chunks; what is taken from them is given back with the backend. */
struct cuda_chunk {
    struct cuda_chunk *next;
    char *data;
    size_t bytes, used;
};
struct cuda_memory {
    struct cuda_chunk *chunks;
    uint64_t taken, limit; /* bytes of all chunks; 0: no limit */
};

/* Host memory that lives as long as the backend. */
struct cuda_host_memory {
    struct cuda_host_memory *next;
    void *data;
    int pinned;
};

enum { CUDA_LOAD_BYTES = 8 << 20 /* of a matrix on its way, twice */ };
/* The way of weights into device memory; there while a model loads. */
struct cuda_loader {
    char *pinned[2]; /* [CUDA_LOAD_BYTES] host */
    char *raw[2];    /* [CUDA_LOAD_BYTES] device: rows that are to be packed */
    cudaEvent_t free[2];
    int next;
};

enum { CUDA_STAGING_BYTES = 8 << 20 /* of floats between host and device, each way; more goes in pieces */ };

/* What a step tells the kernels, as 32-bit words: host fills it, the step's first kernel copies it to the device. */
struct cuda_step_words {
    int32_t *n_rows;    /* [1] the real rows */
    int32_t *positions; /* [max_rows] */
    int32_t *slots;     /* [max_rows] sequences of the step, numbered from 0 in the order in which they come; -1: no row */
    int32_t *n_pages;   /* [max_rows] entries of the slot's row of the page table */
    int32_t *pages;     /* [max_rows, max_pages] */
};

/* Steps of one kind, recorded once they come the second time. */
struct cuda_recording {
    const void *what;
    int32_t n_rows, max_context;
    uint64_t last_used;    /* number of the replay; 0: never */
    int is_known;          /* 1: such a step has been before */
    cudaGraphExec_t graph; /* NULL: not yet recorded */
    const void *downloads; /* what it leaves in the out-going staging memory; NULL: nothing */
};
enum { CUDA_MOST_RECORDINGS = 24 };
enum cuda_mode { CUDA_RUNS, CUDA_RECORDS, CUDA_REPLAYS };

enum { CUDA_ROPE_TABLES = 8, CUDA_ROPE_MOST = 1024 /* frequencies of a table */ };
struct cuda_rope_table {
    int32_t n;
    double freqs[CUDA_ROPE_MOST]; /* what is on the device */
    double *device;
};

struct cuda_fast;

struct backend_cuda {
    struct backend base;
    struct gpu_device device;
    int32_t max_rows, max_pages;
    int record;
    cudaStream_t stream;
    cudaEvent_t done;
    struct cuda_memory memory;
    struct cuda_host_memory *host_memory;
    struct cuda_loader *loader;

    struct backend_rows step;               /* borrowed from the caller */
    int32_t *slots;                         /* [max_rows] the caller's numbers of the step's slots */
    struct cuda_rows rows;                  /* of the launches */
    struct cuda_step_words host, on_device; /* pinned; device */
    const int32_t *mapped;                  /* host's words as the device sees them */
    int32_t max_context;                    /* positions that a row of the step may see, at most */
    int is_waiting;                         /* 1: the words have not yet been handed to the device */
    int is_busy;                            /* 1: something was launched that nobody has waited for */

    float *in, *in_mapped;   /* [CUDA_STAGING_BYTES] pinned: host writes, device reads */
    float *out, *out_mapped; /* the other way */
    enum cuda_mode mode;
    struct cuda_recording recordings[CUDA_MOST_RECORDINGS], *recording;
    uint64_t n_asked, n_replays; /* steps that asked for a recording, that were replayed */

    struct cuda_rope_table *rope; /* [CUDA_ROPE_TABLES] */
    int32_t n_rope;
    void *attention_scratch;
    size_t attention_scratch_bytes;
    struct cuda_fast *fast; /* NULL: every product has the contract's bits */
    int32_t n_embedded;     /* rows since pages of the embedding were let go */
};

static inline struct backend_cuda *cuda_self(struct backend *base)
{
    return (struct backend_cuda *)base;
}

/* -- memory.cu: all return NULL with *err set when there is none -- */

/* Device memory at a multiple of 256 bytes. what: "keys of the KV cache". */
void *cuda_take(struct backend_cuda *self, uint64_t bytes, enum cuda_purpose purpose, const char *what, struct error *err);
/* The same, zeroed. */
void *cuda_take_zeroed(struct backend_cuda *self, uint64_t bytes, enum cuda_purpose purpose, const char *what, struct error *err);
/* Zeroed host memory; pinned: mapped into the device's addresses too. */
void *cuda_take_host(struct backend_cuda *self, size_t bytes, int pinned, struct error *err);
/* Gives everything back. */
void cuda_memory_free(struct backend_cuda *self);

/* -- import.cu -- */
int cuda_import(struct backend *base, struct tensor *t, enum backend_use use, struct error *err);
void cuda_loader_free(struct backend_cuda *self);

/* -- step.cu -- */
int cuda_step_create(struct backend_cuda *self, struct error *err);
/* What its blocks take of the device's memory. */
uint64_t cuda_step_bytes(int32_t max_rows, int32_t max_pages);
void cuda_step_begin(struct backend *base, const struct backend_rows *rows);
/* Before every launch: 0 when there is nothing to launch, the step having no rows. */
int cuda_launches(struct backend_cuda *self);
void cuda_sync(struct backend *base);
void cuda_upload(struct backend *base, float *dst, const float *src, size_t n);
void cuda_download(struct backend *base, float *dst, const float *src, size_t n);
void cuda_embed(struct backend *base, const struct tensor *table, float scale, float *out);

/* -- step_act.cu -- */
void cuda_act_upload(struct backend *base, struct backend_act *dst, const void *src, int32_t n_rows);
void cuda_act_download(struct backend *base, void *dst, const struct backend_act *src, int32_t n_rows);

/* -- replay.cu -- */
int cuda_replay(struct backend *base, const void *what);
/* Ends what is being recorded, and runs what was recorded: after it the mode is CUDA_RUNS. */
void cuda_replay_finish(struct backend_cuda *self);
void cuda_replay_free(struct backend_cuda *self);

#endif
