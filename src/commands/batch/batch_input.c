/* SPDX-License-Identifier: MIT */
#include "src/commands/batch/batch_input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/core/log.h"

enum { READ_BYTES = 1 << 16, MAX_WAITING_IDS = 4 << 20 };

int batch_input_open(struct batch_input *in, const char *path, struct error *err)
{
    struct stat file;
    memset(in, 0, sizeof *in);
    in->n_total = in->stop_pipe[0] = in->stop_pipe[1] = -1;
    pthread_mutex_init(&in->lock, NULL);
    pthread_cond_init(&in->taken, NULL);
    in->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (in->fd < 0 || fstat(in->fd, &file)) {
        return error_set(err, "%s: cannot be opened: %s", path, strerror(errno));
    }
    if (S_ISDIR(file.st_mode)) {
        return error_set(err, "%s: is a folder, expected a file with a JSON object a line", path);
    }
    if (pipe(in->stop_pipe)) {
        return error_set(err, "no pipe to be had: %s", strerror(errno));
    }
    if (isatty(in->fd)) {
        log_info("reading requests from the terminal, one JSON object a line; Ctrl-D on an empty line ends them");
    }
    return 0;
}

/* -- the reading thread -- */

static void hand_over(struct batch_input *in, struct batch_request *b)
{
    pthread_mutex_lock(&in->lock);
    while (!in->stop && in->first && (in->n_waiting >= BATCH_MAX_WAITING || in->n_waiting_ids >= MAX_WAITING_IDS)) {
        pthread_cond_wait(&in->taken, &in->lock);
    }
    *(in->first ? &in->last->next : &in->first) = b;
    in->last = b;
    in->n_waiting++;
    in->n_waiting_ids += b->prompt.n;
    pthread_mutex_unlock(&in->lock);
    in->wake(in->wake_context);
}

static int is_blank(const char *text, size_t n)
{
    size_t at = 0;
    while (at < n && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r')) {
        at++;
    }
    return at == n;
}

/* A line without its newline; too_long: only its beginning. */
static void take_line(struct batch_input *in, const char *text, size_t n, int too_long)
{
    static const char mark[] = "\xef\xbb\xbf"; /* some editors begin a file with it */
    in->line++;
    if (in->line == 1 && n >= 3 && memcmp(text, mark, 3) == 0) {
        text += 3;
        n -= 3;
    }
    if (is_blank(text, n)) {
        return;
    }
    struct batch_request *b = batch_request_parse(in->setup, in->line, text, too_long ? 0 : n);
    if (!b) {
        fatal("out of memory for a request");
    }
    if (too_long) {
        char message[80];
        snprintf(message, sizeof message, "the line has more than %d MiB", BATCH_MAX_LINE >> 20);
        batch_request_refuse(b, b->code, message);
    }
    b->index = in->n_requests++;
    hand_over(in, b);
}

/* Lines of the buffer, of which the last n_new bytes are new; what is left over moves to its beginning. */
static void take_lines(struct batch_input *in, size_t n_new)
{
    char *at = in->buffer, *search = in->buffer + in->n_buffer - n_new, *end = in->buffer + in->n_buffer, *newline;
    while ((newline = memchr(search, '\n', (size_t)(end - search)))) {
        if (!in->skipping) {
            take_line(in, at, (size_t)(newline - at), 0);
        }
        in->skipping = 0;
        at = search = newline + 1;
    }
    in->n_buffer = (size_t)(end - at);
    if (in->skipping) {
        in->n_buffer = 0;
    } else if (in->n_buffer > BATCH_MAX_LINE) {
        take_line(in, at, in->n_buffer, 1);
        in->skipping = 1;
        in->n_buffer = 0;
    }
    memmove(in->buffer, at, in->n_buffer);
}

static void make_room(struct batch_input *in)
{
    if (in->capacity - in->n_buffer < READ_BYTES) {
        size_t capacity = 2 * in->capacity + 2 * READ_BYTES;
        char *buffer = realloc(in->buffer, capacity);
        if (!buffer) {
            fatal("out of memory for a line of %zu bytes", capacity);
        }
        in->buffer = buffer;
        in->capacity = capacity;
    }
}

