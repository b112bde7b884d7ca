/* Lines of results in order, or as they come; what cannot be written. SPDX-License-Identifier: MIT */
#include "src/commands/batch/batch_output.h"

#include <unistd.h>

#include "tests/check.h"

static char path[] = "/tmp/test_batch_output.XXXXXX";

static void put(struct batch_output *out, int64_t index)
{
    char text[32];
    snprintf(text, sizeof text, "%lld\n", (long long)index);
    CHECK_INT(batch_output_put(out, index, strdup(text), strlen(text)), 0);
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
    check_file("0\n1\n2\n");
    put(&out, 4);
    put(&out, 6); /* 3 and 5 never come */
    CHECK_INT(batch_output_close(&out, &err), 0);
    check_file("0\n1\n2\n4\n6\n");

    CHECK_THAT(batch_output_open(&out, path, 1, STDIN_FILENO, &err) == 0, "%s", err.text);
    check_file("");
    put(&out, 2);
    put(&out, 0);
    check_file("2\n0\n");
    CHECK_INT(batch_output_close(&out, &err), 0);
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
    CHECK_INT(batch_output_is_full(&out), 0);
    CHECK_INT(out.next, N + 1);
    CHECK_INT(out.n_held_bytes, 0);
    CHECK_INT(batch_output_close(&out, &err), 0);
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
    batch_output_close(&out, NULL);
    FILE *input = fopen(path, "r");
    CHECK_INT(batch_output_open(&out, path, 0, fileno(input), &err), -1);
    CHECK_THAT(strstr(err.text, "is the file that the requests are read from"), "%s", err.text);
    batch_output_close(&out, NULL);
    fclose(input);
    CHECK_INT(batch_output_open(&out, "/dev/full", 0, STDIN_FILENO, &err), 0);
    CHECK_INT(batch_output_put(&out, 0, strdup("0\n"), 2), -1);
    CHECK_INT(batch_output_close(&out, &err), -1);
    CHECK_TEXT(err.text, "the results cannot be written: No space left on device");
}

int main(void)
{
    int fd = mkstemp(path);
    CHECK_THAT(fd >= 0, "no file in /tmp");
    close(fd);
    test_order();
    test_hold();
    test_unwritable();
    unlink(path);
    return check_result();
}
