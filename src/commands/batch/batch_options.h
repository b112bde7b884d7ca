/* Options of `llm batch`. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_BATCH_BATCH_OPTIONS_H
#define SRC_COMMANDS_BATCH_BATCH_OPTIONS_H

#include "src/commands/common_options.h"

struct batch_options {
    struct common_options common;
    const char *input, *output; /* "-" = standard input, standard output */
    int unordered;
};

/* Defaults, then the command line, then what follows from it. *o must be freed whatever the result. */
int batch_options_parse(struct batch_options *o, int argc, char **argv, int first, struct error *err);
void batch_options_free(struct batch_options *o);
void batch_options_help(FILE *out);

#endif
