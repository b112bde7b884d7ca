/* Options of `llm run`. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_RUN_OPTIONS_H
#define SRC_COMMANDS_RUN_OPTIONS_H

#include "src/commands/common_options.h"

struct run_options {
    struct common_options common;
    const char *prompt, *prompt_file, *logits_path;
    struct option_ints ids;
    int json;
};

/* Defaults, then the command line, then what follows from it. *o must be freed whatever the result. */
int run_options_parse(struct run_options *o, int argc, char **argv, int first, struct error *err);
void run_options_free(struct run_options *o);
void run_options_help(FILE *out);

#endif
