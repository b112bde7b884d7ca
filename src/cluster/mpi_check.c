/* SPDX-License-Identifier: MIT */
#include "src/cluster/mpi_check.h"

#include <stdio.h>

#include "src/cluster/wait.h"
#include "src/core/clock.h"

void mpi_failed(int code, const char *call, const char *file, int line)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    fatal("%s failed: %s (%s:%d)", call, text, file, line);
}

int mpi_wait(MPI_Request *request, double limit_s)
{
    struct wait_policy wait;
    wait_init(&wait);
    wait.busy_s = 0.1;
    wait.longest_us = 1000;
    double start_s = clock_now_s();
    for (;;) {
        int done = 0;
        CHECK_MPI(MPI_Test(request, &done, MPI_STATUS_IGNORE));
        if (done) {
            return 0;
        }
        if (limit_s > 0 && clock_now_s() - start_s > limit_s) {
            return -1;
        }
        wait_idle(&wait);
    }
}

/* Open MPI excludes neither bridges nor USB networks: two boards that both hold 192.168.55.1 on l4tbr0 start well and hang at the
 * first message. */
#define NETWORK_HINT "name the network that connects the boards: mpirun --mca btl_tcp_if_include 192.168.1.0/24 (its CIDR)"

MPI_Comm mpi_duplicate(MPI_Comm from)
{
    MPI_Comm comm = MPI_COMM_NULL;
    MPI_Request request;
    CHECK_MPI(MPI_Comm_idup(from, &comm, &request));
    if (mpi_wait(&request, MPI_START_LIMIT_S)) {
        fatal("not all ranks answered within %d s at start; " NETWORK_HINT, MPI_START_LIMIT_S);
    }
    CHECK_MPI(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
    return comm;
}

static void rank_name(char *out, size_t size, const struct cluster_peer *peers, int rank)
{
    if (peers) {
        snprintf(out, size, "rank %d (%s)", rank, peers[rank].host);
    } else {
        snprintf(out, size, "rank %d", rank);
    }
}

void mpi_ring_shift(MPI_Comm comm, const struct cluster_peer *peers, const void *out, void *in, int bytes)
{
    int rank, size;
    CHECK_MPI(MPI_Comm_rank(comm, &rank));
    CHECK_MPI(MPI_Comm_size(comm, &size));
    int previous = (rank + size - 1) % size, next = (rank + 1) % size;
    MPI_Request receive, send;
    CHECK_MPI(MPI_Irecv(in, bytes, MPI_BYTE, previous, 0, comm, &receive));
    CHECK_MPI(MPI_Isend(out, bytes, MPI_BYTE, next, 0, comm, &send));
    char peer[CLUSTER_HOST_MAX + 32]; /* fatal() names this rank and its host */
    if (mpi_wait(&receive, MPI_START_LIMIT_S)) {
        rank_name(peer, sizeof peer, peers, previous);
        fatal("no message came from %s within %d s at start; " NETWORK_HINT, peer, MPI_START_LIMIT_S);
    }
    if (mpi_wait(&send, MPI_START_LIMIT_S)) {
        rank_name(peer, sizeof peer, peers, next);
        fatal("no message could be sent to %s within %d s at start; " NETWORK_HINT, peer, MPI_START_LIMIT_S);
    }
}
