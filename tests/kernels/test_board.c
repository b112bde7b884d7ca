/* Profiles of boards and links: those that come with the program, files, and what is wrong with bad ones.
 * SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "kernels/board.h"
#include "tests/check.h"

static const char good[] = "# a board\n"
                           "bandwidth_bytes_per_s = 100e9 # peak\n"
                           "  bandwidth_share=0.5\n\n"
                           "int8_ops_per_s = 10e12\r\n"
                           "int8_share = 0.25\nstep_us = 100\nlaunch_us = 2\nmemory_bytes = 8e9";

static char folder[] = "/tmp/test_board_XXXXXX";
static char path[64];

static void put(const char *text)
{
    FILE *f = fopen(path, "wb");
    if (!f || fputs(text, f) < 0 || fclose(f)) {
        perror(path);
        exit(1);
    }
}

static void test_known(void)
{
    struct error err = {{0}};
    struct board b;
    int n = 0;
    char names[512];
    snprintf(names, sizeof names, "%s", board_names());
    for (char *rest = names, *name; (name = strsep(&rest, ",")); n++) {
        name += *name == ' ';
        CHECK_THAT(board_find(name, &b, &err) == 0, "%s: %s", name, err.text);
        CHECK_TEXT(b.name, name);
        CHECK_THAT(b.memory_bytes > 1000000000u && b.bytes_per_s > 30e9 && b.ops_per_s > 5e12, "%s: too small", name);
    }
    CHECK_INT(n, 7);
    CHECK_INT(board_find("orin-nx-16", &b, &err), 0);
    CHECK_THAT(b.bytes_per_s > 102.3e9 * 0.8 && b.bytes_per_s < 102.5e9 * 0.8, "%g bytes/s", b.bytes_per_s);

    struct board_link l;
    CHECK_INT(board_link_find("1gbe", &l, &err), 0);
    CHECK_THAT(l.latency_s > 59e-6 && l.latency_s < 61e-6 && l.bytes_per_s == 117e6, "%g s, %g bytes/s", l.latency_s,
               l.bytes_per_s);
    CHECK_INT(board_link_find("2.5gbe", &l, &err), 0);
    CHECK_TEXT(l.name, "2.5gbe");
}

static void test_file(void)
{
    struct error err = {{0}};
    struct board b;
    put(good);
    CHECK_THAT(board_find(path, &b, &err) == 0, "%s", err.text);
    CHECK_TEXT(b.name, "mine");
    CHECK_THAT(b.bytes_per_s == 50e9 && b.ops_per_s == 2.5e12, "%g bytes/s, %g ops/s", b.bytes_per_s, b.ops_per_s);
    CHECK_INT(b.memory_bytes, 8000000000);

    /* 2 us, and the longer of reading and computing */
    struct board round = {.bytes_per_s = 1e9, .ops_per_s = 1e12, .launch_s = 0.5};
    double read_s = board_operation_s(&round, 2e9, 1e12), compute_s = board_operation_s(&round, 1e9, 4e12);
    CHECK_THAT(read_s == 2.5 && compute_s == 4.5, "%g s and %g s, expected 2.5 and 4.5", read_s, compute_s);
}

/* good with the first `from` replaced: the message must be as told, with the path for %s. */
static void expect(const char *from, const char *to, const char *message)
{
    char text[1024], wanted[1024];
    struct error err = {{0}};
    struct board b;
    const char *at = strstr(good, from);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    put(text);
    CHECK_INT(board_find(path, &b, &err), -1);
    snprintf(wanted, sizeof wanted, message, path);
    CHECK_TEXT(err.text, wanted);
}

static void test_errors(void)
{
    expect("step_us = 100", "", "%s: the key step_us is missing");
    expect("step_us = 100", "step_us", "%s:7: \"step_us\", expected KEY = NUMBER");
    expect("step_us = 100", "step_us = fast", "%s:7: step_us is \"fast\", expected a number");
    expect("step_us = 100", "step_us =", "%s:7: step_us is \"\", expected a number");
    expect("step_us = 100", "step_us = 1 2", "%s:7: step_us is \"1 2\", expected a number");
    expect("step_us = 100", "step_us = -1", "%s:7: step_us is -1, expected 0 to 1e+06");
    expect("step_us = 100", "step_us = nan", "%s:7: step_us is nan, expected 0 to 1e+06");
    expect("launch_us = 2", "step_us = 2", "%s:8: step_us is there already, in line 7");
    expect("0.5", "1.5", "%s:3: bandwidth_share is 1.5, expected 0.01 to 1");
    expect("step_us = 100", "watts = 25",
           "%s:7: unknown key \"watts\", known: bandwidth_bytes_per_s, bandwidth_share, int8_ops_per_s, int8_share, step_us, "
           "launch_us, memory_bytes");

    struct error err = {{0}};
    struct board b;
    struct board_link l;
    char wanted[1024];
    CHECK_INT(board_find("raspberry", &b, &err), -1);
    snprintf(wanted, sizeof wanted, "unknown board \"raspberry\", known: %s (or the path of a file)", board_names());
    CHECK_TEXT(err.text, wanted);
    CHECK_INT(board_link_find("modem", &l, &err), -1);
    snprintf(wanted, sizeof wanted, "unknown link \"modem\", known: %s (or the path of a file)", board_link_names());
    CHECK_TEXT(err.text, wanted);
    CHECK_INT(board_find("/nonexistent/x.board", &b, &err), -1);
    CHECK_TEXT(err.text, "/nonexistent/x.board: cannot be opened: No such file or directory");
}

int main(void)
{
    if (!mkdtemp(folder)) {
        perror(folder);
        return 1;
    }
    snprintf(path, sizeof path, "%s/mine.board", folder);
    test_known();
    test_file();
    test_errors();
    unlink(path);
    rmdir(folder);
    return check_result();
}
