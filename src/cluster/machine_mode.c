/* SPDX-License-Identifier: MIT */
#include "src/cluster/machine_mode.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 512, LINE_BYTES = 256 };

/* Appends "label value; ", control characters as spaces. */
static void append(char *text, size_t size, const char *label, const char *value)
{
    size_t n = strlen(text), length = strcspn(value, "\n");
    if (length == 0 || n + strlen(label) + length + 4 > size) {
        return;
    }
    snprintf(text + n, size - n, "%s %.*s; ", label, (int)length, value);
}

/* First line of a file, "" when there is none. */
static void read_line(const char *path, char line[LINE_BYTES])
{
    line[0] = '\0';
    FILE *f = fopen(path, "r");
    if (f) {
        if (!fgets(line, LINE_BYTES, f)) {
            line[0] = '\0';
        }
        fclose(f);
    }
}

static void append_file(char *text, size_t size, const char *label, const char *root, const char *path)
{
    char full[PATH_BYTES], line[LINE_BYTES];
    snprintf(full, sizeof full, "%s%s", root, path);
    read_line(full, line);
    append(text, size, label, line);
}

/* Every file that the pattern finds, in the order of their names. */
static void append_glob(char *text, size_t size, const char *label, const char *root, const char *pattern)
{
    char full[PATH_BYTES], line[LINE_BYTES];
    glob_t found;
    snprintf(full, sizeof full, "%s%s", root, pattern);
    if (glob(full, 0, NULL, &found)) {
        return;
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        read_line(found.gl_pathv[i], line);
        append(text, size, label, line);
    }
    globfree(&found);
}

/* "model name" of x86; "CPU part" where there is no name. */
static void append_cpu(char *text, size_t size, const char *root)
{
    char path[PATH_BYTES], line[LINE_BYTES];
    snprintf(path, sizeof path, "%s/proc/cpuinfo", root);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        const char *value = strchr(line, ':');
        if (value && (strncmp(line, "model name", 10) == 0 || strncmp(line, "CPU part", 8) == 0)) {
            append(text, size, "cpu", value + 1 + strspn(value + 1, " "));
            break;
        }
    }
    if (f) {
        fclose(f);
    }
}

void machine_mode_text(const char *root, char *text, size_t size)
{
    text[0] = '\0';
    append_cpu(text, size, root);
    append_file(text, size, "board", root, "/proc/device-tree/model");
    append_file(text, size, "cpus", root, "/sys/devices/system/cpu/online");
    append_glob(text, size, "governor", root, "/sys/devices/system/cpu/cpufreq/policy*/scaling_governor");
    append_glob(text, size, "max kHz", root, "/sys/devices/system/cpu/cpufreq/policy*/scaling_max_freq");
    append_glob(text, size, "min kHz", root, "/sys/devices/system/cpu/cpufreq/policy*/scaling_min_freq");
    append_file(text, size, "power mode", root, "/var/lib/nvpmodel/status");
    append_glob(text, size, "gpu max", root, "/sys/class/devfreq/*g[abp]*/max_freq");
    append_glob(text, size, "gpu min", root, "/sys/class/devfreq/*g[abp]*/min_freq");
}
