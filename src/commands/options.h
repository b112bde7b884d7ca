/* Command-line options as a table: parse with a message for everything that is wrong, and print the help.
 * SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_OPTIONS_H
#define SRC_COMMANDS_OPTIONS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "src/core/error.h"

enum option_kind {
    OPTION_GROUP, /* a heading in the help; only `help` is used */
    OPTION_FLAG,  /* int: 1 when given */
    OPTION_TEXT,  /* const char * (borrowed from argv) */
    OPTION_TEXTS, /* struct option_texts: may be given several times */
    OPTION_INT,   /* int32_t in [low, high] */
    OPTION_SEED,  /* int64_t: 0 .. 2^63-1 */
    OPTION_FLOAT, /* float in [low, high] */
    OPTION_BYTES, /* uint64_t: number with K, M, G or T (powers of 1000; KiB ... of 1024) */
    OPTION_INTS,  /* struct option_ints: comma-separated, each in [low, high] */
    OPTION_CHOICE /* int: index in the space-separated list `choices` */
};

struct option_texts {
    const char **texts; /* [n] owned */
    int n;
};
struct option_ints {
    int32_t *values; /* [n] owned */
    int32_t n;
    int given;
};

struct option {
    const char *names; /* "-n --predict": any of them */
    enum option_kind kind;
    size_t offset; /* of the field in the command's options struct */
    double low, high;
    const char *choices;
    const char *value; /* what the help calls the value: "N", "FILE"; NULL for flags */
    const char *help;  /* with unit and default */
};

/* Applies argv[first..argc) to *options by the table (ended by an entry with kind OPTION_GROUP and help NULL). --name=value and
 * --name value both work. The first thing that is wrong makes *err: unknown option (with what to use instead, or the nearest
 * known one), missing or bad value with what was expected. */
int options_parse(const struct option *table, void *options, int argc, char **argv, int first, struct error *err);
/* Frees what lists own. */
void options_free(const struct option *table, void *options);

/* Groups, names, values, help. */
void options_print_help(FILE *out, const char *usage, const struct option *table);

#endif
