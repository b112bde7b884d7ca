/* One rank, without MPI. SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "src/cluster/cluster.h"

int cluster_init(struct cluster *c, int *argc, char ***argv, struct error *err)
{
    (void)argc;
    (void)argv;
    *c = (struct cluster){.rank = 0, .size = 1, .local_rank = 0, .local_size = 1};
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    const char *launched = getenv("OMPI_COMM_WORLD_SIZE");
    if (launched && strtol(launched, NULL, 10) > 1) {
        return error_set(err, "mpirun started %s ranks, but this program was built without MPI (ENABLE_MPI=OFF)", launched);
    }
    c->peers = calloc(1, sizeof *c->peers);
    if (!c->peers) {
        return error_set(err, "no memory for the list of ranks");
    }
    c->peers[0].local_size = 1;
    if (gethostname(c->peers[0].host, sizeof c->peers[0].host - 1)) {
        snprintf(c->peers[0].host, sizeof c->peers[0].host, "unknown");
    }
    return 0;
}

void cluster_finalize(struct cluster *c)
{
    free(c->peers);
    *c = (struct cluster){0};
}

void cluster_allgather(struct cluster *c, const void *mine, size_t bytes, void *all)
{
    (void)c;
    memmove(all, mine, bytes);
}

void cluster_broadcast(struct cluster *c, void *data, size_t bytes)
{
    (void)c;
    (void)data;
    (void)bytes;
}

double cluster_clock_offset(struct cluster *c)
{
    (void)c;
    return 0;
}

void cluster_fetch(struct cluster *c, int32_t from, void *data, size_t bytes)
{
    (void)c;
    (void)from;
    (void)data;
    (void)bytes;
}

const char *cluster_library(void)
{
    return "none";
}
