/* The thread that reads the lines of a batch: order, blank and endless lines, pauses, and an end in the middle.
 * SPDX-License-Identifier: MIT */
#include "src/commands/batch/batch_input.h"

#include <stdatomic.h>
#include <unistd.h>

#include "src/core/clock.h"
#include "tests/commands/small_model.h"

static struct small_model small;
static atomic_int n_wakes;

static void wake(void *context)
{
    (void)context;
    atomic_fetch_add(&n_wakes, 1);
}

/* A new file in the folder of temporary ones, opened for writing; removed by the caller. */
static FILE *make_file(char path[64])
{
    snprintf(path, 64, "/tmp/test_batch_input.XXXXXX");
    int fd = mkstemp(path);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!f) {
        perror(path);
        exit(1);
    }
    return f;
}

static void start(struct batch_input *in, const char *path)
{
    struct error err = {{0}};
    CHECK_THAT(batch_input_open(in, path, &err) == 0, "%s", err.text);
    batch_input_start(in, &small.setup, wake, NULL);
}

/* The next request; waits for it. NULL at the end. */
static struct batch_request *next(struct batch_input *in)
{
    struct batch_request *b;
    while (!(b = batch_input_take(in)) && !batch_input_is_done(in)) {
        clock_sleep_us(100);
    }
    return b ? b : batch_input_take(in);
}

static void test_lines(void)
{
    static const struct {
        int64_t line;
        int refused;
    } expected[] = {{1, 0}, {3, 1}, {5, 0}, {6, 0}};
    char path[64];
    FILE *f = make_file(path);
    fputs("\xef\xbb\xbf{\"ids\":[1]}\n\nno JSON\n \t\r\n{\"ids\":[2]}\r\n{\"ids\":[3]}", f);
    fclose(f);
    struct batch_input in;
    start(&in, path);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        struct batch_request *b = next(&in);
        CHECK_THAT(b != NULL, "request %zu is missing", i);
        if (b) {
            CHECK_INT(b->line, expected[i].line);
            CHECK_INT(b->index, i);
            CHECK_INT(b->code != NULL, expected[i].refused);
        }
        batch_request_free(b);
    }
    CHECK_THAT(!next(&in), "one request too many");
    CHECK_INT(batch_input_total(&in), 4);
    CHECK_THAT(atomic_load(&n_wakes) >= 5, "%d", atomic_load(&n_wakes));
    CHECK_INT(batch_input_close(&in, NULL), 0);
    unlink(path);
}

static void test_long_lines(void)
{
    enum { LONG = 3 << 20 };
    char path[64];
    FILE *f = make_file(path);
    fputs("{\"ids\":[1],\"user\":\"", f);
    for (int i = 0; i < LONG; i++) {
        fputc('x', f);
    }
    fputs("\"}\n", f);
    for (int64_t i = 0; i < BATCH_MAX_LINE + 100000; i++) {
        fputc('y', f);
    }
    fputs("\n{\"ids\":[2]}\n", f);
    fclose(f);
    struct batch_input in;
    start(&in, path);
    struct batch_request *a = next(&in), *b = next(&in), *c = next(&in);
    CHECK_THAT(a && b && c, "requests are missing");
    if (a && b && c) {
        CHECK_THAT(!a->code, "%s", a->error);
        CHECK_TEXT(b->error ? b->error : "", "line 2: the line has more than 64 MiB");
        CHECK_THAT(!c->code && c->line == 3 && c->prompt.ids[0] == 2, "line %lld", (long long)c->line);
    }
    batch_request_free(a);
    batch_request_free(b);
    batch_request_free(c);
    CHECK_INT(batch_input_close(&in, NULL), 0);
    unlink(path);
}

static size_t waiting(struct batch_input *in)
{
    pthread_mutex_lock(&in->lock);
    size_t n = in->n_waiting;
    pthread_mutex_unlock(&in->lock);
    return n;
}

/* The reading pauses while many requests wait; a close ends it there too. */
static void test_pause(void)
{
    enum { LINES = 3 * BATCH_MAX_WAITING };
    char path[64];
    FILE *f = make_file(path);
    for (int i = 0; i < LINES; i++) {
        fputs("{\"ids\":[1]}\n", f);
    }
    fclose(f);
    struct batch_input in;
    start(&in, path);
    while (waiting(&in) < BATCH_MAX_WAITING) {
        clock_sleep_us(100);
    }
    CHECK_INT(batch_input_total(&in), LINES);
    int n = 0;
    for (struct batch_request *b; (b = next(&in)); n++) {
        CHECK_THAT(waiting(&in) <= BATCH_MAX_WAITING, "%zu wait", waiting(&in));
        batch_request_free(b);
    }
    CHECK_INT(n, LINES);
    CHECK_INT(batch_input_close(&in, NULL), 0);

    start(&in, path);
    while (waiting(&in) < BATCH_MAX_WAITING) {
        clock_sleep_us(100);
    }
    CHECK_INT(batch_input_close(&in, NULL), 0);
    unlink(path);
}

/* A pipe whose writer neither writes nor closes it. */
static void test_close_while_reading(void)
{
    int ends[2];
    if (pipe(ends)) {
        perror("pipe");
        exit(1);
    }
    char path[64];
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    struct batch_input in;
    start(&in, path);
    CHECK_INT(write(ends[1], "{\"ids\":[1]}\n{", 13), 13);
    struct batch_request *b = next(&in);
    CHECK_THAT(b && !b->code, "the first line is missing");
    batch_request_free(b);
    CHECK_INT(batch_input_total(&in), -1);
    CHECK_INT(batch_input_close(&in, NULL), 0);
    close(ends[0]);
    close(ends[1]);
}

static void test_refused(void)
{
    struct batch_input in;
    struct error err = {{0}};
    CHECK_INT(batch_input_open(&in, "/no/such/file", &err), -1);
    CHECK_TEXT(err.text, "/no/such/file: cannot be opened: No such file or directory");
    batch_input_close(&in, NULL);
    CHECK_INT(batch_input_open(&in, "/tmp", &err), -1);
    CHECK_TEXT(err.text, "/tmp: is a folder, expected a file with a JSON object a line");
    batch_input_close(&in, NULL);
}

int main(void)
{
    small_model_open(&small);
    test_lines();
    test_long_lines();
    test_pause();
    test_close_while_reading();
    test_refused();
    small_model_close(&small);
    return check_result();
}