/* 0: there is something to read (or the end); -1: asked to stop. */
static int wait_for_input(struct batch_input *in)
{
    struct pollfd files[] = {{.fd = in->fd, .events = POLLIN}, {.fd = in->stop_pipe[0], .events = POLLIN}};
    while (poll(files, 2, -1) < 0 && errno == EINTR) {
    }
    return files[1].revents ? -1 : 0;
}

/* Newlines of a regular file from where it is now, for the progress line; -1 for anything else. */
static int64_t count_lines(int fd)
{
    struct stat file;
    char block[READ_BYTES], last = '\n';
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t got;
    int64_t n = 0;
    if (at < 0 || fstat(fd, &file) || !S_ISREG(file.st_mode)) {
        return -1;
    }
    for (; (got = pread(fd, block, sizeof block, at)) > 0; at += got) {
        for (char *p = block; (p = memchr(p, '\n', (size_t)(block + got - p))); p++) {
            n++;
        }
        last = block[got - 1];
    }
    return n + (last != '\n');
}

static void set_total(struct batch_input *in, int64_t n)
{
    pthread_mutex_lock(&in->lock);
    in->n_total = n;
    pthread_mutex_unlock(&in->lock);
}

static void *read_main(void *argument)
{
    struct batch_input *in = argument;
    int error_number = 0, ended = 0;
    set_total(in, count_lines(in->fd));
    while (!ended && wait_for_input(in) == 0) {
        make_room(in);
        ssize_t n = read(in->fd, in->buffer + in->n_buffer, READ_BYTES);
        if (n > 0) {
            in->n_buffer += (size_t)n;
            take_lines(in, (size_t)n);
        } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
            error_number = n ? errno : 0;
            ended = 1;
        }
    }
    if (ended && !error_number && in->n_buffer > 0) {
        take_line(in, in->buffer, in->n_buffer, 0); /* the last line has no newline */
    }
    pthread_mutex_lock(&in->lock);
    in->n_total = in->n_requests;
    in->error_number = error_number;
    in->ended = 1;
    pthread_mutex_unlock(&in->lock);
    in->wake(in->wake_context);
    return NULL;
}

/* -- the main thread -- */

void batch_input_start(struct batch_input *in, const struct batch_setup *setup, batch_input_wake_fn wake, void *context)
{
    in->setup = setup;
    in->wake = wake;
    in->wake_context = context;
    if (pthread_create(&in->thread, NULL, read_main, in)) {
        fatal("cannot start the reading thread");
    }
    in->thread_runs = 1;
}

struct batch_request *batch_input_take(struct batch_input *in)
{
    pthread_mutex_lock(&in->lock);
    struct batch_request *b = in->first;
    if (b) {
        in->first = b->next;
        in->n_waiting--;
        in->n_waiting_ids -= b->prompt.n;
        pthread_cond_signal(&in->taken);
    }
    pthread_mutex_unlock(&in->lock);
    return b;
}

int batch_input_is_done(struct batch_input *in)
{
    pthread_mutex_lock(&in->lock);
    int done = in->ended && !in->first;
    pthread_mutex_unlock(&in->lock);
    return done;
}

int64_t batch_input_total(struct batch_input *in)
{
    pthread_mutex_lock(&in->lock);
    int64_t n = in->n_total;
    pthread_mutex_unlock(&in->lock);
    return n;
}

static void close_file(int fd)
{
    if (fd > STDIN_FILENO) {
        close(fd);
    }
}

int batch_input_close(struct batch_input *in, struct error *err)
{
    if (in->thread_runs) {
        pthread_mutex_lock(&in->lock);
        in->stop = 1;
        pthread_cond_signal(&in->taken);
        pthread_mutex_unlock(&in->lock);
        close_file(in->stop_pipe[1]);
        in->stop_pipe[1] = -1;
        pthread_join(in->thread, NULL);
    }
    for (struct batch_request *b; (b = batch_input_take(in));) {
        batch_request_free(b);
    }
    close_file(in->stop_pipe[0]);
    close_file(in->stop_pipe[1]);
    close_file(in->fd);
    free(in->buffer);
    int error_number = in->error_number;
    memset(in, 0, sizeof *in);
    return error_number ? error_set(err, "the requests cannot be read to their end: %s", strerror(error_number)) : 0;
}
