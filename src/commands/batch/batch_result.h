/* One line of results. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_BATCH_BATCH_RESULT_H
#define SRC_COMMANDS_BATCH_BATCH_RESULT_H

#include "src/commands/batch/batch_request.h"

/* The line for a request that has ended or was refused, with its newline: *n bytes, the caller's to free. OpenAI's form for its
 * requests (and for lines that could not be read), the short one for the others. model: name that completions are given as from;
 * created: seconds since 1970. NULL when out of memory. */
char *batch_result_line(const struct batch_request *b, const char *model, int64_t created, size_t *n);

#endif
