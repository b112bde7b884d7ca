/* SPDX-License-Identifier: MIT */
#include "src/commands/batch/batch_output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_HELD = 1 << 16, MAX_HELD_BYTES = 256 << 20 };

int batch_output_open(struct batch_output *out, const char *path, int unordered, int input_fd, struct error *err)
{
    struct stat mine, input;
    *out = (struct batch_output){.fd = STDOUT_FILENO, .unordered = unordered};
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

/* 0, or the errno. */
static int write_all(int fd, const char *text, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t written = write(fd, text + at, n - at);
        if (written >= 0) {
            at += (size_t)written;
        } else if (errno == EAGAIN) {
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        } else if (errno != EINTR) {
            int error_number = errno;
            /* Only a file's end can be taken back, and only where nobody else writes. */
            off_t end = lseek(fd, 0, SEEK_CUR);
            int unused = end >= (off_t)at ? ftruncate(fd, end - (off_t)at) : 0;
            (void)unused;
            return error_number;
        }
    }
    return 0;
}

static void write_line(struct batch_output *out, char *text, size_t n)
{
    if (!out->error_number) {
        out->error_number = write_all(out->fd, text, n);
    }
    free(text);
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

int batch_output_put(struct batch_output *out, int64_t index, char *text, size_t n)
{
    if (out->unordered) {
        write_line(out, text, n);
        return out->error_number ? -1 : 0;
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
    return out->error_number ? -1 : 0;
}

int batch_output_is_full(const struct batch_output *out)
{
    return out->n_held >= MAX_HELD || out->n_held_bytes >= MAX_HELD_BYTES;
}

int batch_output_close(struct batch_output *out, struct error *err)
{
    while (out->n_held > 0) {
        write_next(out);
    }
    int error_number = out->error_number;
    if (out->fd > STDOUT_FILENO && close(out->fd) && !error_number) {
        error_number = errno;
    }
    free(out->lines);
    memset(out, 0, sizeof *out);
    return error_number ? error_set(err, "the results cannot be written: %s", strerror(error_number)) : 0;
}
