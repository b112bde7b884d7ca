/* Who is silent, when the start takes too long. SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cluster/mpi_check.h"
#include "src/core/clock.h"

enum { ROLL_TAG = 100, MOST_NAMED = 8 };
static const double SLICE_S = 0.5, GRACE_S = 3, LOOK_US = 10000, POLLING_S = 0.1;
static double start_limit_s = MPI_START_LIMIT_S;

/* Open MPI excludes neither bridges nor USB networks: two boards that both hold 192.168.55.1 on l4tbr0 start well and hang at the
 * first message. */
#define NETWORK_HINT \
    "it hangs, or is out of reach (name the network of the boards: mpirun --mca btl_tcp_if_include 192.168.1.0/24, its CIDR)"

/* Says "here" to everybody and listens who else does. */
static void listen_to_all(const struct cluster *c, char *here)
{
    static const char byte;
    int32_t n = 1;
    here[c->rank] = 1;
    for (int32_t i = 0; i < c->size; i++) {
        MPI_Request request;
        if (i != c->rank) {
            CHECK_MPI(MPI_Isend(&byte, 1, MPI_BYTE, i, ROLL_TAG, MPI_COMM_WORLD, &request));
            CHECK_MPI(MPI_Request_free(&request));
        }
    }
    for (double waited_s = 0; waited_s < GRACE_S && n < c->size; waited_s += LOOK_US / 1e6) {
        int found = 1;
        while (found) {
            MPI_Status status;
            char ignored;
            CHECK_MPI(MPI_Iprobe(MPI_ANY_SOURCE, ROLL_TAG, MPI_COMM_WORLD, &found, &status));
            if (found) {
                CHECK_MPI(MPI_Recv(&ignored, 1, MPI_BYTE, status.MPI_SOURCE, ROLL_TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
                n += !here[status.MPI_SOURCE];
                here[status.MPI_SOURCE] = 1;
            }
        }
        clock_sleep_us(LOOK_US);
    }
}

/* "rank 2 (board3), rank 5 (board6)", those that are not here. Their number. */
static int32_t silent_text(const struct cluster *c, const char *here, char *text, size_t size)
{
    int32_t n = 0;
    text[0] = 0;
    for (int32_t i = 0; i < c->size; i++) {
        size_t used = strlen(text);
        if (!here[i] && n++ < MOST_NAMED) {
            const char *host = c->peers[i].host; /* not known before the ranks have met */
            snprintf(text + used, size - used, *host ? "%srank %d (%s)" : "%srank %d", used ? ", " : "", i, host);
        }
    }
    if (n > MOST_NAMED) {
        size_t used = strlen(text);
        snprintf(text + used, size - used, " and %d more", n - MOST_NAMED);
    }
    return n;
}

/* The lowest rank that is here tells and ends the job; the others leave it a moment for that, also where they do not hear it. */
static void call_roll(const struct cluster *c) __attribute__((noreturn));
static void call_roll(const struct cluster *c)
{
    char silent[MOST_NAMED * (CLUSTER_HOST_MAX + 32)], *here = calloc((size_t)c->size, 1);
    int32_t first = 0;
    if (!here) {
        fatal("no memory for the states of %d ranks", c->size);
    }
    listen_to_all(c, here);
    while (!here[first]) {
        first++;
    }
    clock_sleep_us(c->rank == 0 ? 0 : first < c->rank ? 5e6 : 0.5e6);
    int32_t n = silent_text(c, here, silent, sizeof silent);
    if (n == 0) {
        fatal("a step of the start took more than %.0f s, though all ranks answer", start_limit_s);
    }
    fatal("%s %s not answered for %.0f s at the start; " NETWORK_HINT, silent, n == 1 ? "has" : "have", start_limit_s);
}

static int is_roll_called(void)
{
    int found = 0;
    CHECK_MPI(MPI_Iprobe(MPI_ANY_SOURCE, ROLL_TAG, MPI_COMM_WORLD, &found, MPI_STATUS_IGNORE));
    return found;
}

void mpi_wait_start(const struct cluster *c, MPI_Request *request)
{
    /* Slices: time in which the whole job was stopped does not count. */
    for (double silent_s = 0; mpi_wait(request, SLICE_S);) {
        silent_s += SLICE_S;
        if (silent_s >= start_limit_s || is_roll_called()) {
            call_roll(c);
        }
    }
}

void mpi_poll_start(const struct cluster *c, MPI_Request *request)
{
    double begin_s = clock_now_s();
    int done = 0;
    while (!done && clock_now_s() - begin_s < POLLING_S) {
        CHECK_MPI(MPI_Test(request, &done, MPI_STATUS_IGNORE));
    }
    if (!done) {
        mpi_wait_start(c, request);
    }
}

void mpi_barrier_start(const struct cluster *c)
{
    MPI_Request request;
    CHECK_MPI(MPI_Ibarrier(c->mpi->comm, &request));
    mpi_wait_start(c, &request);
}

void mpi_set_start_limit(double limit_s)
{
    start_limit_s = limit_s;
}
