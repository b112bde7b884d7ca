/* What every command that computes sets up: the ranks, the model file, each rank's slice on its backend, and the ring.
 * SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_JOB_JOB_H
#define SRC_COMMANDS_JOB_JOB_H

#include "src/cluster/cluster.h"
#include "src/cluster/ring.h"
#include "src/cluster/topology.h"
#include "src/commands/job/device.h"
#include "src/commands/job/job_trace.h"
#include "src/commands/job/parts.h"
#include "src/commands/job/speed_watch.h"
#include "src/commands/options.h"
#include "src/plan/plan.h"
#include "src/engine/generator.h"
#include "src/engine/stage.h"

struct job_options {
    const char *model;
    int32_t n_ctx;      /* positions a sequence may have; 0 = min(model's, 4096) */
    int32_t max_rows;   /* rows of a batch; 0 = max(512, chunk) */
    int32_t chunk;      /* prompt rows of one sequence in a batch; 0 = chosen by the number of ranks */
    int32_t depth;      /* batches in flight; 0 = twice the ranks */
    int32_t n_threads;  /* 0 = the rank's share of the node's cores */
    int k_type, v_type; /* enum kv_type */
    const char *isa;
    int no_repack;             /* 1: weights stay in the mapped file */
    const char *device;        /* --device as given; NULL = auto */
    int32_t gpu;               /* --gpu: CUDA's number; -1 = the ranks of a machine take turns */
    int32_t gpu_layers;        /* -ngl: PARTS_NGL_AUTO, or the last layers of the model, the head first */
    int no_gpu_graphs;         /* 1: every step is launched kernel by kernel */
    int gpu_math_fast;         /* 1: GPUs multiply many rows with cuBLAS, whose results are near the exact ones */
    const char *sim_link;      /* profile of the simulated network; NULL = none */
    struct option_ints split;  /* layers of each rank; not given = by speed and memory */
    uint64_t memory_limit;     /* bytes a rank may take; 0 = what the node has */
    uint64_t kv_memory;        /* bytes of KV cache a rank may have; 0 = n_ctx positions for each of n_slots */
    const char *trace;         /* file for a timeline of all ranks; NULL = none */
    int32_t n_slots;           /* sequences at a time; set by the command */
    int objective, split_head; /* enum partition_objective, enum plan_split_head */
    struct option_ints mix;    /* tokens of a typical prompt and answer; not given = 512,128 */
    int calibrate;             /* 1: measure the ranks' speeds anew */
    int no_sharing;            /* 1: equal beginnings of prompts are computed each time; set by the command */
};
void job_options_default(struct job_options *o);
/* Context when none is asked for: min(model's, 4096). */
int32_t job_default_ctx(const struct model_config *config);
/* Prompt rows that travel together when -ub does not say: several ranks want several chunks of a prompt under way. */
int32_t job_default_chunk(int32_t n_ranks);
/* Batches in flight when --depth does not say: one at each stage and one on each wire, which are stages too for long prompts. */
int32_t job_default_depth(int32_t n_ranks);

/* One rank's answer to "who are you and what did you do", for the start line, the summary and --json. */
struct job_report {
    char host[CLUSTER_HOST_MAX];
    char device[PARTS_DEVICE_MAX];
    int32_t rank, n_threads;
    int32_t layer_first, layer_end;
    int32_t owns_head;
    int32_t gpu_layers; /* of its layers on the GPU */
    struct cuda_counts gpu;
    uint64_t weight_bytes, kv_bytes, bytes_sent, peak_rss_bytes;
    double load_s, busy_s, wait_s;
};

struct job {
    struct cluster *cluster; /* borrowed */
    struct job_options options;
    struct gguf file;
    struct model_config config;
    struct slice_sizes sizes;
    struct speed *speeds;         /* [size] owned; NULL = not measured */
    struct ring_link *links;      /* [size] owned; NULL = not measured */
    uint64_t *memory;             /* [size] owned: bytes that each rank may take */
    struct device *devices;       /* [size] owned: what each rank computes with */
    struct board_link link;       /* simulated network; bytes_per_s 0 = none */
    struct plan_rank *plan;       /* [size] owned: what each rank owns */
    struct placement *placements; /* [size] owned: what of it is on a GPU */
    int32_t n_pages;              /* of the KV pool, on every rank */
    int chunk_is_given;           /* by -ub */
    struct stage_owner *owners;   /* [size] owned: their vocabulary rows */
    struct topology *topology;
    struct thread_pool *pool;
    struct slice slice;
    struct parts parts; /* what computes */
    struct stage stage;
    struct job_trace trace;
    struct speed_watch watch; /* rank 0's, from the first batch on */
    struct job_report report; /* this rank's */
};

/* Opens the model file on every rank and makes sure that all have the same one. options: copied; its strings are borrowed.
 * Collective. */
int job_open(struct job *job, struct cluster *cluster, const struct job_options *options, struct error *err);

/* Threads, bound to the rank's cores; none when simulated. Collective. */
int job_start_threads(struct job *job, struct error *err);

/* Measures the ranks where their speeds matter, divides the layers, loads the slice, makes KV cache and buffers, connects the
 * ring and starts the compute thread. generator: gets rank 0's logits. Collective. */
int job_start(struct job *job, struct generator *generator, struct error *err);

/* 1: ranks take the time of described boards and compute nothing. After job_open. */
int job_is_simulated(const struct job *job);

/* Rank 0, after job_start: scheduler and generator as the job's options say; the caller sets the generator's callbacks. Both must
 * be freed whatever the result (zeroed is valid). */
int job_make_generator(struct job *job, struct scheduler *scheduler, struct generator *generator, struct error *err);

/* Rank 0: mean time of a batch between two stages in seconds; 0 with one rank. */
double job_hop_s(const struct job *job);

/* After stage_stop / stage_work: everybody's report in rank order; all: [size]. Collective. */
void job_gather_reports(struct job *job, struct job_report *all);

/* Zeroed and half-started jobs too. */
void job_close(struct job *job);

#endif
