/* What a device must be able to do for the layer recipe: the operations, and the views of rows and pages they need.
 * SPDX-License-Identifier: MIT
 *
 * A backend owns memory (weights it imported, float buffers, activations, KV pages) and runs operations in the order in which
 * they are called, on the rows that the last step_begin named. Nothing is visible to the host before sync or download. The
 * numeric contract that every implementation keeps is in kernels/README.md. */
#ifndef KERNELS_BACKEND_H
#define KERNELS_BACKEND_H

#include "src/core/error.h"
#include "src/core/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { BACKEND_REPLAY_ROWS = 32 /* rows of a step that may be replayed */ };
enum { KV_PAGE = 64 /* positions a page */, KV_GROUP = 8 /* pages an attention group, combined in order */ };

/* The rows of one step, in batch order. All arrays are borrowed until the next step_begin. A step that only norms and multiplies
 * (the head) needs n_rows alone; the other pointers may then be NULL. */
struct backend_rows {
    int32_t n_rows;
    const int32_t *tokens;    /* [n_rows] */
    const int32_t *positions; /* [n_rows] 0-based place in the sequence */
    const int32_t *slots;     /* [n_rows] which sequence: row of the page table */
    const int32_t *pages;     /* [n_slots, max_pages] KV page of positions [64*i, 64*i+64) of a slot; -1 = none */
    int32_t max_pages;        /* pages a slot */
};

/* Input of a matmul: [max_rows, cols] in the forms that its consumers want, private to the backend. */
struct backend_act;
/* Its int8 form as it travels between backends and machines: of each row the cols quants, then cols / 32 f32 scales. */
static inline size_t backend_act_row_bytes(int32_t cols)
{
    return (size_t)cols + (size_t)cols / 32 * sizeof(float);
}
enum {
    BACKEND_ACT_FLOAT = 1 /* f32, for F32 F16 BF16 weights */,
    BACKEND_ACT_INT8 = 2 /* int8 blocks of 32, for quantised weights */
};

/* What a tensor is for. */
enum backend_use {
    BACKEND_ROWS /* single rows, as tokens ask for them: the embedding */,
    BACKEND_VECTOR /* a norm's weight, a bias */,
    BACKEND_MATRIX /* the weight of a matmul */
};

enum norm_kind { NORM_RMS };
struct norm_spec {
    enum norm_kind kind;
    struct tensor weight; /* [1, cols] F32 */
    float eps;
};

/* out[row, c] = dot(in[row, :], weight[c, :]) * scale + bias[c]; with `add` set: out[row, c] += that value. */
struct matmul_spec {
    struct tensor weight; /* [cols_out, cols_in] */
    struct tensor bias;   /* [1, cols_out] F32, or absent (zeroed) */
    float scale;          /* 1 when the file has none */
    int add;              /* 1: add to out (the residual stream) */
    float *out;           /* [n_rows, cols_out] backend memory, not aliasing the input */
};

enum rope_kind { ROPE_NONE, ROPE_NORM /* pairs (2i, 2i+1) */, ROPE_NEOX /* pairs (i, i + n_rot/2) */ };
struct rope_spec {
    enum rope_kind kind;
    int32_t n_rot;       /* rotated dimensions of each head, even, <= k_dim */
    const double *freqs; /* [n_rot / 2] host memory: angle = position * freqs[i], radians */
    float attn_factor;   /* multiplies cos and sin; 1 without YaRN */
};

enum kv_type { KV_F32, KV_F16, KV_Q8_0, KV_N_TYPES };
struct kv_layer_shape {
    int32_t n_kv_heads, k_dim, v_dim; /* v_dim, k_dim: width of one head */
    int32_t n_heads;                  /* of the queries that read them: what attention needs besides depends on it */
};
/* Pages of one segment's layers; each page has room for KV_PAGE positions in every layer of the segment. */
struct backend_kv;

/* Rotates q and k of every row, rounds k and v to the cache's types and writes them to the row's page. */
struct rope_store_spec {
    struct rope_spec rope;
    struct backend_kv *kv;
    int32_t layer;   /* index in the kv, 0 = the segment's first layer */
    int32_t n_heads; /* of q */
    float *q;        /* [n_rows, n_heads * k_dim] rotated in place */
    const float *k;  /* [n_rows, n_kv_heads * k_dim] */
    const float *v;  /* [n_rows, n_kv_heads * v_dim] */
};

/* out[row, h, :] = softmax(scale * q[row, h] . K)[0..position] V, head h reading kv head h / (n_heads / n_kv_heads). */
struct attention_spec {
    const struct backend_kv *kv;
    int32_t layer;
    int32_t n_heads;
    float scale;
    const float *q; /* [n_rows, n_heads * k_dim] */
};

