/* Stop strings in streamed text: the same result for every way to cut the text. SPDX-License-Identifier: MIT */
#include "src/engine/stop.h"

#include "src/core/clock.h"
#include "tests/check.h"

struct stop_case {
    const char *strings[4];
    const char *text, *shown;
    int found;
};

static const struct stop_case cases[] = {
    {{"STOP"}, "hello STOP more", "hello ", 1},
    {{"STOP"}, "hello STO", "hello STO", 0},
    {{"STOP"}, "SSTSTOSTOP", "SSTSTO", 1},
    {{"STOP"}, "STOP", "", 1},
    {{"aab"}, "aaaaab", "aaa", 1},
    {{"abab"}, "abacabab!", "abac", 1},
    {{"ab", "b"}, "xxab", "xx", 1},
    {{"b", "ab"}, "xxab", "xx", 1},
    {{"abcd", "bc"}, "xabcd", "xa", 1}, /* the first to be complete wins */
    {{"\n\n", "User:"}, "Hi.\nUse\nUser: a", "Hi.\nUse\n", 1},
    {{"\n\n", "User:"}, "Hi.\n\nUser: a", "Hi.", 1},
    {{"\xc3\xa9"}, "caf\xc3\xa8 caf\xc3\xa9", "caf\xc3\xa8 caf", 1},
    {{NULL}, "anything", "anything", 0},
    {{"x"}, "", "", 0},
};

static void run_case(const struct stop_case *c, unsigned cuts)
{
    struct stop_matcher m;
    struct error err;
    int n_strings = 0;
    while (n_strings < 4 && c->strings[n_strings]) {
        n_strings++;
    }
    CHECK_INT(stop_init(&m, c->strings, n_strings, &err), 0);
    char shown[64] = "";
    size_t n_shown = 0, length = strlen(c->text), begin = 0;
    const char *out;
    size_t n_out;
    int found = 0;
    while (begin < length) {
        size_t end = begin + 1;
        while (end < length && !(cuts >> (end - 1) & 1)) {
            end++;
        }
        int result = stop_put(&m, c->text + begin, end - begin, &out, &n_out, &err);
        CHECK_THAT(result >= found, "stop_put gave %d after %d", result, found);
        found = result;
        memcpy(shown + n_shown, out ? out : "", n_out);
        n_shown += n_out;
        begin = end;
    }
    stop_flush(&m, &out, &n_out);
    memcpy(shown + n_shown, out ? out : "", n_out);
    shown[n_shown + n_out] = '\0';
    CHECK_TEXT(shown, c->shown);
    CHECK_INT(found, c->found);
    stop_flush(&m, &out, &n_out);
    CHECK_INT(n_out, 0);
    stop_free(&m);
}

/* Text that cannot become a stop string is shown at once. */
static void test_promptness(void)
{
    static const char *const strings[] = {"###"};
    struct stop_matcher m;
    struct error err;
    const char *out;
    size_t n_out;
    CHECK_INT(stop_init(&m, strings, 1, &err), 0);
    CHECK_INT(stop_put(&m, "ab#", 3, &out, &n_out, &err), 0);
    CHECK_INT(n_out, 2);
    CHECK_INT(stop_put(&m, "#c#", 3, &out, &n_out, &err), 0);
    CHECK_THAT(n_out == 3 && memcmp(out, "##c", 3) == 0, "%zu bytes \"%.*s\"", n_out, (int)n_out, out);
    CHECK_INT(stop_put(&m, "\0#", 2, &out, &n_out, &err), 0);
    CHECK_THAT(n_out == 2 && memcmp(out, "#\0", 2) == 0, "%zu bytes", n_out);
    CHECK_INT(stop_put(&m, "##d", 3, &out, &n_out, &err), 1);
    CHECK_INT(n_out, 0);
    CHECK_INT(stop_put(&m, "more", 4, &out, &n_out, &err), 1);
    CHECK_INT(n_out, 0);
    stop_free(&m);
    stop_free(&m);
}

/* A long repetitive stop string and a long text of near misses: work per byte must not grow with either. */
static void test_speed(void)
{
    enum { STRING = 4000, TEXT = 1000000 };
    char *string = malloc(STRING + 1), *text = malloc(TEXT);
    if (!string || !text) {
        exit(1);
    }
    memset(string, 'a', STRING);
    string[STRING - 1] = 'b';
    string[STRING] = '\0';
    memset(text, 'a', TEXT);
    const char *const strings[] = {string};
    struct stop_matcher m;
    struct error err;
    CHECK_INT(stop_init(&m, strings, 1, &err), 0);
    double start = clock_now_s();
    size_t shown = 0, n_out;
    const char *out;
    for (int i = 0; i < TEXT; i += 10) {
        CHECK_INT(stop_put(&m, text + i, 10, &out, &n_out, &err), 0);
        shown += n_out;
    }
    stop_flush(&m, &out, &n_out);
    CHECK_INT(shown + n_out, TEXT);
    double seconds = clock_now_s() - start;
    CHECK_THAT(seconds < 1, "%.3f s", seconds); /* 20 ms; comparing anew at every place would take seconds */
    stop_free(&m);
    free(string);
    free(text);
}

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run_case(&cases[i], 0);
        run_case(&cases[i], ~0u);
        for (unsigned cuts = 1; cuts < 0x20000; cuts += 977) {
            run_case(&cases[i], cuts);
        }
    }
    test_promptness();
    test_speed();
    return check_result();
}
