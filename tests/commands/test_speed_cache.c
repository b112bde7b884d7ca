/* The cache of measured speeds: keys, damaged files, places. SPDX-License-Identifier: MIT */
#include "src/plan/speed_cache.h"

#include <ftw.h>
#include <unistd.h>

#include "tests/check.h"

static const struct speed EXAMPLE = {.n_points = 3,
                                     .rows = {1, 4, 32},
                                     .layer_s = {1e-3, 2e-3, 3e-3},
                                     .tile_s = {1e-5, 1.5e-5, 2.5e-5},
                                     .layer_bytes = 123456,
                                     .step_s = 1e-6,
                                     .head_step_s = 2e-6,
                                     .pair_s = 3e-8,
                                     .chunk_pair_s = 1.0 / 3e9,
                                     .sample_s = 5e-5};

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    CHECK_THAT(f != NULL, "%s cannot be written", path);
    if (f) {
        fputs(text, f);
        fclose(f);
    }
}

static void check_places(const char *folder)
{
    char path[512], expected[512];
    setenv("XDG_CACHE_HOME", folder, 1);
    CHECK_INT(speed_cache_path("a", path, sizeof path), 0);
    snprintf(expected, sizeof expected, "%s/llm/speed/af63dc4c8601ec8c.json", folder);
    CHECK_TEXT(path, expected);
    setenv("XDG_CACHE_HOME", "relative", 1); /* the specification says to ignore it */
    setenv("HOME", "/home/x", 1);
    CHECK_INT(speed_cache_path("a", path, sizeof path), 0);
    CHECK_TEXT(path, "/home/x/.cache/llm/speed/af63dc4c8601ec8c.json");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    CHECK_INT(speed_cache_path("a", path, sizeof path), -1);
    setenv("XDG_CACHE_HOME", folder, 1);
    CHECK_INT(speed_cache_path("a", path, 20), -1);
}

static void check_keys(const char *key)
{
    char path[512], other[512];
    struct speed found;
    speed_cache_path(key, path, sizeof path);
    speed_cache_path("another key", other, sizeof other);
    CHECK_THAT(strcmp(path, other) != 0, "two keys, one file: %s", path);
    CHECK_INT(speed_cache_load(path, key, &found), 0);
    speed_cache_save(path, key, &EXAMPLE);
    CHECK_INT(speed_cache_load(path, key, &found), 1);
    CHECK_THAT(memcmp(&found, &EXAMPLE, sizeof found) == 0, "what was saved came back otherwise");
    /* Two keys of the same hash: the text decides. */
    CHECK_INT(speed_cache_load(path, "another key", &found), 0);
    CHECK_INT(found.n_points, 0);
}

static void check_damage(const char *key)
{
    static const char head[] = "{\"key\": \"a key\", \"layer_bytes\": 1, \"step_s\": 0, \"head_step_s\": 0, \"pair_s\": 0, "
                               "\"chunk_pair_s\": 0, \"sample_s\": 0";
    static const char *const bad[] = {
        "\"rows\": [1], \"layer_s\": [1e-3], \"tile_s\": [0]}",
        "\"rows\": [1], \"layer_s\": [-1e-3], \"tile_s\": [1]}",
        "\"rows\": [2], \"layer_s\": [1e-3], \"tile_s\": [1]}",
        "\"rows\": [1, 1], \"layer_s\": [1, 2], \"tile_s\": [1, 2]}",
        "\"rows\": [1, 2], \"layer_s\": [1], \"tile_s\": [1, 2]}",
        "\"rows\": [], \"layer_s\": [], \"tile_s\": []}",
        "\"rows\": [1], \"layer_s\": [\"fast\"], \"tile_s\": [1]}",
        "\"rows\": [1], \"layer_s\": [1], \"tile_s\": [1], \"pair_s\": -1}",
        "\"rows\": [1], \"layer_s\": [1], \"tile_s\": [1], \"layer_bytes\": 0}",
        ("\"rows\": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17], \"layer_s\": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17], \"tile_s\": "
         "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}"),
    };
    char path[512], text[1024];
    struct speed found;
    speed_cache_path(key, path, sizeof path);
    snprintf(text, sizeof text, "%s, \"rows\": [1], \"layer_s\": [1], \"tile_s\": [1]}", head);
    write_file(path, text);
    CHECK_INT(speed_cache_load(path, key, &found), 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "%s, %s", head, bad[i]);
        write_file(path, text);
        CHECK_THAT(speed_cache_load(path, key, &found) == 0, "taken: %s", bad[i]);
    }
    write_file(path, "");
    CHECK_INT(speed_cache_load(path, key, &found), 0);
    write_file(path, "[1, 2");
    CHECK_INT(speed_cache_load(path, key, &found), 0);
    speed_cache_save(path, key, &EXAMPLE);
    CHECK_INT(speed_cache_load(path, key, &found), 1);
    /* A place that cannot be: no error, no figures. */
    speed_cache_save("/proc/no/such/place.json", key, &EXAMPLE);
    CHECK_INT(speed_cache_load("/proc/no/such/place.json", key, &found), 0);
}

int main(void)
{
    char folder[] = "/tmp/speed_cache_XXXXXX";
    if (!mkdtemp(folder)) {
        perror(folder);
        return 1;
    }
    check_places(folder);
    check_keys("a key");
    check_damage("a key");
    nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    return check_result();
}
