/* SPDX-License-Identifier: MIT */
#include "src/core/log.h"

#include <stdarg.h>
#include <stdio.h>

static enum log_level log_level = LOG_NORMAL;

void log_set_level(enum log_level level)
{
    log_level = level;
}

enum log_level log_get_level(void)
{
    return log_level;
}

/* One write a line, so that lines of several ranks do not interleave. */
static void log_line(const char *format, va_list args)
{
    char text[2048];
    int n = snprintf(text, sizeof text, "llm: ");
    vsnprintf(text + n, sizeof text - (size_t)n, format, args);
    fprintf(stderr, "%s\n", text);
}

void log_info(const char *format, ...)
{
    if (log_level < LOG_NORMAL) {
        return;
    }
    va_list args;
    va_start(args, format);
    log_line(format, args);
    va_end(args);
}

void log_verbose(const char *format, ...)
{
    if (log_level < LOG_VERBOSE) {
        return;
    }
    va_list args;
    va_start(args, format);
    log_line(format, args);
    va_end(args);
}

void log_warn(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_line(format, args);
    va_end(args);
}
