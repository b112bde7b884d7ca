/* Lines for people on stderr. stdout carries results only. SPDX-License-Identifier: MIT */
#ifndef SRC_CORE_LOG_H
#define SRC_CORE_LOG_H

enum log_level { LOG_QUIET, LOG_NORMAL, LOG_VERBOSE };

void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* One line, "llm: ..." , at LOG_NORMAL and above; log_verbose only at LOG_VERBOSE; log_warn at every level. */
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_verbose(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
