/* SPDX-License-Identifier: MIT */
#include "src/cluster/cluster.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "src/cluster/mpi_check.h"
#include "src/cluster/obituary.h"

static int is_set(const char *variable)
{
    const char *value = getenv(variable);
    return value && *value;
}

/* mpirun of Open MPI 4 and 5, and srun --mpi=pmix or pmi2, leave one of these. SLURM_PROCID alone is also set in a batch script.
 */
static int started_by_launcher(void)
{
    return is_set("OMPI_COMM_WORLD_SIZE") || is_set("PMIX_RANK") || is_set("PMI_RANK");
}

/* srun without a PMI starts n programs that each believe they are alone. */
static int check_srun(struct error *err)
{
    const char *n_tasks = getenv("SLURM_STEP_NUM_TASKS");
    if (n_tasks && strtol(n_tasks, NULL, 10) > 1) {
        return error_set(err, "srun started %s tasks that do not know of each other; use srun --mpi=pmix, or mpirun", n_tasks);
    }
    return 0;
}

static void abort_job(void)
{
    MPI_Abort(MPI_COMM_WORLD, 1);
}

/* What tells one machine from another: boards fresh from flashing often share a host name, containers share a kernel. */
struct machine {
    char host[CLUSTER_HOST_MAX];
    char boot_id[40];
};

static struct machine this_machine(void)
{
    struct machine m = {0};
    if (gethostname(m.host, sizeof m.host - 1)) {
        snprintf(m.host, sizeof m.host, "unknown");
    }
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "r");
    if (f) {
        if (!fgets(m.boot_id, sizeof m.boot_id, f)) {
            m.boot_id[0] = 0;
        }
        fclose(f);
    }
    return m;
}

static void set_peers(struct cluster *c, const struct machine *machines)
{
    for (int32_t i = 0; i < c->size; i++) {
        memcpy(c->peers[i].host, machines[i].host, sizeof c->peers[i].host);
        c->peers[i].node = i;
        for (int32_t j = 0; j < c->size; j++) {
            if (memcmp(&machines[i], &machines[j], sizeof machines[i]) == 0) {
                c->peers[i].local_size++;
                c->peers[i].local_rank += j < i;
                c->peers[i].node = j < c->peers[i].node ? j : c->peers[i].node;
            }
        }
    }
    c->local_rank = c->peers[c->rank].local_rank;
    c->local_size = c->peers[c->rank].local_size;
}

/* Everybody's machine, handed round the ring: the first messages of the job use only connections that it needs anyway, and have a
 * deadline. */
static int meet(struct cluster *c, struct error *err)
{
    struct machine *machines = calloc((size_t)c->size, sizeof *machines);
    c->peers = calloc((size_t)c->size, sizeof *c->peers);
    if (!machines || !c->peers) {
        free(machines);
        return error_set(err, "no memory for the list of %d ranks", c->size);
    }
    machines[c->rank] = this_machine();
    for (int32_t step = 0; step + 1 < c->size; step++) {
        int32_t out = (c->rank - step + c->size) % c->size, in = (out - 1 + c->size) % c->size;
        mpi_ring_shift(c, MPI_COMM_WORLD, &machines[out], &machines[in], (int)sizeof *machines);
    }
    set_peers(c, machines);
    free(machines);
    return 0;
}

static int start_mpi(struct cluster *c, int *argc, char ***argv, struct error *err)
{
    int provided = MPI_THREAD_SINGLE, rc = MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided);
    if (rc != MPI_SUCCESS) {
        return error_set(err, "MPI does not start (code %d)", rc);
    }
    int rank = 0, size = 1;
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    c->rank = rank;
    c->size = size;
    static char prefix[CLUSTER_HOST_MAX + 32] = "llm"; /* fatal() borrows it for ever */
    if (size > 1) {
        snprintf(prefix, sizeof prefix, "llm: rank %d (%s)", rank, this_machine().host);
    }
    fatal_set_hook(prefix, abort_job);
    if (provided < MPI_THREAD_FUNNELED) {
        return error_set(err, "this MPI library allows one thread only: MPI_THREAD_FUNNELED is needed, %d was given", provided);
    }
    c->mpi = calloc(1, sizeof *c->mpi);
    return c->mpi ? 0 : error_set(err, "no memory for the communicator");
}

int cluster_init(struct cluster *c, int *argc, char ***argv, struct error *err)
{
    *c = (struct cluster){.size = 1, .is_starting = 1};
    /* The kernel adds 50 us to every sleep otherwise, as much as the sleeps between polls. Threads started later inherit it. */
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    if (!started_by_launcher()) {
        return check_srun(err) ? -1 : meet(c, err);
    }
    if (start_mpi(c, argc, argv, err) || meet(c, err)) {
        return -1;
    }
    c->mpi->comm = mpi_duplicate(c, MPI_COMM_WORLD);
    pid_t mine = getpid(), *pids = calloc((size_t)c->size, sizeof *pids);
    if (!pids) {
        return error_set(err, "no memory for the list of %d ranks", c->size);
    }
    cluster_allgather(c, &mine, sizeof mine, pids);
    obituary_init(c, pids);
    free(pids);
    return 0;
}

void cluster_finalize(struct cluster *c)
{
    obituary_free(); /* from the meeting below on, ranks end by themselves */
    if (c->mpi) {
        /* MPI_Finalize spins until the last rank arrives; meeting here first costs nothing. */
        MPI_Request request;
        CHECK_MPI(MPI_Ibarrier(c->mpi->comm, &request));
        mpi_wait(&request, 0);
        CHECK_MPI(MPI_Comm_free(&c->mpi->comm));
    }
    int started = 0, ended = 0;
    MPI_Initialized(&started);
    MPI_Finalized(&ended);
    if (started && !ended) {
        MPI_Finalize();
    }
    fatal_set_hook("llm", NULL);
    free(c->mpi);
    free(c->peers);
    *c = (struct cluster){0};
}

static void wait_for_all(const struct cluster *c, MPI_Request *request)
{
    if (c->is_starting) {
        mpi_wait_start(c, request);
    } else {
        mpi_wait(request, 0);
    }
}

void cluster_allgather(struct cluster *c, const void *mine, size_t bytes, void *all)
{
    if (bytes > INT_MAX) {
        fatal("cluster_allgather: %zu bytes a rank are too many, at most %d", bytes, INT_MAX);
    }
    if (!c->mpi) {
        memmove(all, mine, bytes);
        return;
    }
    MPI_Request request;
    CHECK_MPI(MPI_Iallgather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, c->mpi->comm, &request));
    wait_for_all(c, &request);
}

void cluster_broadcast(struct cluster *c, void *data, size_t bytes)
{
    enum { CHUNK = 64 << 20 };
    for (size_t done = 0; c->mpi && done < bytes; done += CHUNK) {
        size_t n = bytes - done < CHUNK ? bytes - done : CHUNK;
        MPI_Request request;
        CHECK_MPI(MPI_Ibcast((char *)data + done, (int)n, MPI_BYTE, 0, c->mpi->comm, &request));
        wait_for_all(c, &request);
    }
}

const char *cluster_library(void)
{
    static char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    MPI_Get_library_version(text, &length);
    text[strcspn(text, ",\n")] = 0;
    return text;
}
