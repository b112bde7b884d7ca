/* SPDX-License-Identifier: MIT */
#include "src/commands/batch/batch_output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/core/clock.h"

enum { MAX_HELD = 1 << 16, MAX_HELD_BYTES = 256 << 20, LOOK_MS = 20, NAP_US = 500 };
enum { STOP_WHEN_DONE = 1, STOP_NOW = 2 };

int batch_output_open(struct batch_output *out, const char *path, int unordered, int input_fd, struct error *err)
{
    struct stat mine, input;
    *out = (struct batch_output){.fd = STDOUT_FILENO, .unordered = unordered};
    pthread_mutex_init(&out->lock, NULL);
    pthread_cond_init(&out->changed, NULL);
    if (strcmp(path, "-") == 0) {
        return 0;
    }
    out->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (out->fd < 0 || fstat(out->fd, &mine)) {
        return error_set(err, "%s: cannot be written: %s", path, strerror(errno));
    }
    if (S_ISREG(mine.st_mode) && fstat(input_fd, &input) == 0 && input.st_dev == mine.st_dev && input.st_ino == mine.st_ino) {
        return error_set(err, "%s: is the file that the requests are read from, expected another for the results", path);
    }
    if (S_ISREG(mine.st_mode) && ftruncate(out->fd, 0)) {
        return error_set(err, "%s: cannot be written: %s", path, strerror(errno));
    }
    return 0;
}

/* -- the writing thread -- */

static int stops_now(struct batch_output *out)
{
    pthread_mutex_lock(&out->lock);
    int stop = out->stop == STOP_NOW;
    pthread_mutex_unlock(&out->lock);
    return stop;
}

/* Waits until n bytes, or a part of them, can be written without waiting for the reader: a pipe that can be written to takes
 * PIPE_BUF bytes at once, an empty one all that it holds. How many, 0 = asked to stop. */
static size_t wait_for_room(struct batch_output *out, size_t n)
{
    while (!stops_now(out)) {
        struct pollfd file = {.fd = out->fd, .events = POLLOUT};
        int used = 0;
        if (poll(&file, 1, LOOK_MS) <= 0) {
            continue;
        }
        if (out->is_file || n <= PIPE_BUF || file.revents != POLLOUT) { /* an error is for write() to tell */
            return n;
        }
        if (n > out->pipe_bytes || ioctl(out->fd, FIONREAD, &used)) {
            return PIPE_BUF;
        }
        if (used == 0) {
            return n;
        }
        clock_sleep_us(NAP_US);
    }
    return 0;
}

/* 0, or the errno. *at: bytes that are out. */
static int write_all(struct batch_output *out, const char *text, size_t n, size_t *at)
{
    size_t room;
    for (*at = 0; *at < n && (room = wait_for_room(out, n - *at)) > 0;) {
        ssize_t written = write(out->fd, text + *at, room);
        if (written >= 0) {
            *at += (size_t)written;
        } else if (errno != EINTR && errno != EAGAIN) {
            int error_number = errno;
            /* Only a file's end can be taken back, and only where nobody else writes. */
            off_t end = lseek(out->fd, 0, SEEK_CUR);
            int unused = end >= (off_t)*at ? ftruncate(out->fd, end - (off_t)*at) : 0;
            (void)unused;
            return error_number;
        }
    }
    return 0;
}

/* The first line of the queue, which stays there; NULL: nothing more is to be written. */
static struct batch_output_line *next_line(struct batch_output *out)
{
    while (!out->first && !out->stop) {
        pthread_cond_wait(&out->changed, &out->lock);
    }
    return out->stop == STOP_NOW || out->error_number ? NULL : out->first;
}

static void *write_main(void *argument)
{
    struct batch_output *out = argument;
    struct batch_output_line *line;
    pthread_mutex_lock(&out->lock);
    while ((line = next_line(out))) {
        size_t at;
        pthread_mutex_unlock(&out->lock);
        int error_number = write_all(out, line->text, line->n, &at);
        pthread_mutex_lock(&out->lock);
        out->error_number = error_number;
        if (at < line->n) {
            break;
        }
        out->first = line->next;
        out->n_queued--;
        out->n_queued_bytes -= line->n;
        free(line->text);
        free(line);
    }
    out->ended = 1;
    pthread_cond_broadcast(&out->changed);
    pthread_mutex_unlock(&out->lock);
    return NULL;
}

