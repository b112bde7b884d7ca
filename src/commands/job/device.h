/* --device: what each rank computes with. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_JOB_DEVICE_H
#define SRC_COMMANDS_JOB_DEVICE_H

#include <stddef.h>

#include "kernels/board.h"
#include "kernels/gpu.h"

enum device_kind { DEVICE_AUTO /* a GPU where there is one, else the CPU */, DEVICE_CPU, DEVICE_CUDA, DEVICE_SIM };

struct device {
    enum device_kind kind;
    struct board board; /* of DEVICE_SIM */
    /* Of DEVICE_CUDA, once device_find has run: */
    int32_t gpu;               /* CUDA's number */
    int32_t gpu_shares_memory; /* 1: its memory is the machine's */
    uint64_t gpu_free_bytes;
    char gpu_name[GPU_NAME + 16]; /* "Orin, sm_87" */
};

/* list: "auto", "cpu", "cuda", "sim:BOARD", or one of these for each rank with commas between; NULL = auto. Fills out[n_ranks].
 * -1 with *err: an unknown device or board, another number of entries than 1 or n_ranks, simulated ranks beside computing ones.
 */
int device_parse(const char *list, int32_t n_ranks, struct device *out, struct error *err);

/* Looks on this machine for what d asks for: afterwards it is no longer DEVICE_AUTO. wanted: the GPU's number, < 0 = the ranks of
 * a machine take turns. machine_free: bytes that are free in the machine, for GPUs that share them; 0 = not known. -1 with *err
 * when a GPU was asked for by name or number and is not to be had. */
int device_find(struct device *d, int32_t local_rank, int32_t wanted, uint64_t machine_free, struct error *err);

enum { DEVICE_TEXT_MAX = BOARD_NAME_MAX + 8 };
/* "cpu", "cuda:0", "sim:orin-nx-16". */
void device_text(const struct device *d, char *text, size_t size);

#endif
