/* Lines of results in order, or as they come; what cannot be written; readers who do not read. SPDX-License-Identifier: MIT */
#include "src/commands/batch/batch_output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/core/clock.h"

#include "tests/check.h"

static char path[] = "/tmp/test_batch_output.XXXXXX";

static void put(struct batch_output *out, int64_t index)
{
    char text[32];
    snprintf(text, sizeof text, "%lld\n", (long long)index);
    batch_output_put(out, index, strdup(text), strlen(text));
}

/* Until the lines that were put are written, or the test's time limit. */
static void wait_until_written(struct batch_output *out)
{
    for (int64_t n = 1; n > 0; clock_sleep_us(1000)) {
        pthread_mutex_lock(&out->lock);
        n = out->n_queued;
        pthread_mutex_unlock(&out->lock);
    }
}

static void check_file(const char *expected)
{
    char text[256] = "";
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = 0;
    CHECK_TEXT(text, expected);
    if (f) {
        fclose(f);
    }
}

static void test_order(void)
{
    struct batch_output out;
    struct error err = {{0}};
    CHECK_THAT(batch_output_open(&out, path, 0, STDIN_FILENO, &err) == 0, "%s", err.text);
    put(&out, 2);
    put(&out, 1);
    check_file("");
    put(&out, 0);
    wait_until_written(&out);
    check_file("0\n1\n2\n");
    put(&out, 4);
    put(&out, 6); /* 3 and 5 never come */
    CHECK_INT(batch_output_close(&out, NULL, NULL, &err), 0);
    check_file("0\n1\n2\n4\n6\n");

    CHECK_THAT(batch_output_open(&out, path, 1, STDIN_FILENO, &err) == 0, "%s", err.text);
    check_file("");
    put(&out, 2);
    put(&out, 0);
    wait_until_written(&out);
    check_file("2\n0\n");
    CHECK_INT(batch_output_close(&out, NULL, NULL, &err), 0);
}

/* One slow request at the head: what is held grows, in any order, and is told. */
static void test_hold(void)
{
    enum { N = (1 << 16) + 100 };
    struct batch_output out;
    struct error err = {{0}};
    CHECK_INT(batch_output_open(&out, path, 0, STDIN_FILENO, &err), 0);
    for (int64_t i = N; i > 0; i--) {
        put(&out, i);
    }
    CHECK_INT(batch_output_is_full(&out), 1);
    put(&out, 0);
    wait_until_written(&out);
    CHECK_INT(batch_output_is_full(&out), 0);
    CHECK_INT(out.next, N + 1);
    CHECK_INT(out.n_held_bytes, 0);
    CHECK_INT(batch_output_close(&out, NULL, NULL, &err), 0);
    FILE *f = fopen(path, "r");
    long long value, at = 0;
    while (f && fscanf(f, "%lld", &value) == 1 && value == at) {
        at++;
    }
    CHECK_INT(at, N + 1);
    if (f) {
        fclose(f);
    }
}

static void test_unwritable(void)
{
    struct batch_output out;
    struct error err = {{0}};
    CHECK_INT(batch_output_open(&out, "/no/such/folder/x", 0, STDIN_FILENO, &err), -1);
    CHECK_TEXT(err.text, "/no/such/folder/x: cannot be written: No such file or directory");
    batch_output_close(&out, NULL, NULL, NULL);
    FILE *input = fopen(path, "r");
    CHECK_INT(batch_output_open(&out, path, 0, fileno(input), &err), -1);
    CHECK_THAT(strstr(err.text, "is the file that the requests are read from"), "%s", err.text);
    batch_output_close(&out, NULL, NULL, NULL);
    fclose(input);
    CHECK_INT(batch_output_open(&out, "/dev/full", 0, STDIN_FILENO, &err), 0);
    put(&out, 0);
    while (!batch_output_has_failed(&out)) {
        clock_sleep_us(1000);
    }
    CHECK_INT(batch_output_close(&out, NULL, NULL, &err), -1);
    CHECK_TEXT(err.text, "the results cannot be written: No space left on device");
}

