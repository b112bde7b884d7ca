/* SPDX-License-Identifier: MIT */
#include "src/cluster/mpi_check.h"
#include "src/core/clock.h"

enum { CLOCK_TAG = 2, FETCH_TAG = 3, N_PINGS = 32 };

/* Asks rank 0 what time it is; the answer of the quickest round trip counts, taken as given in its middle. */
static double ask(struct cluster *c)
{
    double best_s = 0, offset_s = 0;
    for (int i = 0; i < N_PINGS; i++) {
        char byte = 0;
        double theirs, begin_s = clock_now_s();
        MPI_Request requests[2];
        CHECK_MPI(MPI_Irecv(&theirs, 1, MPI_DOUBLE, 0, CLOCK_TAG, c->mpi->comm, &requests[0]));
        CHECK_MPI(MPI_Isend(&byte, 1, MPI_BYTE, 0, CLOCK_TAG, c->mpi->comm, &requests[1]));
        mpi_poll_start(c, &requests[1]);
        mpi_poll_start(c, &requests[0]);
        double end_s = clock_now_s();
        if (i == 0 || end_s - begin_s < best_s) {
            best_s = end_s - begin_s;
            offset_s = (begin_s + end_s) / 2 - theirs;
        }
    }
    return offset_s;
}

static void answer(struct cluster *c, int rank)
{
    for (int i = 0; i < N_PINGS; i++) {
        char byte;
        MPI_Request request;
        CHECK_MPI(MPI_Irecv(&byte, 1, MPI_BYTE, rank, CLOCK_TAG, c->mpi->comm, &request));
        mpi_poll_start(c, &request);
        double now_s = clock_now_s();
        CHECK_MPI(MPI_Isend(&now_s, 1, MPI_DOUBLE, rank, CLOCK_TAG, c->mpi->comm, &request));
        mpi_poll_start(c, &request);
    }
}

double cluster_clock_offset(struct cluster *c)
{
    double offset_s = 0;
    for (int rank = 1; rank < c->size; rank++) {
        if (c->rank == 0) {
            answer(c, rank);
        } else if (c->rank == rank) {
            offset_s = ask(c);
        }
        mpi_barrier_start(c); /* nobody waits for a rank that is busy with another */
    }
    return offset_s;
}

void cluster_fetch(struct cluster *c, int32_t from, void *data, size_t bytes)
{
    enum { CHUNK = 64 << 20 };
    for (size_t done = 0; from > 0 && done < bytes; done += CHUNK) {
        int n = (int)(bytes - done < CHUNK ? bytes - done : CHUNK);
        MPI_Request request;
        if (c->rank == 0) {
            CHECK_MPI(MPI_Irecv((char *)data + done, n, MPI_BYTE, from, FETCH_TAG, c->mpi->comm, &request));
        } else if (c->rank == from) {
            CHECK_MPI(MPI_Isend((char *)data + done, n, MPI_BYTE, 0, FETCH_TAG, c->mpi->comm, &request));
        } else {
            return;
        }
        mpi_wait(&request, 0);
    }
}
