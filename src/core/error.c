/* SPDX-License-Identifier: MIT */
#include "src/core/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *fatal_prefix = "llm";
static fatal_end_fn fatal_end;

int error_set(struct error *err, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
    }
    return -1;
}

int error_prefix(struct error *err, const char *format, ...)
{
    if (err) {
        struct error before = *err;
        va_list args;
        va_start(args, format);
        int n = vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        size_t used = n < 0 ? 0 : (size_t)n;
        if (strncmp(before.text, err->text, used) == 0 && before.text[used] == ':') {
            *err = before; /* it says so already */
        } else if (used + 3 < sizeof err->text) {
            snprintf(err->text + used, sizeof err->text - used, ": %.*s", (int)(sizeof err->text - used - 3), before.text);
        }
    }
    return -1;
}

void fatal(const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "%s: %s\n", fatal_prefix, text);
    fflush(stderr);
    if (fatal_end) {
        fatal_end();
    }
    exit(1);
}

void fatal_set_hook(const char *prefix, fatal_end_fn end)
{
    fatal_prefix = prefix;
    fatal_end = end;
}
