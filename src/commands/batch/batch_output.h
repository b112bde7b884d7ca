/* Writes lines of results, in the order of the requests or as they come. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_BATCH_BATCH_OUTPUT_H
#define SRC_COMMANDS_BATCH_BATCH_OUTPUT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "src/core/error.h"

struct batch_output_line {
    char *text; /* [n] owned; NULL = not there yet */
    size_t n;
};

struct batch_output {
    int fd; /* owned unless it is standard output */
    int unordered;
    struct batch_output_line *lines; /* [capacity] owned: line of request i at i % capacity, for i from next on */
    int64_t capacity, next;          /* next: the request whose line is to be written */
    int64_t n_held;                  /* lines that wait for an earlier one */
    size_t n_held_bytes;
    int error_number; /* errno of the write that failed, 0 = none; nothing is written after it */
};
/* Empties the file, or makes it; "-" is standard output. -1 when it cannot be written, or is the file that input_fd reads. *out
 * must be closed whatever the result. */
int batch_output_open(struct batch_output *out, const char *path, int unordered, int input_fd, struct error *err);
/* Takes the line (n bytes with the newline, allocated; it is freed here) of the request with this index, and writes what may be
 * written. Lines are written whole: what a full disk cuts off is taken back. -1 once a write has failed. */
int batch_output_put(struct batch_output *out, int64_t index, char *text, size_t n);
/* 1 while so much waits for an earlier line that no more requests should be begun. */
int batch_output_is_full(const struct batch_output *out);
/* No more lines: writes what is still held, without those that never came. Zeroed is valid. */
int batch_output_close(struct batch_output *out, struct error *err);

#endif
