/* SPDX-License-Identifier: MIT */
#include "src/commands/options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/commands/option_hints.h"

static int table_ends(const struct option *o)
{
    return o->kind == OPTION_GROUP && !o->help;
}

/* Whether the space-separated list holds the word of n bytes; its index, or -1. */
static int word_index(const char *list, const char *word, size_t n)
{
    for (int i = 0; *list; i++) {
        size_t length = strcspn(list, " ");
        if (length == n && memcmp(list, word, n) == 0) {
            return i;
        }
        list += length + (list[length] == ' ');
    }
    return -1;
}

static const struct option *find(const struct option *table, const char *name, size_t n)
{
    for (; !table_ends(table); table++) {
        if (table->kind != OPTION_GROUP && word_index(table->names, name, n) >= 0) {
            return table;
        }
    }
    return NULL;
}

/* Edits that turn one name into the other (Levenshtein), for short names. */
static int distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
    enum { MAX = 40 };
    int row[MAX + 1];
    if (n_a > MAX || n_b > MAX) {
        return MAX;
    }
    for (size_t j = 0; j <= n_b; j++) {
        row[j] = (int)j;
    }
    for (size_t i = 1; i <= n_a; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= n_b; j++) {
            int best = diagonal + (a[i - 1] != b[j - 1]);
            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[n_b];
}

static int unknown(const struct option *table, const char *name, size_t n, struct error *err)
{
    const char *nearest = NULL;
    size_t nearest_n = 0;
    int best = n < 5 ? 0 : n < 9 ? 2 : 3; /* edits that may still be a slip: none in a short name */
    best++;
    const char *hint = option_hint(name, n);
    if (hint) {
        return error_set(err, "unknown option %.*s; %s", (int)n, name, hint);
    }
    for (; !table_ends(table); table++) {
        for (const char *p = table->kind == OPTION_GROUP ? "" : table->names; *p;) {
            size_t length = strcspn(p, " ");
            int d = distance(p, length, name, n);
            if (d < best) {
                best = d;
                nearest = p;
                nearest_n = length;
            }
            p += length + (p[length] == ' ');
        }
    }
    if (nearest) {
        return error_set(err, "unknown option %.*s; did you mean %.*s? (--help lists all)", (int)n, name, (int)nearest_n,
                         nearest);
    }
    return error_set(err, "unknown option %.*s (--help lists all)", (int)n, name);
}

static int parse_number(const char *text, double *out)
{
    char *end;
    errno = 0;
    *out = strtod(text, &end);
    return end == text || *end || errno == ERANGE || isnan(*out) ? -1 : 0;
}

static int parse_integer(const char *text, long long *out)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return end == text || *end || errno == ERANGE ? -1 : 0;
}

static int parse_int(const struct option *o, const char *name, const char *text, int32_t *out, struct error *err)
{
    long long n;
    if (parse_integer(text, &n) || (double)n < o->low || (double)n > o->high) {
        return error_set(err, "%s is \"%s\", expected a whole number from %.0f to %.0f", name, text, o->low, o->high);
    }
    *out = (int32_t)n;
    return 0;
}

static int parse_bytes(const char *name, const char *text, uint64_t *out, struct error *err)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    double n = strtod(text, &end);
    const char *unit = isalpha((unsigned char)*end) ? strchr(units, toupper((unsigned char)*end)) : NULL;
    const char *after = unit ? end + 1 : end;
    int binary = unit && strcasecmp(after, "iB") == 0;
    double factor = 1;
    for (const char *u = units; unit && u <= unit; u++) {
        factor *= binary ? 1024 : 1000;
    }
    if (end == text || errno == ERANGE || !(n >= 0) || n * factor > 1e18 || (*after && !binary && strcasecmp(after, "B") != 0)) {
        return error_set(err, "%s is \"%s\", expected a number of bytes such as 800M, 4G or 4GiB", name, text);
    }
    *out = (uint64_t)(n * factor);
    return 0;
}

static int parse_ints(const struct option *o, const char *name, const char *text, struct option_ints *out, struct error *err)
{
    int32_t n = *text != 0;
    for (const char *p = text; *p; p++) {
        n += *p == ',';
    }
    free(out->values);
    out->values = calloc((size_t)n + 1, sizeof *out->values);
    out->n = n;
    out->given = 1;
    if (!out->values) {
        return error_set(err, "out of memory");
    }
    const char *p = text;
    for (int32_t i = 0; i < n; i++) {
        char *end;
        errno = 0;
        long long value = strtoll(p, &end, 10);
        if (end == p || (*end && *end != ',') || errno == ERANGE || (double)value < o->low || (double)value > o->high) {
            return error_set(err, "%s is \"%s\", expected whole numbers from %.0f to %.0f with commas between them", name, text,
                             o->low, o->high);
        }
        out->values[i] = (int32_t)value;
        p = end + 1;
    }
    return 0;
}

