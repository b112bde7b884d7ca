/* SPDX-License-Identifier: MIT */
#include "kernels/board.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/sim/profiles.h"

enum { PROFILE_MAX_BYTES = 65536 };

/* A line "key = value" that a profile must have once; value is filled in by the reader. */
struct field {
    const char *key;
    double low, high;
    double value;
    int line; /* 0 = not seen yet */
};

/* What a text is called in messages. */
struct source {
    const char *name;
    const char *text;
    const struct field *fields;
    int n_fields;
};

static void list_keys(const struct source *s, char *out, size_t size)
{
    size_t n = 0;
    out[0] = 0;
    for (int i = 0; i < s->n_fields && n < size; i++) {
        n += (size_t)snprintf(out + n, size - n, "%s%s", i ? ", " : "", s->fields[i].key);
    }
}

static int read_value(const struct source *s, int line, struct field *field, const char *text, struct error *err)
{
    char *end;
    double value = strtod(text, &end);
    while (isspace((unsigned char)*end)) {
        end++;
    }
    if (end == text || (*end && *end != '#')) {
        return error_set(err, "%s:%d: %s is \"%s\", expected a number", s->name, line, field->key, text);
    }
    if (!(value >= field->low && value <= field->high)) {
        return error_set(err, "%s:%d: %s is %g, expected %g to %g", s->name, line, field->key, value, field->low, field->high);
    }
    field->value = value;
    field->line = line;
    return 0;
}

/* text: one line, without its end; changed. */
static int read_line(const struct source *s, int line, char *text, struct field *fields, struct error *err)
{
    while (isspace((unsigned char)*text)) {
        text++;
    }
    for (size_t n = strlen(text); n && isspace((unsigned char)text[n - 1]); n--) {
        text[n - 1] = 0;
    }
    if (!*text || *text == '#') {
        return 0;
    }
    char *equals = strchr(text, '=');
    if (!equals) {
        return error_set(err, "%s:%d: \"%.60s\", expected KEY = NUMBER", s->name, line, text);
    }
    size_t n_key = (size_t)(equals - text);
    while (n_key && isspace((unsigned char)text[n_key - 1])) {
        n_key--;
    }
    text[n_key] = 0;
    char *value = equals + 1;
    while (isspace((unsigned char)*value)) {
        value++;
    }
    for (int i = 0; i < s->n_fields; i++) {
        if (strcmp(fields[i].key, text) == 0) {
            return fields[i].line ? error_set(err, "%s:%d: %s is there already, in line %d", s->name, line, text, fields[i].line)
                                  : read_value(s, line, &fields[i], value, err);
        }
    }
    char keys[256];
    list_keys(s, keys, sizeof keys);
    return error_set(err, "%s:%d: unknown key \"%.60s\", known: %s", s->name, line, text, keys);
}

static int read_fields(const struct source *s, struct field *fields, struct error *err)
{
    char line[1024];
    int number = 1;
    for (const char *at = s->text; *at; number++) {
        size_t n = strcspn(at, "\n");
        if (n >= sizeof line) {
            return error_set(err, "%s:%d: the line has %zu bytes, expected less than %zu", s->name, number, n, sizeof line);
        }
        memcpy(line, at, n);
        line[n] = 0;
        if (read_line(s, number, line, fields, err)) {
            return -1;
        }
        at += n + (at[n] == '\n');
    }
    for (int i = 0; i < s->n_fields; i++) {
        if (!fields[i].line) {
            return error_set(err, "%s: the key %s is missing", s->name, fields[i].key);
        }
    }
    return 0;
}

/* The whole file, owned by the caller; NULL and *err when it cannot be read. */
static char *read_file(const char *path, struct error *err)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        error_set(err, "%s: cannot be opened: %s", path, strerror(errno));
        return NULL;
    }
    char *text = malloc(PROFILE_MAX_BYTES + 1);
    size_t n = text ? fread(text, 1, PROFILE_MAX_BYTES + 1, file) : 0;
    int failed = ferror(file);
    fclose(file);
    if (!text || failed || n > PROFILE_MAX_BYTES) {
        free(text);
        error_set(err, failed ? "%s: cannot be read" : "%s: a profile is a text of at most 64 kB", path);
        return NULL;
    }
    text[n] = 0;
    return text;
}

