/* SPDX-License-Identifier: MIT */
#include "src/plan/speed_cache.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int speed_cache_path(const char *key, char *path, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (const char *c = key; *c; c++) {
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    }
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int given = cache && cache[0] == '/';
    if (!given && (!home || !*home)) {
        return -1;
    }
    int n = snprintf(path, size, "%s%s/llm/speed/%016llx.json", given ? cache : home, given ? "" : "/.cache",
                     (unsigned long long)hash);
    return n > 0 && (size_t)n < size ? 0 : -1;
}

/* The times of a speed, by name. */
static void times_of(struct speed *s, double *times[6])
{
    double *all[] = {&s->layer_bytes, &s->step_s, &s->head_step_s, &s->pair_s, &s->chunk_pair_s, &s->sample_s};
    memcpy(times, all, sizeof all);
}
static const char *const time_names[] = {"layer_bytes", "step_s", "head_step_s", "pair_s", "chunk_pair_s", "sample_s"};
enum { N_TIMES = sizeof time_names / sizeof *time_names };

static int read_number(const json_t *value, double *out)
{
    *out = json_number_value(value);
    return json_is_number(value) && isfinite(*out) && *out >= 0 ? 0 : -1;
}

static int read_speed(const json_t *root, const char *key, struct speed *out)
{
    const char *found = json_string_value(json_object_get(root, "key"));
    const json_t *rows = json_object_get(root, "rows"), *layers = json_object_get(root, "layer_s");
    const json_t *tiles = json_object_get(root, "tile_s");
    size_t n = json_array_size(rows);
    double *times[N_TIMES];
    memset(out, 0, sizeof *out);
    if (!found || strcmp(found, key) != 0 || n < 1 || n > SPEED_POINTS || json_array_size(layers) != n ||
        json_array_size(tiles) != n) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        json_int_t row = json_integer_value(json_array_get(rows, i));
        if (row < 1 || row > 65536 || (i > 0 && row <= out->rows[i - 1]) || (i == 0 && row != 1) ||
            read_number(json_array_get(layers, i), &out->layer_s[i]) || read_number(json_array_get(tiles, i), &out->tile_s[i]) ||
            out->layer_s[i] == 0 || out->tile_s[i] == 0) {
            return -1;
        }
        out->rows[i] = (int32_t)row;
    }
    times_of(out, times);
    for (size_t i = 0; i < N_TIMES; i++) {
        if (read_number(json_object_get(root, time_names[i]), times[i])) {
            return -1;
        }
    }
    out->n_points = (int32_t)n;
    return out->layer_bytes > 0 ? 0 : -1;
}

int speed_cache_load(const char *path, const char *key, struct speed *out)
{
    json_t *root = json_load_file(path, 0, NULL);
    int good = root && read_speed(root, key, out) == 0;
    json_decref(root);
    if (!good) {
        memset(out, 0, sizeof *out);
    }
    return good;
}

static void make_folders(const char *path)
{
    char folder[1024];
    snprintf(folder, sizeof folder, "%s", path);
    for (char *slash = strchr(folder + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(folder, 0777);
        *slash = '/';
    }
}

void speed_cache_save(const char *path, const char *key, const struct speed *speed)
{
    struct speed copy = *speed;
    double *times[N_TIMES];
    times_of(&copy, times);
    json_t *rows = json_array(), *layers = json_array(), *tiles = json_array();
    for (int32_t i = 0; i < speed->n_points; i++) {
        json_array_append_new(rows, json_integer(speed->rows[i]));
        json_array_append_new(layers, json_real(speed->layer_s[i]));
        json_array_append_new(tiles, json_real(speed->tile_s[i]));
    }
    json_t *root = json_pack("{s:s,s:o,s:o,s:o}", "key", key, "rows", rows, "layer_s", layers, "tile_s", tiles);
    for (size_t i = 0; root && i < N_TIMES; i++) {
        json_object_set_new(root, time_names[i], json_real(*times[i]));
    }
    char temporary[1100];
    make_folders(path);
    snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
    if (root && json_dump_file(root, temporary, JSON_INDENT(1)) == 0) {
        rename(temporary, path);
    }
    unlink(temporary);
    json_decref(root);
}
