/* SPDX-License-Identifier: MIT */
#include "src/cluster/mpi_check.h"

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

MPI_Comm mpi_duplicate(const struct cluster *c, MPI_Comm from)
{
    MPI_Comm comm = MPI_COMM_NULL;
    MPI_Request request;
    CHECK_MPI(MPI_Comm_idup(from, &comm, &request));
    mpi_wait_start(c, &request);
    CHECK_MPI(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
    return comm;
}

void mpi_ring_shift(const struct cluster *c, MPI_Comm comm, const void *out, void *in, int bytes)
{
    int previous = (c->rank + c->size - 1) % c->size, next = (c->rank + 1) % c->size;
    MPI_Request receive, send;
    CHECK_MPI(MPI_Irecv(in, bytes, MPI_BYTE, previous, 0, comm, &receive));
    CHECK_MPI(MPI_Isend(out, bytes, MPI_BYTE, next, 0, comm, &send));
    mpi_wait_start(c, &receive);
    mpi_wait_start(c, &send);
}
