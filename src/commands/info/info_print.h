/* What `llm info` prints: the metadata and tensors of a GGUF file. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_INFO_INFO_PRINT_H
#define SRC_COMMANDS_INFO_INFO_PRINT_H

#include <stdio.h>

#include "io/gguf.h"

struct info_total {
    const char *type; /* name of the element type */
    uint64_t n_tensors, n_elements, bytes;
};

/* Tables for people: lines of metadata cut at 120 columns, text escaped so that no byte of the file reaches the terminal as a
 * command. -1 with *err: cannot be written. */
int info_print(FILE *out, const struct gguf *file, int with_tensors, struct error *err);

/* Sums over the tensors by type, in the order of type numbers; returns how many types there are. */
int32_t info_totals(const struct gguf *file, struct info_total totals[DTYPE_COUNT]);

#endif
