/* SPDX-License-Identifier: MIT */
#include "src/cluster/topology.h"

#include <hwloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct topology {
    hwloc_topology_t hwloc; /* owned */
    hwloc_bitmap_t *cores;  /* [n_cores] owned: the usable processing units of each usable core, in the machine's order */
    int32_t n_cores;
    int32_t n_node_cores; /* usable by all ranks of the node; n_cores is less where each rank was given cores of its own */
    int32_t share_first, share_n, n_threads; /* the plan */
    int bind;
};

/* Reads the parent and name of a process; -1 when it cannot be seen (it ended, or lives outside this container). */
static int read_process(pid_t pid, pid_t *parent, char *name, size_t size)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    FILE *f = fopen(path, "r");
    if (!f) {
        return -1;
    }
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    /* "pid (name) state parent": the name may hold spaces and brackets. */
    char *open = strchr(text, '('), *close = strrchr(text, ')');
    long ppid;
    if (!open || !close || sscanf(close + 1, " %*c %ld", &ppid) != 1) {
        return -1;
    }
    *close = 0;
    snprintf(name, size, "%s", open + 1);
    *parent = (pid_t)ppid;
    return 0;
}

/* The nearest process above this one that starts ranks, or 0. *is_open_mpi: it binds them, unless told otherwise. */
static pid_t find_launcher(int *is_open_mpi)
{
    static const struct {
        const char *name;
        int is_open_mpi;
    } launchers[] = {
        {"mpirun", 1}, {"mpiexec", 1}, {"orterun", 1}, {"mpirun.openmpi", 1}, {"mpiexec.openmpi", 1},
        {"orted", 1},  {"prterun", 1}, {"prte", 1},    {"prted", 1},          {"slurmstepd", 0},
    };
    enum { N_LAUNCHERS = sizeof launchers / sizeof launchers[0], MAX_LEVELS = 64 };
    pid_t pid = getppid(), parent;
    char name[64];
    *is_open_mpi = 0;
    for (int level = 0; level < MAX_LEVELS && pid > 0 && read_process(pid, &parent, name, sizeof name) == 0;
         level++, pid = parent) {
        for (int i = 0; i < N_LAUNCHERS; i++) {
            if (strcmp(name, launchers[i].name) == 0) {
                *is_open_mpi = launchers[i].is_open_mpi;
                return pid;
            }
        }
    }
    return 0;
}

/* mpirun passes --bind-to, --cpu-set and --rankfile on to the ranks in these. Without any of them a binding is Open MPI's own
 * idea. */
static int user_chose_binding(void)
{
    static const char *const variables[] = {
        "OMPI_MCA_hwloc_base_binding_policy", "OMPI_MCA_hwloc_base_cpu_set",           "OMPI_MCA_orte_rankfile",
        "OMPI_MCA_rmaps_rank_file_path",      "PRTE_MCA_hwloc_default_binding_policy", "PRTE_MCA_hwloc_default_cpu_list",
    };
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        if (getenv(variables[i])) {
            return 1;
        }
    }
    return 0;
}

