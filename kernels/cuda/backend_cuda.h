/* The CUDA backend's own view of rows, weights, activations and pages, and the launches that its operations are made of.
 * SPDX-License-Identifier: MIT
 *
 * Every kernel keeps the numeric contract of kernels/README.md to the bit: a layer gives the same result on the CPU and on a
 * GPU, for every number of rows. Launches are asynchronous on the backend's stream, allocate nothing and read nothing from the
 * host, so that a step of them can be recorded as a graph; what changes from step to step stands in device memory (struct
 * cuda_rows). They return nothing: a launch that fails is found by the next cuda_check (a step cannot go on without its device).
 *
 * The number of rows of a launch is self->rows.n: that of the step, rounded up to a bucket where it is recorded, so a recorded
 * step fits several. Rows behind the last real one have slot -1: they are computed where that is simplest, they touch no page. */
#ifndef KERNELS_CUDA_BACKEND_CUDA_H
#define KERNELS_CUDA_BACKEND_CUDA_H

#include "kernels/backend.h"
#include "kernels/cuda/cuda_common.h"

enum {
    CUDA_PANEL = 16,    /* weight rows a panel, as in kernels/README.md, "Packed weights" */
    CUDA_Q8_BLOCK = 32, /* columns that share a scale of the activations */
    CUDA_RECORDED_ROWS = BACKEND_REPLAY_ROWS
};

/* The step's rows in device memory; rows behind the real ones have slot -1,
 * position 0. */
struct cuda_rows {
    int32_t n;                /* rows of every launch: the bucket */
    const int32_t *positions; /* [n] device */
    const int32_t *slots;     /* [n] device */
    const int32_t *pages;     /* [n_slots, max_pages] device */
    int32_t max_pages;
};

/* An imported tensor's data. Quantised matrices: panels of CUDA_PANEL rows in the layout of kernels/README.md ("Packed
 * weights"); the last panel is filled up with rows of zero bytes, so rows_padded rows can be read. Float matrices: rows as in the
 * file. */
struct cuda_weight {
    enum dtype dtype;
    const void *data; /* device, 16-byte aligned */
    int32_t rows, cols, rows_padded;
};

/* Input of matmuls. All arrays: device, 16-byte aligned, max_rows rows, row-major. */
struct backend_act {
    int32_t cols, forms;
    float *x;   /* [max_rows, cols] or NULL */
    int8_t *q;  /* [max_rows, cols] or NULL */
    float *d;   /* [max_rows, cols / 32] scale of each block */
    float *sum; /* [max_rows, cols / 32] sum of the block's q */
};

/* Pages of a segment's layers: for each layer and each kv head of a page what struct attend_job (kernels/cpu/cpu_kernels.h) calls
 * k and v: k [k_dim][64], v [64][v_dim], scales of q8_0 behind. */
struct cuda_kv_layer {
    struct kv_layer_shape shape;
    char *k, *v;             /* device: [n_pages][n_kv_heads][k_bytes], [n_pages][n_kv_heads][v_bytes] */
    size_t k_bytes, v_bytes; /* of one head of a page */
};
struct backend_kv {
    struct cuda_kv_layer *layers; /* [n_layers] host, owned */
    int32_t n_layers, n_pages;
    enum kv_type k_type, v_type;
};

struct backend_cuda;

/* -- matmul_*.cu -- */

/* File rows of a quantised type into panels. raw: device, n_rows rows row_bytes apart, n_rows <= CUDA_PANEL * n_panels; rows
 * behind n_rows count as zero bytes; out: device, n_panels * CUDA_PANEL * row_bytes. */
void cuda_pack(cudaStream_t stream, enum dtype type, const void *raw, int32_t n_rows, int32_t cols, int32_t n_panels, void *out);

struct cuda_matmul {
    struct cuda_weight weight;
    const float *bias; /* device or NULL */
    float scale;
    int add;
    float *out; /* device, [n_rows, weight.rows] */
};
enum { CUDA_MATMUL_MOST = 3 }; /* matrices of one call: q, k and v */
/* As backend_ops.matmul; all matrices have in->cols columns. They may be of different types. */
void cuda_matmul_launch(cudaStream_t stream, const struct backend_act *in, int32_t n_rows, const struct cuda_matmul *mats,
                        int32_t n_mats);

/* -- rows.cu -- */

/* y = norm(in) in the forms of out. */
void cuda_norm_launch(cudaStream_t stream, const float *in, const float *weight, float eps, int32_t n_rows,
                      const struct backend_act *out);
void cuda_gate_launch(cudaStream_t stream, const float *gate, const float *up, int32_t n_rows, const struct backend_act *out);

/* -- attention_*.cu -- */

/* freqs: device f64, [n_rot / 2]. */
void cuda_rope_store_launch(cudaStream_t stream, const struct cuda_rows *rows, const struct rope_store_spec *spec,
                            const double *freqs);
/* What attention keeps between its two launches: bytes for n_rows rows of such heads. */
size_t cuda_attention_scratch_bytes(const struct cuda_kv_layer *layer, int32_t n_heads, int32_t n_rows, int32_t max_pages);
/* max_context: positions that any row may see, for the number of groups that blocks walk over; scratch: device. */
void cuda_attention_launch(cudaStream_t stream, const struct cuda_rows *rows, const struct attention_spec *spec,
                           int32_t max_context, void *scratch, const struct backend_act *out);

#endif
