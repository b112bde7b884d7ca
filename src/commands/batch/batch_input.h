/* Reads and parses the lines of a batch on a thread of its own, so that neither a slow writer nor a long text holds up the ring.
 * SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_BATCH_BATCH_INPUT_H
#define SRC_COMMANDS_BATCH_BATCH_INPUT_H

#include <pthread.h>

#include "src/commands/batch/batch_request.h"

enum { BATCH_MAX_WAITING = 1024, BATCH_MAX_LINE = 64 << 20 };

/* From the reading thread: there is something to take, or nothing more will come. */
typedef void (*batch_input_wake_fn)(void *context);

struct batch_input {
    int fd;                          /* owned unless it is standard input; -1 = none */
    const struct batch_setup *setup; /* borrowed */
    batch_input_wake_fn wake;
    void *wake_context;
    int stop_pipe[2]; /* closing [1] ends the reading thread */
    pthread_t thread;
    int thread_runs;

    char *buffer; /* [capacity] owned: what is read and not yet a whole line */
    size_t n_buffer, capacity;
    int64_t line, n_requests;
    int skipping; /* the line is too long: its rest is thrown away */

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t taken;
    struct batch_request *first, *last;
    size_t n_waiting, n_waiting_ids;
    int64_t n_total;  /* lines with a request in them, -1 = not known yet */
    int stop, ended;  /* asked to end; nothing more will come */
    int error_number; /* errno of a read that failed, 0 = none */
};
/* path: "-" is standard input. *in must be closed whatever the result. */
int batch_input_open(struct batch_input *in, const char *path, struct error *err);
/* Starts the reading. It pauses while BATCH_MAX_WAITING requests wait, or ones with many tokens. */
void batch_input_start(struct batch_input *in, const struct batch_setup *setup, batch_input_wake_fn wake, void *context);
/* The next request (the caller's), or NULL: none waits now. */
struct batch_request *batch_input_take(struct batch_input *in);
/* 1 when nothing waits and nothing more will come. */
int batch_input_is_done(struct batch_input *in);
/* Requests in all, -1 when that is not known yet. */
int64_t batch_input_total(struct batch_input *in);
/* Ends the reading and frees what still waits; -1 when the input could not be read to its end. Zeroed is valid. */
int batch_input_close(struct batch_input *in, struct error *err);

#endif