/* A line of n bytes with its newline. */
static void put_long(struct batch_output *out, int64_t index, size_t n)
{
    char *text = malloc(n);
    memset(text, 'a' + (int)(index % 26), n);
    text[n - 1] = '\n';
    batch_output_put(out, index, text, n);
}

/* Nobody reads: the caller goes on, a signal ends the wait, and what is in the pipe are whole lines. */
static void test_stalled(size_t line_bytes)
{
    enum { N = 1000 };
    static const volatile sig_atomic_t cancelled = 1;
    static char text[1 << 21];
    char fifo[64];
    struct batch_output out;
    struct error err = {{0}};
    int64_t n_lost = 0;
    snprintf(fifo, sizeof fifo, "%s.fifo", path);
    CHECK_INT(mkfifo(fifo, 0600), 0);
    int reader = open(fifo, O_RDONLY | O_NONBLOCK);
    CHECK_INT(batch_output_open(&out, fifo, 0, STDIN_FILENO, &err), 0);
    for (int64_t i = 0; i < N; i++) {
        put_long(&out, i, line_bytes);
    }
    CHECK_INT(batch_output_close(&out, &cancelled, &n_lost, &err), 0);
    ssize_t n = read(reader, text, sizeof text);
    CHECK_THAT(n > 0 && n_lost > 0, "%zd bytes in the pipe, %lld lines lost", n, (long long)n_lost);
    CHECK_INT(n, (N - n_lost) * (int64_t)line_bytes);
    CHECK_INT(text[n > 0 ? n - 1 : 0], '\n');
    close(reader);
    unlink(fifo);
}

/* A reader who is late gets everything; one who has gone is an error. */
static void *read_late(void *argument)
{
    char block[5000];
    int fd = *(int *)argument;
    size_t sum = 0;
    clock_sleep_us(50000);
    for (ssize_t n; (n = read(fd, block, sizeof block)) > 0;) {
        sum += (size_t)n;
        clock_sleep_us(100);
    }
    return (void *)sum;
}

static void test_pipe(void)
{
    enum { N = 60 };
    int ends[2];
    struct batch_output out = {.fd = -1};
    struct error err = {{0}};
    pthread_t thread;
    void *sum;
    char name[32];
    CHECK_INT(pipe(ends), 0);
    snprintf(name, sizeof name, "/dev/fd/%d", ends[1]);
    CHECK_INT(batch_output_open(&out, name, 1, STDIN_FILENO, &err), 0);
    close(ends[1]);
    CHECK_INT(pthread_create(&thread, NULL, read_late, &ends[0]), 0);
    size_t expected = 0;
    for (int64_t i = 0; i < N; i++) {
        size_t n = i % 3 == 0 ? 100 : i % 3 == 1 ? 9000 : 200000;
        put_long(&out, i, n);
        expected += n;
    }
    CHECK_INT(batch_output_close(&out, NULL, NULL, &err), 0);
    pthread_join(thread, &sum);
    CHECK_INT((size_t)sum, expected);

    CHECK_INT(pipe(ends), 0);
    snprintf(name, sizeof name, "/dev/fd/%d", ends[1]);
    CHECK_INT(batch_output_open(&out, name, 1, STDIN_FILENO, &err), 0);
    close(ends[1]);
    close(ends[0]);
    put_long(&out, 0, 10);
    CHECK_INT(batch_output_close(&out, NULL, NULL, &err), -1);
    CHECK_TEXT(err.text, "the results cannot be written: Broken pipe");
}

int main(void)
{
    int fd = mkstemp(path);
    CHECK_THAT(fd >= 0, "no file in /tmp");
    close(fd);
    test_order();
    test_hold();
    test_unwritable();
    signal(SIGPIPE, SIG_IGN);
    test_stalled(100);
    test_stalled(20000);
    test_pipe();
    unlink(path);
    return check_result();
}
