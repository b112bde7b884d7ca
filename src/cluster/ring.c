/* SPDX-License-Identifier: MIT */
#include "src/cluster/ring.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/cluster/mpi_check.h"
#include "src/core/clock.h"

enum { SMALL = 64, SMALL_ROUNDS = 15, LARGE_ROUNDS = 3, TAG = 1 };

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One way of a message of n bytes: the median of the rounds, halved. `leads` sends first. The waits poll, as the message loop
 * does while it is busy. */
static double one_way_s(const struct cluster *c, MPI_Comm comm, int peer, int leads, char *buffer, int n, int n_rounds)
{
    double times[SMALL_ROUNDS];
    for (int i = 0; i < n_rounds; i++) {
        double start = clock_now_s();
        for (int way = 0; way < 2; way++) {
            MPI_Request request;
            if ((way == 0) == leads) {
                CHECK_MPI(MPI_Isend(buffer, n, MPI_BYTE, peer, TAG, comm, &request));
            } else {
                CHECK_MPI(MPI_Irecv(buffer, n, MPI_BYTE, peer, TAG, comm, &request));
            }
            mpi_poll_start(c, &request);
        }
        times[i] = (clock_now_s() - start) / 2;
    }
    qsort(times, (size_t)n_rounds, sizeof *times, compare);
    return times[n_rounds / 2];
}

void ring_measure(struct cluster *c, int large, struct ring_link *all)
{
    struct ring_link mine = {0};
    memset(all, 0, (size_t)c->size * sizeof *all);
    if (c->size == 1) {
        return;
    }
    char *buffer = calloc(1, (size_t)large);
    if (!buffer) {
        fatal("out of memory for a message of %d bytes", large);
    }
    MPI_Comm comm = mpi_duplicate(c, c->mpi->comm);
    for (int32_t first = 0; first < c->size; first++) {
        int32_t second = (first + 1) % c->size;
        if (c->rank == first || c->rank == second) {
            int leads = c->rank == first, peer = leads ? second : first;
            struct ring_link link = {.latency_s = one_way_s(c, comm, peer, leads, buffer, SMALL, SMALL_ROUNDS)};
            double large_s = one_way_s(c, comm, peer, leads, buffer, large, LARGE_ROUNDS);
            link.bytes_per_s = large / fmax(large_s - link.latency_s, 1e-9);
            mine = leads ? link : mine;
        }
        mpi_barrier_start(c); /* one pair at a time */
    }
    CHECK_MPI(MPI_Comm_free(&comm));
    free(buffer);
    cluster_allgather(c, &mine, sizeof mine, all);
}