static int add_text(struct option_texts *list, const char *text, struct error *err)
{
    const char **texts = realloc(list->texts, sizeof *texts * (size_t)(list->n + 1));
    if (!texts) {
        return error_set(err, "out of memory");
    }
    list->texts = texts;
    list->texts[list->n++] = text;
    return 0;
}

static int parse_value(const struct option *o, const char *name, const char *text, void *field, struct error *err)
{
    long long integer;
    double number;
    switch (o->kind) {
    case OPTION_TEXT: *(const char **)field = text; return 0;
    case OPTION_TEXTS: return add_text(field, text, err);
    case OPTION_INT: return parse_int(o, name, text, field, err);
    case OPTION_INTS: return parse_ints(o, name, text, field, err);
    case OPTION_BYTES: return parse_bytes(name, text, field, err);
    case OPTION_SEED:
        if (parse_integer(text, &integer) || integer < 0) {
            return error_set(err, "%s is \"%s\", expected a whole number from 0 to 9223372036854775807", name, text);
        }
        *(int64_t *)field = integer;
        return 0;
    case OPTION_FLOAT:
        if (parse_number(text, &number) || number < o->low || number > o->high) {
            return error_set(err, "%s is \"%s\", expected a number from %g to %g", name, text, o->low, o->high);
        }
        *(float *)field = (float)number;
        return 0;
    default: /* OPTION_CHOICE */
        *(int *)field = word_index(o->choices, text, strlen(text));
        return *(int *)field < 0 ? error_set(err, "%s is \"%s\", expected one of: %s", name, text, o->choices) : 0;
    }
}

int options_parse(const struct option *table, void *options, int argc, char **argv, int first, struct error *err)
{
    for (int i = first; i < argc; i++) {
        const char *name = argv[i], *equals = strncmp(name, "--", 2) == 0 ? strchr(name, '=') : NULL;
        size_t n = equals ? (size_t)(equals - name) : strlen(name);
        if (name[0] != '-' || n < 2) {
            return error_set(err, "\"%s\" is no option (--help lists all)", name);
        }
        const struct option *o = find(table, name, n);
        if (!o) {
            return unknown(table, name, n, err);
        }
        char shown[64];
        snprintf(shown, sizeof shown, "%.*s", (int)n, name);
        void *field = (char *)options + o->offset;
        if (o->kind == OPTION_FLAG) {
            if (equals) {
                return error_set(err, "%s takes no value", shown);
            }
            *(int *)field = 1;
            continue;
        }
        if (!equals && i + 1 == argc) {
            return error_set(err, "%s needs a value (%s)", shown, o->value);
        }
        if (parse_value(o, shown, equals ? equals + 1 : argv[++i], field, err)) {
            return -1;
        }
    }
    return 0;
}

void options_free(const struct option *table, void *options)
{
    for (; !table_ends(table); table++) {
        void *field = (char *)options + table->offset;
        if (table->kind == OPTION_TEXTS) {
            free(((struct option_texts *)field)->texts);
        } else if (table->kind == OPTION_INTS) {
            free(((struct option_ints *)field)->values);
        }
    }
}

void options_print_help(FILE *out, const char *usage, const struct option *table)
{
    enum { HELP_COLUMN = 30 };
    fputs(usage, out);
    for (; !table_ends(table); table++) {
        if (table->kind == OPTION_GROUP) {
            fprintf(out, "\n%s\n", table->help);
            continue;
        }
        char left[96];
        int at = snprintf(left, sizeof left, "  ");
        for (const char *p = table->names; *p && at < (int)sizeof left; p++) {
            at += snprintf(left + at, sizeof left - (size_t)at, *p == ' ' ? ", " : "%c", *p);
        }
        if (table->value && at < (int)sizeof left) {
            at += snprintf(left + at, sizeof left - (size_t)at, " %s", table->value);
        }
        fprintf(out, "%-*s", HELP_COLUMN, left);
        if (at >= HELP_COLUMN) {
            fprintf(out, "\n%*s", HELP_COLUMN, "");
        }
        fprintf(out, "%s\n", table->help);
    }
}
