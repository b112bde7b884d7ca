/* One message about something the user can mend; fatal() for what the machine broke. SPDX-License-Identifier: MIT */
#ifndef SRC_CORE_ERROR_H
#define SRC_CORE_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/* Text of the first thing that went wrong; empty when nothing did. Zeroed is valid. */
struct error {
    char text[1024];
};

/* Formats the message into *err (NULL allowed: then nothing is kept). Always returns -1, so that
 * `return error_set(err, ...)` reads as what it is. The text names the thing, what was found and what was expected. */
int error_set(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "format: " before the text that is already in *err (file names, rank), unless it begins so already. Always returns -1. */
int error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The machine's errors while running. Prints one line on stderr and calls the hook (MPI_Abort under MPI, else exit(1)). */
void fatal(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Who prints and how the process ends. prefix: borrowed for ever, e.g. "llm: rank 2 (jetson3)". end: NULL = exit(1). */
typedef void (*fatal_end_fn)(void);
void fatal_set_hook(const char *prefix, fatal_end_fn end);

#ifdef __cplusplus
}
#endif
#endif