static int32_t count_cores(hwloc_topology_t hwloc, hwloc_const_bitmap_t set, hwloc_bitmap_t *cores)
{
    int32_t n = 0;
    hwloc_obj_type_t type = hwloc_get_nbobjs_by_type(hwloc, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    for (hwloc_obj_t obj = NULL; (obj = hwloc_get_next_obj_by_type(hwloc, type, obj)) != NULL;) {
        if (!hwloc_bitmap_intersects(obj->cpuset, set)) {
            continue;
        }
        if (cores && (cores[n] = hwloc_bitmap_alloc()) != NULL) {
            hwloc_bitmap_and(cores[n], obj->cpuset, set);
        }
        n++;
    }
    return n;
}

/* *node: processing units for all ranks of this node; *own: for this rank. Rule in the header. */
static void find_usable(hwloc_topology_t hwloc, hwloc_bitmap_t node, hwloc_bitmap_t own)
{
    hwloc_bitmap_copy(node, hwloc_topology_get_allowed_cpuset(hwloc));
    hwloc_bitmap_copy(own, node);
    if (!hwloc_topology_is_thissystem(hwloc)) {
        return;
    }
    int is_open_mpi;
    pid_t launcher = find_launcher(&is_open_mpi);
    hwloc_bitmap_t mask = hwloc_bitmap_alloc();
    if (!mask) {
        return;
    }
    if (launcher && hwloc_get_proc_cpubind(hwloc, launcher, mask, 0) == 0 && hwloc_bitmap_intersects(node, mask)) {
        hwloc_bitmap_and(node, node, mask);
    }
    int widen = launcher && is_open_mpi && !user_chose_binding();
    if (hwloc_get_cpubind(hwloc, mask, HWLOC_CPUBIND_THREAD) == 0 && hwloc_bitmap_intersects(own, mask) && !widen) {
        hwloc_bitmap_and(own, own, mask);
    } else {
        hwloc_bitmap_copy(own, node);
    }
    if (!launcher) {
        hwloc_bitmap_copy(node, own);
    }
    hwloc_bitmap_free(mask);
}

static int read_cores(struct topology *t)
{
    hwloc_bitmap_t node = hwloc_bitmap_alloc(), own = hwloc_bitmap_alloc();
    int rc = -1;
    if (node && own) {
        find_usable(t->hwloc, node, own);
        t->n_node_cores = count_cores(t->hwloc, node, NULL);
        t->n_cores = count_cores(t->hwloc, own, NULL);
        t->cores = calloc((size_t)t->n_cores + 1, sizeof *t->cores);
        if (t->cores) {
            count_cores(t->hwloc, own, t->cores);
            rc = 0;
        }
    }
    hwloc_bitmap_free(node);
    hwloc_bitmap_free(own);
    return rc;
}

int topology_init(struct topology **out, struct error *err)
{
    struct topology *t = calloc(1, sizeof *t);
    *out = NULL;
    if (!t || hwloc_topology_init(&t->hwloc)) {
        free(t);
        return error_set(err, "no memory for the description of this machine");
    }
    if (hwloc_topology_load(t->hwloc) || read_cores(t) || t->n_cores == 0) {
        topology_free(t);
        return error_set(err, "hwloc cannot read the cores of this machine; try lstopo");
    }
    int32_t one_a_core = 0;
    *out = t;
    topology_plan(t, 0, 1, &one_a_core);
    return 0;
}

void topology_free(struct topology *t)
{
    if (!t) {
        return;
    }
    for (int32_t i = 0; t->cores && i < t->n_cores; i++) {
        hwloc_bitmap_free(t->cores[i]);
    }
    free(t->cores);
    hwloc_topology_destroy(t->hwloc);
    free(t);
}

int32_t topology_n_cores(const struct topology *t)
{
    return t->n_cores;
}

void topology_plan(struct topology *t, int32_t local_rank, int32_t local_size, int32_t *n_threads)
{
    /* Where the launcher gave every rank cores of its own (srun --cpus-per-task, --bind-to socket), only so many ranks share
     * them. Launchers deal ranks out to sockets in turn: rank r is the (r / number of sockets)-th of its socket. */
    int32_t n_sharers = (int32_t)(((int64_t)local_size * t->n_cores + t->n_node_cores / 2) /
                                  (t->n_node_cores > 0 ? t->n_node_cores : 1));
    n_sharers = n_sharers < 1 ? 1 : n_sharers > local_size ? local_size : n_sharers;
    int32_t index = local_rank / (local_size / n_sharers);
    index = index < n_sharers ? index : n_sharers - 1;
    t->bind = n_sharers <= t->n_cores;
    t->share_first = t->bind ? (int32_t)((int64_t)index * t->n_cores / n_sharers) : 0;
    t->share_n = t->bind ? (int32_t)((int64_t)(index + 1) * t->n_cores / n_sharers) - t->share_first : t->n_cores;
    if (*n_threads <= 0) {
        *n_threads = t->bind ? t->share_n : 1;
    }
    t->n_threads = *n_threads;
}

/* The processing units of the plan's thread, or of the whole share. */
static void place_of(const struct topology *t, int32_t thread, hwloc_bitmap_t set)
{
    hwloc_bitmap_zero(set);
    for (int32_t i = 0; i < t->share_n; i++) {
        hwloc_const_bitmap_t core = t->cores[t->share_first + i];
        if (core && (thread < 0 || !t->bind || thread % t->share_n == i)) {
            hwloc_bitmap_or(set, set, core);
        }
    }
}

void topology_bind(const struct topology *t, int32_t thread)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    if (!set) {
        return;
    }
    place_of(t, thread, set);
    if (!hwloc_bitmap_iszero(set)) {
        hwloc_set_cpubind(t->hwloc, set, HWLOC_CPUBIND_THREAD);
    }
    hwloc_bitmap_free(set);
}

int topology_place_text(const struct topology *t, int32_t thread, char *text, size_t size)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    if (!set) {
        return -1;
    }
    place_of(t, thread, set);
    hwloc_bitmap_list_snprintf(text, size, set);
    hwloc_bitmap_free(set);
    return 0;
}
