/* What a rank computes with: the CPU, a GPU, or both; and its layers and head on them. SPDX-License-Identifier: MIT
 *
 * -ngl counts from the end of the model, the head first: the last layers are on GPUs, those before them on the CPU. A rank whose
 * layers lie on both sides has two segments. */
#ifndef SRC_COMMANDS_JOB_PARTS_H
#define SRC_COMMANDS_JOB_PARTS_H

#include "src/commands/job/device.h"
#include "src/model/head.h"
#include "src/model/segment.h"

enum { PARTS_NGL_AUTO = -1, PARTS_NGL_ALL = INT32_MAX };

/* What of a rank's part is on its GPU. */
struct placement {
    int32_t gpu_first; /* the first layer that is: one of the rank's, or their end */
    int32_t head;      /* 1: its vocabulary rows are */
};

struct parts {
    struct backend *main;       /* owned: the CPU, the simulated board, or the GPU when everything is on it */
    struct backend *gpu;        /* owned: the GPU when it has a part only */
    struct segment segments[2]; /* layers in order */
    int32_t n_segments;
    struct head head; /* zeroed when the rank owns no vocabulary rows */
};

struct job;

/* -ngl: a number, "all" or "auto"; NULL = auto. -1 with *err for anything else. */
int parts_read_ngl(const char *text, int32_t *out, struct error *err);

/* 1: this rank's speed is that of its GPU, since all or most of its layers will be there. */
int parts_measures_gpu(const struct job *job);
/* A backend for measuring, with capacity for max_rows rows and sequences of max_pages pages. */
int parts_backend(const struct job *job, int gpu, int32_t max_rows, int32_t max_pages, struct backend **out, struct error *err);
/* Bytes of GPU memory that this rank has besides its machine's; 0 where the GPU shares that, or none is used. */
uint64_t parts_own_gpu_bytes(const struct job *job);

/* Decides what is on the GPUs, after the layers have been divided: by -ngl, or what fits; fills job->placements. What does not
 * fit is told in one line. Collective. */
void parts_place(struct job *job);
/* Layers of a rank that are on its GPU. */
int32_t parts_gpu_layers(const struct job *job, int32_t rank);
/* Bytes of its machine's memory that a rank's part takes; after parts_place. */
uint64_t parts_machine_bytes(const struct job *job, int32_t rank);
/* 1: the rank's part is where its speed was measured, all of it. */
int parts_is_as_measured(const struct job *job, int32_t rank);
enum { PARTS_DEVICE_MAX = DEVICE_TEXT_MAX + 8 };
/* "cpu", "cuda:0", "cpu+cuda:0", "sim:orin-nx-16": what a rank's part is computed with. */
void parts_device_text(const struct job *job, int32_t rank, char *text, size_t size);

/* The backends, before the weights are loaded. */
int parts_open(struct job *job, struct error *err);
/* Where slice_load puts things. */
struct slice_places parts_places(const struct job *job);
/* KV cache, buffers and head, with the weights. */
int parts_make(struct job *job, struct error *err);
/* Of this rank's GPU; zeroed without one. */
struct cuda_counts parts_gpu_counts(const struct job *job);
/* Zeroed too. */
void parts_close(struct parts *parts);

#endif
