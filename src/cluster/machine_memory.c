/* SPDX-License-Identifier: MIT */
#include "src/cluster/machine_memory.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "src/cluster/topology.h"

/* Value after "key" in a file of "key value" or "key: value kB" lines; 0 and *value, or -1. */
static int read_key(const char *path, const char *key, uint64_t *value)
{
    FILE *f = fopen(path, "r");
    if (!f) {
        return -1;
    }
    char line[256];
    int rc = -1;
    size_t n = strlen(key);
    while (rc && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, n) == 0 && (line[n] == ' ' || line[n] == ':')) {
            rc = sscanf(line + n + 1, "%" SCNu64, value) == 1 ? 0 : -1;
        }
    }
    fclose(f);
    return rc;
}

/* A file that holds one number; "max" (no limit) and anything else is -1. */
static int read_number(const char *path, uint64_t *value)
{
    FILE *f = fopen(path, "r");
    if (!f) {
        return -1;
    }
    int rc = fscanf(f, "%" SCNu64, value) == 1 ? 0 : -1;
    fclose(f);
    return rc;
}

/* The two versions of control groups have the same facts under different names. */
struct group_files {
    const char *mount, *limit, *use, *inactive, *active;
};

static const struct group_files version_1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                                             "total_inactive_file", "total_active_file"};
static const struct group_files version_2 = {"/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file", "active_file"};

/* What the group at `folder` leaves; UINT64_MAX when it has no limit or does not exist. */
static uint64_t group_available(const char *folder, const struct group_files *files)
{
    char path[PATH_MAX + 32];
    uint64_t limit, use, cache = 0, part;
    snprintf(path, sizeof path, "%s/%s", folder, files->limit);
    if (read_number(path, &limit)) {
        return UINT64_MAX;
    }
    snprintf(path, sizeof path, "%s/%s", folder, files->use);
    if (read_number(path, &use)) {
        return UINT64_MAX;
    }
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    cache += read_key(path, files->inactive, &part) ? 0 : part;
    cache += read_key(path, files->active, &part) ? 0 : part;
    use -= cache < use ? cache : use;
    return use < limit ? limit - use : 0;
}

/* The tightest of a group and its parents. Inside a container the path may be that of the host: folders that do not exist are
 * passed over. */
static uint64_t group_chain_available(const char *root, const char *group, const struct group_files *files)
{
    char folder[PATH_MAX];
    int n = snprintf(folder, sizeof folder, "%s%s", root, files->mount);
    size_t top = n > 0 ? (size_t)n : 0;
    if (top + strlen(group) >= sizeof folder) {
        return UINT64_MAX;
    }
    memcpy(folder + top, group, strlen(group) + 1);
    uint64_t least = UINT64_MAX;
    for (;;) {
        uint64_t here = group_available(folder, files);
        least = here < least ? here : least;
        char *slash = strrchr(folder + top, '/');
        if (!slash) {
            return least;
        }
        *slash = 0;
    }
}

/* Lines of /proc/self/cgroup: "4:memory:/path" (version 1) and "0::/path" (version 2). */
static uint64_t groups_available(const char *root)
{
    char path[PATH_MAX], line[PATH_MAX];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "r");
    if (!f) {
        return UINT64_MAX;
    }
    uint64_t least = UINT64_MAX;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) {
            continue;
        }
        *group++ = 0;
        controllers++;
        const struct group_files *files = *controllers == 0 ? &version_2 : strstr(controllers, "memory") ? &version_1 : NULL;
        uint64_t here = files ? group_chain_available(root, group, files) : UINT64_MAX;
        least = here < least ? here : least;
    }
    fclose(f);
    return least;
}

uint64_t machine_memory_available(const char *root)
{
    char path[PATH_MAX];
    uint64_t kb, available = UINT64_MAX;
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    if (read_key(path, "MemAvailable", &kb) == 0) {
        available = kb * 1024;
    }
    uint64_t groups = groups_available(root);
    return groups < available ? groups : available;
}

uint64_t topology_memory_available(void)
{
    return machine_memory_available("");
}

/* getrusage's ru_maxrss is not used: it also counts the program that started this one by fork and exec. */
uint64_t topology_peak_rss(void)
{
    uint64_t kb;
    return read_key("/proc/self/status", "VmHWM", &kb) ? 0 : kb * 1024;
}
