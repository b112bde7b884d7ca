/* Plans on described machines, and memory limits read from a made-up /proc and /sys. SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/cluster/machine_memory.h"
#include "src/cluster/topology.h"
#include "tests/check.h"

static const char orin_nano[] = "pack:1 numa:1(memory=8000000000) l3:2(size=2097152) core:3 pu:1";
static const char agx_orin[] = "pack:1 numa:1(memory=64000000000) l3:3(size=2097152) core:4 pu:1";
static const char two_threads_a_core[] = "pack:1 l3:1 core:4 pu:2";

static void check_place(const struct topology *t, int32_t thread, const char *expected)
{
    char text[64] = "";
    CHECK_INT(topology_place_text(t, thread, text, sizeof text), 0);
    CHECK_THAT(strcmp(text, expected) == 0, "thread %d is on \"%s\", expected \"%s\"", thread, text, expected);
}

struct plan_case {
    const char *machine;
    int32_t n_cores, local_rank, local_size, asked, n_threads;
    const char *share, *first, *last; /* places of the main thread and of compute threads 0 and n_threads-1 */
};

static void check_plans(void)
{
    static const struct plan_case cases[] = {
        {orin_nano, 6, 0, 1, 0, 6, "0-5", "0", "5"},
        {orin_nano, 6, 0, 2, 0, 3, "0-2", "0", "2"}, /* a cluster of cores each */
        {orin_nano, 6, 1, 2, 0, 3, "3-5", "3", "5"},
        {orin_nano, 6, 3, 4, 0, 2, "4-5", "4", "5"}, /* shares of 1, 2, 1, 2 cores */
        {orin_nano, 6, 1, 2, 2, 2, "3-5", "3", "4"},
        {orin_nano, 6, 1, 2, 5, 5, "3-5", "3", "4"},     /* more threads than cores wrap around */
        {orin_nano, 6, 4, 7, 0, 1, "0-5", "0-5", "0-5"}, /* more ranks than cores: bind nothing */
        {agx_orin, 12, 2, 3, 0, 4, "8-11", "8", "11"},
        {two_threads_a_core, 4, 1, 2, 0, 2, "4-7", "4-5", "6-7"}, /* one thread a core */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct plan_case *p = &cases[i];
        struct topology *t;
        struct error err = {""};
        setenv("HWLOC_SYNTHETIC", p->machine, 1);
        if (topology_init(&t, &err)) {
            CHECK_TEXT(err.text, "");
            continue;
        }
        int32_t n_threads = p->asked;
        topology_plan(t, p->local_rank, p->local_size, &n_threads);
        CHECK_INT(topology_n_cores(t), p->n_cores);
        CHECK_INT(n_threads, p->n_threads);
        check_place(t, -1, p->share);
        check_place(t, 0, p->first);
        check_place(t, n_threads - 1, p->last);
        topology_bind(t, 0); /* of a machine that is not this one: does nothing */
        topology_free(t);
    }
    unsetenv("HWLOC_SYNTHETIC");
}

/* On the machine the test runs on. */
static void check_this_machine(void)
{
    struct topology *t;
    struct error err = {""};
    if (topology_init(&t, &err)) {
        CHECK_TEXT(err.text, "");
        return;
    }
    long n_online = sysconf(_SC_NPROCESSORS_ONLN);
    CHECK_THAT(topology_n_cores(t) >= 1 && topology_n_cores(t) <= n_online, "%d cores, %ld processing units", topology_n_cores(t),
               n_online);
    int32_t n_threads = 0;
    topology_plan(t, 0, 1, &n_threads);
    CHECK_INT(n_threads, topology_n_cores(t));
    topology_bind(t, n_threads - 1);
    topology_bind(t, -1);
    topology_free(t);
    CHECK_THAT(topology_memory_available() > (1u << 20), "%llu bytes available", (unsigned long long)topology_memory_available());
    CHECK_THAT(topology_peak_rss() > (1u << 18), "%llu bytes at the peak", (unsigned long long)topology_peak_rss());
}

static char root[] = "/tmp/llm-test-topology-XXXXXX";

/* Makes a file under the root with all folders above it. */
static void put(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *slash = strchr(full + sizeof root, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *f = fopen(full, "w");
    CHECK_THAT(f != NULL, "cannot write %s", full);
    if (f) {
        fputs(text, f);
        fclose(f);
    }
}

static void check_memory(void)
{
    CHECK_THAT(mkdtemp(root) != NULL, "no folder %s", root);
    CHECK_THAT(machine_memory_available(root) == UINT64_MAX, "%llu bytes where nothing is known",
               (unsigned long long)machine_memory_available(root));
    put("/proc/meminfo", "MemTotal:        8000000 kB\nMemFree:          100000 kB\nMemAvailable:    5000000 kB\n");
    CHECK_INT(machine_memory_available(root), 5000000LL * 1024);

    /* Version 2: the parent's limit is the tighter one; file cache counts as free. */
    put("/proc/self/cgroup", "0::/system.slice/job_7\n");
    put("/sys/fs/cgroup/system.slice/job_7/memory.max", "max\n");
    put("/sys/fs/cgroup/system.slice/job_7/memory.current", "1\n");
    CHECK_INT(machine_memory_available(root), 5000000LL * 1024);
    put("/sys/fs/cgroup/system.slice/memory.max", "1000000000\n");
    put("/sys/fs/cgroup/system.slice/memory.current", "700000000\n");
    put("/sys/fs/cgroup/system.slice/memory.stat",
        "anon 500000000\nfile 210000000\ninactive_file 150000000\nactive_file 50000000\n");
    CHECK_INT(machine_memory_available(root), 500000000);

    /* Version 1, in a container that does not see its own group's folder. */
    put("/proc/self/cgroup", "9:name=systemd:/docker/abc\n4:memory:/docker/abc\n0::/\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "400000000\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "390000000\n");
    CHECK_INT(machine_memory_available(root), 10000000);
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "500000000\n");
    CHECK_INT(machine_memory_available(root), 0);
    char command[sizeof root + 16];
    snprintf(command, sizeof command, "rm -r %s", root);
    CHECK_INT(system(command), 0);
}

int main(void)
{
    check_plans();
    check_this_machine();
    check_memory();
    return check_result();
}
