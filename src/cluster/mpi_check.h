/* What the files that call MPI share: checked calls, sleeping waits, the communicator. SPDX-License-Identifier: MIT
 *
 * Private to src/cluster/. */
#ifndef SRC_CLUSTER_MPI_CHECK_H
#define SRC_CLUSTER_MPI_CHECK_H

#include <mpi.h>

#include "src/cluster/cluster.h"

struct cluster_mpi {
    MPI_Comm comm; /* duplicate of MPI_COMM_WORLD with MPI_ERRORS_RETURN, for collectives */
};

/* A failed MPI call is the machine's error: one line, then MPI_Abort. Runs only on communicators with MPI_ERRORS_RETURN. */
#define CHECK_MPI(call)                                           \
    do {                                                          \
        int check_mpi_rc_ = (call);                               \
        if (check_mpi_rc_ != MPI_SUCCESS) {                       \
            mpi_failed(check_mpi_rc_, #call, __FILE__, __LINE__); \
        }                                                         \
    } while (0)

void mpi_failed(int code, const char *call, const char *file, int line) __attribute__((noreturn));

/* Seconds that ranks get to answer while the job starts. Afterwards deadlines are the caller's business. */
enum { MPI_START_LIMIT_S = 60 };

/* Waits without burning a core; limit_s <= 0 = for ever. Returns 0, or -1 when the limit passed first (the request is then still
 * active). */
int mpi_wait(MPI_Request *request, double limit_s);

/* Duplicates `from` with MPI_ERRORS_RETURN; fatal() when the ranks do not all answer within MPI_START_LIMIT_S. Collective. */
MPI_Comm mpi_duplicate(MPI_Comm from);

/* Passes `bytes` bytes to the next rank and takes as many from the previous one; fatal() with the two hosts' names (NULL peers =
 * ranks only) and the usual cause when that takes longer than MPI_START_LIMIT_S. Collective. */
void mpi_ring_shift(MPI_Comm comm, const struct cluster_peer *peers, const void *out, void *in, int bytes);

#endif
