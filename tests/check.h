/* Assertions for tests: print both values, count failures, go on. SPDX-License-Identifier: MIT */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_failures;

#define CHECK_THAT(condition, ...)                                          \
    do {                                                                    \
        if (!(condition)) {                                                 \
            check_failures++;                                               \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__);                                   \
            fputc('\n', stderr);                                            \
        }                                                                   \
    } while (0)

#define CHECK_INT(found, expected)                                                               \
    do {                                                                                         \
        long long found_ = (long long)(found), expected_ = (long long)(expected);                \
        CHECK_THAT(found_ == expected_, "%s is %lld, expected %lld", #found, found_, expected_); \
    } while (0)

#define CHECK_TEXT(found, expected)                                                                             \
    do {                                                                                                        \
        const char *found_ = (found), *expected_ = (expected);                                                  \
        CHECK_THAT(strcmp(found_, expected_) == 0, "%s is \"%s\", expected \"%s\"", #found, found_, expected_); \
    } while (0)

/* Exit status of main. */
static inline int check_result(void)
{
    if (check_failures) {
        fprintf(stderr, "%d checks failed\n", check_failures);
    }
    return check_failures ? 1 : 0;
}

/* Folder of test data made by others, or exit 77 when it is not there. */
static inline const char *check_shared_data(void)
{
    const char *folder = getenv("LLM_SHARED_DATA");
    folder = folder ? folder : "../shared/data";
    char readme[1024];
    snprintf(readme, sizeof readme, "%s/README.md", folder);
    FILE *f = fopen(readme, "rb");
    if (!f) {
        fprintf(stderr, "skipped: no test data in %s\n", folder);
        exit(77);
    }
    fclose(f);
    return folder;
}

#endif
