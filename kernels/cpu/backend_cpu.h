/* Private parts of the CPU backend, shared by its drivers. SPDX-License-Identifier: MIT */
#ifndef KERNELS_CPU_BACKEND_CPU_H
#define KERNELS_CPU_BACKEND_CPU_H

#include "kernels/backend.h"
#include "kernels/cpu/cpu_kernels.h"
#include "src/core/thread_pool.h"

enum {
    CPU_ROPE_TABLES = 4,    /* different rope specs a step before tables are computed anew */
    CPU_TASKS_A_THREAD = 8, /* parts that work is cut into, so that a slow thread holds up no one for long */
    CPU_GATE_COLUMNS = 1024 /* columns a task of the gated activation, a multiple of Q8_BLOCK */
};

/* Memory from the backend, freed with it. */
struct cpu_memory {
    struct cpu_memory *next;
    void *data;
    size_t bytes;
};

struct backend_act {
    struct act_rows rows; /* x always has memory (touched only when used); q, d, sum only with the form INT8 */
    float *x;             /* [max_rows, cols] the same arrays, writable */
    int8_t *q;            /* [max_rows, cols] */
    float *d;             /* [max_rows, cols / 32] */
    float *sum;           /* [max_rows, cols / 32] */
    int32_t cols;
    int forms;
};

struct cpu_kv_layer {
    struct kv_layer_shape shape;
    char *k, *v;                       /* [n_pages][n_kv_heads] pages of one head */
    size_t k_page_bytes, v_page_bytes; /* one head's */
};

struct backend_kv {
    struct cpu_kv_layer *layers; /* [n_layers] */
    int32_t n_layers, n_pages;
    enum kv_type k_type, v_type;
};

/* cos and sin of every row of the step, times attn_factor. */
struct cpu_rope_table {
    int valid;
    const double *freqs; /* what it was made for */
    int32_t n_rot;
    float attn_factor;
    float *cos, *sin; /* [max_rows, n_rot / 2] */
};

/* Adjacent rows of one sequence at consecutive positions. */
struct cpu_run {
    int32_t first_row, n_rows;
};

/* Results of attention over single groups of pages, which another thread combines. */
struct cpu_partials {
    float *m, *l;         /* [units, groups of a wave, attend_queries] */
    float *o;             /* the same, v_dim each */
    float *all_m, *all_l; /* [max_queries] of the groups so far */
    int32_t max_queries;  /* m, l and o have room for several times as many */
};

struct backend_cpu {
    struct backend base;
    struct cpu_kernels kernels;
    struct thread_pool *pool; /* borrowed */
    int32_t n_threads, max_rows;
    struct backend_rows rows;
    struct cpu_memory *memory;

    int repack;         /* 1: matrices are packed as they are imported */
    char *weights;      /* where the next packed matrix goes, huge pages where there are */
    size_t weight_left; /* bytes */
    int32_t n_embedded; /* rows since pages of the embedding were let go */

    char *scratch; /* [n_threads, scratch_bytes], each thread its own */
    size_t scratch_bytes;
    size_t matmul_bytes; /* part of it that the table's matmul needs; the output tile follows */
    int32_t tile_floats;

    struct cpu_rope_table rope[CPU_ROPE_TABLES];
    int32_t next_rope, max_rot;

    struct cpu_run *runs; /* [max_rows] of the step */
    int32_t n_runs;
    struct cpu_partials partials;
    int32_t max_v_dim;
};

/* Zeroed memory at a multiple of 64 bytes, or NULL with *err. `what` names it in the message. */
void *cpu_alloc(struct backend_cpu *self, size_t n, size_t element_bytes, const char *what, struct error *err);
/* Makes every thread's scratch at least that large. */
int cpu_reserve_scratch(struct backend_cpu *self, size_t bytes, struct error *err);
void *cpu_scratch(struct backend_cpu *self, int32_t thread);
static inline size_t cpu_round_up(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Copies a matrix into panels (pack.h), a piece at a time, and lets go of the pages it came from where it may. */
int cpu_pack(struct backend_cpu *self, struct tensor *t, struct error *err);

/* Fills the int8 form of columns [first, first + n) of a row; first is a multiple of 32. */
void cpu_act_quantize(struct backend_cpu *self, struct backend_act *act, int32_t row, int32_t first, int32_t n, const float *x);

void cpu_matmul(struct backend *base, const struct backend_act *in, const struct matmul_spec *mats, int32_t n_mats);
int cpu_matmul_reserve(struct backend_cpu *self, int64_t cols, struct error *err);

int cpu_kv_create(struct backend *base, const struct kv_layer_shape *layers, int32_t n_layers, int32_t n_pages,
                  enum kv_type k_type, enum kv_type v_type, struct backend_kv **out, struct error *err);
void cpu_rope_store(struct backend *base, const struct rope_store_spec *spec);
int cpu_rope_reserve(struct backend_cpu *self, int32_t max_rot, struct error *err);
/* Rounds one head of one position to the cache's type and writes it to its page. */
void cpu_kv_store_k(const struct backend_kv *kv, int32_t layer, int32_t page, int32_t head, int32_t position, const float *k);
void cpu_kv_store_v(const struct backend_kv *kv, int32_t layer, int32_t page, int32_t head, int32_t position, const float *v);

void cpu_attention(struct backend *base, const struct attention_spec *spec, struct backend_act *out);
int cpu_attention_reserve(struct backend_cpu *self, int32_t k_dim, int32_t v_dim, struct error *err);
void cpu_attention_find_runs(struct backend_cpu *self);

#endif