static void start_thread(struct batch_output *out)
{
    struct stat file;
    int is_known = fstat(out->fd, &file) == 0, pipe_bytes = is_known && S_ISFIFO(file.st_mode) ? fcntl(out->fd, F_GETPIPE_SZ) : 0;
    out->is_file = is_known && S_ISREG(file.st_mode);
    out->pipe_bytes = pipe_bytes > 0 ? (size_t)pipe_bytes : 0;
    if (pthread_create(&out->thread, NULL, write_main, out)) {
        fatal("cannot start the writing thread");
    }
    out->thread_runs = 1;
}

/* -- the main thread -- */

static void write_line(struct batch_output *out, char *text, size_t n)
{
    struct batch_output_line *line = calloc(1, sizeof *line);
    if (!line) {
        fatal("out of memory for the results");
    }
    *line = (struct batch_output_line){.text = text, .n = n};
    if (!out->thread_runs) {
        start_thread(out);
    }
    pthread_mutex_lock(&out->lock);
    *(out->first ? &out->last->next : &out->first) = line;
    out->last = line;
    out->n_queued++;
    out->n_queued_bytes += n;
    pthread_cond_broadcast(&out->changed);
    pthread_mutex_unlock(&out->lock);
}

static int grow(struct batch_output *out, int64_t index)
{
    int64_t capacity = out->capacity ? out->capacity : 64;
    while (index - out->next >= capacity) {
        capacity *= 2;
    }
    if (capacity == out->capacity) {
        return 0;
    }
    struct batch_output_line *lines = calloc((size_t)capacity, sizeof *lines);
    if (!lines) {
        return -1;
    }
    for (int64_t i = out->next; i < out->next + out->capacity; i++) {
        lines[i % capacity] = out->lines[i % out->capacity];
    }
    free(out->lines);
    out->lines = lines;
    out->capacity = capacity;
    return 0;
}

static void write_next(struct batch_output *out)
{
    struct batch_output_line *line = &out->lines[out->next++ % out->capacity];
    if (line->text) {
        out->n_held--;
        out->n_held_bytes -= line->n;
        write_line(out, line->text, line->n);
        *line = (struct batch_output_line){0};
    }
}

void batch_output_put(struct batch_output *out, int64_t index, char *text, size_t n)
{
    if (out->unordered) {
        write_line(out, text, n);
        return;
    }
    if (grow(out, index)) {
        fatal("out of memory for the results");
    }
    out->lines[index % out->capacity] = (struct batch_output_line){.text = text, .n = n};
    out->n_held++;
    out->n_held_bytes += n;
    while (out->n_held > 0 && out->lines[out->next % out->capacity].text) {
        write_next(out);
    }
}

int batch_output_is_full(struct batch_output *out)
{
    pthread_mutex_lock(&out->lock);
    int64_t n = out->n_held + out->n_queued;
    size_t n_bytes = out->n_held_bytes + out->n_queued_bytes;
    pthread_mutex_unlock(&out->lock);
    return n >= MAX_HELD || n_bytes >= MAX_HELD_BYTES;
}

int batch_output_has_failed(struct batch_output *out)
{
    pthread_mutex_lock(&out->lock);
    int failed = out->error_number != 0;
    pthread_mutex_unlock(&out->lock);
    return failed;
}

/* Until the writing thread has ended, but no longer than the patience once the work is cancelled. */
static void end_thread(struct batch_output *out, const volatile sig_atomic_t *cancel)
{
    double cancelled_s = 0;
    pthread_mutex_lock(&out->lock);
    out->stop = STOP_WHEN_DONE;
    pthread_cond_broadcast(&out->changed);
    while (!out->ended) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&out->changed, &out->lock, &until);
        if (cancel && *cancel) {
            cancelled_s = cancelled_s > 0 ? cancelled_s : clock_now_s();
            out->stop = clock_now_s() - cancelled_s < BATCH_OUTPUT_PATIENCE_S ? STOP_WHEN_DONE : STOP_NOW;
        }
    }
    pthread_mutex_unlock(&out->lock);
    pthread_join(out->thread, NULL);
}

int batch_output_close(struct batch_output *out, const volatile sig_atomic_t *cancel, int64_t *n_lost, struct error *err)
{
    while (out->n_held > 0) {
        write_next(out);
    }
    if (out->thread_runs) {
        end_thread(out, cancel);
    }
    if (n_lost) {
        *n_lost = out->n_queued;
    }
    for (struct batch_output_line *line = out->first, *next; line; line = next) {
        next = line->next;
        free(line->text);
        free(line);
    }
    int error_number = out->error_number;
    if (out->fd > STDOUT_FILENO && close(out->fd) && !error_number) {
        error_number = errno;
    }
    free(out->lines);
    memset(out, 0, sizeof *out);
    return error_number ? error_set(err, "the results cannot be written: %s", strerror(error_number)) : 0;
}
