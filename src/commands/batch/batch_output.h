/* Writes lines of results, in the order of the requests or as they come. SPDX-License-Identifier: MIT
 *
 * A thread of its own writes, so that a reader who does not read holds up neither the ring nor Ctrl-C. */
#ifndef SRC_COMMANDS_BATCH_BATCH_OUTPUT_H
#define SRC_COMMANDS_BATCH_BATCH_OUTPUT_H

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "src/core/error.h"

struct batch_output_line {
    char *text; /* [n] owned; NULL = not there yet */
    size_t n;
    struct batch_output_line *next; /* of those that are written now */
};

struct batch_output {
    int fd; /* owned unless it is standard output */
    int unordered;
    struct batch_output_line *lines; /* [capacity] owned: line of request i at i % capacity, for i from next on */
    int64_t capacity, next;          /* next: the request whose line is to be written */
    int64_t n_held;                  /* lines that wait for an earlier one */
    size_t n_held_bytes;

    pthread_t thread;
    int thread_runs;
    size_t pipe_bytes;    /* what a pipe holds; 0 = the output is none */
    int is_file;          /* writes do not wait for a reader */
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    struct batch_output_line *first, *last; /* owned: to be written, in this order */
    int64_t n_queued;
    size_t n_queued_bytes;
    int stop;         /* 1: end when all is written; 2: end at once */
    int ended;        /* the thread writes nothing any more */
    int error_number; /* errno of the write that failed, 0 = none; nothing is written after it */
};
/* Empties the file, or makes it; "-" is standard output. -1 when it cannot be written, or is the file that input_fd reads. *out
 * must be closed whatever the result. */
int batch_output_open(struct batch_output *out, const char *path, int unordered, int input_fd, struct error *err);
/* Takes the line (n bytes with the newline, allocated; it is freed here) of the request with this index; it is written when its
 * turn comes. Lines are written whole: what a full disk cuts off is taken back. */
void batch_output_put(struct batch_output *out, int64_t index, char *text, size_t n);
/* 1 while so much waits for an earlier line, or for a reader, that no more requests should be begun. */
int batch_output_is_full(struct batch_output *out);
/* 1 once a write has failed: the work is in vain. */
int batch_output_has_failed(struct batch_output *out);

/* No more lines: writes what is still held, without those that never came. Once *cancel is not 0 (borrowed, NULL = never) a
 * reader who does not read is waited for BATCH_OUTPUT_PATIENCE_S; what is unwritten then is lost, and *n_lost says how many lines
 * (NULL allowed). -1 with *err when a write failed. Zeroed is valid. */
#define BATCH_OUTPUT_PATIENCE_S 0.5
int batch_output_close(struct batch_output *out, const volatile sig_atomic_t *cancel, int64_t *n_lost, struct error *err);

#endif