/* "folder/name.board" -> "name" */
static void short_name(const char *path, char *out)
{
    const char *slash = strrchr(path, '/');
    snprintf(out, BOARD_NAME_MAX, "%s", slash ? slash + 1 : path);
    char *dot = strrchr(out, '.');
    if (dot && dot != out && (strcmp(dot, ".board") == 0 || strcmp(dot, ".link") == 0)) {
        *dot = 0;
    }
}

/* A name without / and .board or .link is one that comes with the program. */
static int is_path(const char *name)
{
    size_t n = strlen(name);
    return strchr(name, '/') != NULL || (n > 6 && strcmp(name + n - 6, ".board") == 0) ||
           (n > 5 && strcmp(name + n - 5, ".link") == 0);
}

static int find_fields(const char *name, const char *what, const struct board_profile *profiles, const char *names,
                       struct field *fields, int n_fields, struct error *err)
{
    struct source source = {.name = name, .fields = fields, .n_fields = n_fields};
    if (is_path(name)) {
        char *text = read_file(name, err);
        source.text = text;
        int status = text ? read_fields(&source, fields, err) : -1;
        free(text);
        return status;
    }
    for (; profiles->name; profiles++) {
        if (strcmp(profiles->name, name) == 0) {
            source.text = profiles->text;
            return read_fields(&source, fields, err);
        }
    }
    return error_set(err, "unknown %s \"%s\", known: %s (or the path of a file)", what, name, names);
}

int board_find(const char *name, struct board *out, struct error *err)
{
    enum { BANDWIDTH, BANDWIDTH_SHARE, OPS, OPS_SHARE, STEP, LAUNCH, MEMORY, N_FIELDS };
    struct field fields[N_FIELDS] = {
        [BANDWIDTH] = {.key = "bandwidth_bytes_per_s", .low = 1e6, .high = 1e15},
        [BANDWIDTH_SHARE] = {.key = "bandwidth_share", .low = 0.01, .high = 1},
        [OPS] = {.key = "int8_ops_per_s", .low = 1e6, .high = 1e18},
        [OPS_SHARE] = {.key = "int8_share", .low = 0.01, .high = 1},
        [STEP] = {.key = "step_us", .low = 0, .high = 1e6},
        [LAUNCH] = {.key = "launch_us", .low = 0, .high = 1e6},
        [MEMORY] = {.key = "memory_bytes", .low = 1e6, .high = 1e15},
    };
    if (find_fields(name, "board", board_profiles, board_profile_names, fields, N_FIELDS, err)) {
        return -1;
    }
    *out = (struct board){.bytes_per_s = fields[BANDWIDTH].value * fields[BANDWIDTH_SHARE].value,
                          .ops_per_s = fields[OPS].value * fields[OPS_SHARE].value,
                          .step_s = fields[STEP].value * 1e-6,
                          .launch_s = fields[LAUNCH].value * 1e-6,
                          .memory_bytes = (uint64_t)fields[MEMORY].value};
    short_name(name, out->name);
    return 0;
}

int board_link_find(const char *name, struct board_link *out, struct error *err)
{
    enum { LATENCY, RATE, N_FIELDS };
    struct field fields[N_FIELDS] = {
        [LATENCY] = {.key = "latency_us", .low = 0, .high = 1e7},
        [RATE] = {.key = "bytes_per_s", .low = 1e3, .high = 1e15},
    };
    if (find_fields(name, "link", link_profiles, link_profile_names, fields, N_FIELDS, err)) {
        return -1;
    }
    *out = (struct board_link){.latency_s = fields[LATENCY].value * 1e-6, .bytes_per_s = fields[RATE].value};
    short_name(name, out->name);
    return 0;
}

const char *board_names(void)
{
    return board_profile_names;
}

const char *board_link_names(void)
{
    return link_profile_names;
}

double board_operation_s(const struct board *b, double bytes, double ops)
{
    double read_s = bytes / b->bytes_per_s, compute_s = ops / b->ops_per_s;
    return b->launch_s + (read_s > compute_s ? read_s : compute_s);
}
