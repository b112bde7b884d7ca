/* What a board can do, from a small text file: the sim backend takes as long as such a board would, and plans are made with it.
 * SPDX-License-Identifier: MIT
 *
 * An operation that reads `bytes` and does `ops` (a multiply-add counts as two) takes launch_s + max(bytes / bytes_per_s, ops /
 * ops_per_s): weights stream while the units compute. A step adds step_s. */
#ifndef KERNELS_BOARD_H
#define KERNELS_BOARD_H

#include <stdint.h>

#include "src/core/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { BOARD_NAME_MAX = 64 };

struct board {
    char name[BOARD_NAME_MAX];
    double bytes_per_s;    /* sustained memory reads */
    double ops_per_s;      /* int8 matrix products, sustained */
    double step_s;         /* once per step: launch of a recorded graph, synchronisation */
    double launch_s;       /* once per operation inside a step */
    uint64_t memory_bytes; /* what a rank may take: the board's memory less what the system keeps */
};

/* A cable and switch: a message of n bytes is there latency_s + n / bytes_per_s after it left. */
struct board_link {
    char name[BOARD_NAME_MAX];
    double latency_s, bytes_per_s;
};

/* name: a profile that comes with the program ("orin-nx-16", kernels/sim/boards/), or the path of a file in the same format (with a
 * / or ending in .board or .link). The message of an unknown one lists the known ones; of a bad file it begins with "file:line". */
int board_find(const char *name, struct board *out, struct error *err);
int board_link_find(const char *name, struct board_link *out, struct error *err);

/* Names of the profiles that come with the program, comma-separated. */
const char *board_names(void);
const char *board_link_names(void);

double board_operation_s(const struct board *b, double bytes, double ops);

#ifdef __cplusplus
}
#endif
#endif