enum gate_kind { GATE_SILU };

struct backend;

struct backend_ops {
    const char *name; /* "cpu" */
    int computes;     /* 0: only takes its time: weights are never read (tensors may have no data), results mean nothing */

    void (*destroy)(struct backend *self);

    /* -- memory, before the first step; each returns 0 or -1 with *err set -- */

    /* Makes the tensor usable by this backend: may leave it where it is (the caller keeps the file mapped for as long as the
     * backend lives) or copy it into memory of the backend and change data and layout; then, with may_drop, the pages that it was
     * copied from are let go as it goes. */
    int (*import)(struct backend *self, struct tensor *t, enum backend_use use, struct error *err);
    /* n floats, zeroed, owned by the backend until destroy. */
    int (*alloc)(struct backend *self, size_t n, float **out, struct error *err);
    int (*act_create)(struct backend *self, int32_t cols, int forms, struct backend_act **out, struct error *err);
    /* n_pages pages for n_layers layers. */
    int (*kv_create)(struct backend *self, const struct kv_layer_shape *layers, int32_t n_layers, int32_t n_pages,
                     enum kv_type k_type, enum kv_type v_type, struct backend_kv **out, struct error *err);

    /* -- a step -- */

    void (*step_begin)(struct backend *self, const struct backend_rows *rows);
    /* Right after step_begin, or NULL where nothing is gained: the operations from here to the first download are the same, on
     * the same memory, in every step of which this `what` (only compared) is said; what comes from the host comes by one upload
     * or embed, floats that come and go are so many a row, and all memory has room for max_rows rows, or BACKEND_REPLAY_ROWS if
     * that is less. Returns 1: call that upload or embed and the download alone, the backend does what stands between; 0: call
     * them all (always, when the step has more than BACKEND_REPLAY_ROWS rows). */
    int (*replay)(struct backend *self, const void *what);
    void (*upload)(struct backend *self, float *dst, const float *src, size_t n);   /* dst: backend memory */
    void (*download)(struct backend *self, float *dst, const float *src, size_t n); /* src: backend memory; waits */
    /* The int8 form of the first n_rows, [n_rows, backend_act_row_bytes(cols)]. download waits. */
    void (*act_upload)(struct backend *self, struct backend_act *dst, const void *src, int32_t n_rows);
    void (*act_download)(struct backend *self, void *dst, const struct backend_act *src, int32_t n_rows);
    void (*sync)(struct backend *self);

    /* out[row, :] = table[token(row), :] * scale, any known dtype; out: [n_rows, table.cols] */
    void (*embed)(struct backend *self, const struct tensor *table, float scale, float *out);
    /* in: [n_rows, cols of the spec's weight] */
    void (*norm)(struct backend *self, const struct norm_spec *spec, const float *in, struct backend_act *out);
    /* The same input times n_mats matrices (q, k, v together; gate and up together). */
    void (*matmul)(struct backend *self, const struct backend_act *in, const struct matmul_spec *mats, int32_t n_mats);
    void (*rope_store)(struct backend *self, const struct rope_store_spec *spec);
    void (*attention)(struct backend *self, const struct attention_spec *spec, struct backend_act *out);
    /* out = act(gate) * up, both [n_rows, cols] */
    void (*gated)(struct backend *self, enum gate_kind kind, const float *gate, const float *up, int32_t cols,
                  struct backend_act *out);
};

/* First member of every backend's own struct. */
struct backend {
    const struct backend_ops *ops;
};

/* Bytes that kv_create will take, for plans and limits. Rank-independent: the same on every backend. */
size_t backend_kv_bytes(const struct kv_layer_shape *layers, int32_t n_layers, int32_t n_pages, enum kv_type k_type,
                        enum kv_type v_type);
size_t backend_kv_row_bytes(int32_t dim, enum kv_type type); /* one head of one position */

struct thread_pool;
/* The CPU backend. isa: "auto", "scalar", "avx2", "avx512" (with or without VNNI as found), "neon"; asks for what the machine
 * lacks: error. pool: borrowed, used by the thread that calls the operations. max_rows: capacity of every step. repack: 1 =
 * quantised matrices are copied into panels as they are imported (faster), 0 = they stay where they are; the same results. */
int backend_cpu_create(struct backend **out, const char *isa, struct thread_pool *pool, int32_t max_rows, int repack,
                       struct error *err);

struct board;
/* The sim backend: takes as long as the board would (copied) and computes nothing. */
int backend_sim_create(struct backend **out, const struct board *board, int32_t max_rows, struct error *err);

#ifdef __cplusplus
}
#endif
#endif
