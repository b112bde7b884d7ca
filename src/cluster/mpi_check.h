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

/* Waits without burning a core; limit_s <= 0 = for ever. Returns 0, or -1 when the limit passed first (the request is then still
 * active). */
int mpi_wait(MPI_Request *request, double limit_s);

/* Seconds that a rank may be silent while the job starts. Afterwards deadlines are the caller's business. */
enum { MPI_START_LIMIT_S = 60 };

/* What the start waits for, as mpi_wait does. After MPI_START_LIMIT_S all ranks that wait so tell each other that they are there,
 * and the lowest of them names those that are not, in one fatal() line. Every wait of the start is one of these. */
void mpi_wait_start(const struct cluster *c, MPI_Request *request);
/* The same, but polls without sleeping for the first 0.1 s: for what is timed. */
void mpi_poll_start(const struct cluster *c, MPI_Request *request);
/* All ranks have come here. Collective. */
void mpi_barrier_start(const struct cluster *c);
/* Another limit than MPI_START_LIMIT_S, for tests. */
void mpi_set_start_limit(double limit_s);

/* Duplicates `from` with MPI_ERRORS_RETURN. Collective. */
MPI_Comm mpi_duplicate(const struct cluster *c, MPI_Comm from);

/* Passes `bytes` bytes to the next rank and takes as many from the previous one. Collective. */
void mpi_ring_shift(const struct cluster *c, MPI_Comm comm, const void *out, void *in, int bytes);

#endif
