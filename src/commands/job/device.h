/* --device: what each rank computes with. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_JOB_DEVICE_H
#define SRC_COMMANDS_JOB_DEVICE_H

#include <stddef.h>

#include "kernels/board.h"

enum device_kind { DEVICE_CPU, DEVICE_SIM };

struct device {
    enum device_kind kind;
    struct board board; /* of DEVICE_SIM */
};

/* list: "auto", "cpu", "sim:BOARD", or one of these for each rank with commas between; NULL = auto. Fills out[n_ranks]. -1 with
 * *err: an unknown device or board, another number of entries than 1 or n_ranks, simulated ranks beside computing ones. */
int device_parse(const char *list, int32_t n_ranks, struct device *out, struct error *err);

enum { DEVICE_TEXT_MAX = BOARD_NAME_MAX + 8 };
/* "cpu", "sim:orin-nx-16". */
void device_text(const struct device *d, char *text, size_t size);

#endif
