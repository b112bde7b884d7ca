/* A rank that is stopped while the job starts: for silent.sh, on several ranks. SPDX-License-Identifier: MIT
 *
 *   test_silent ring|clock|agree|link    rank 1 stops itself, then all do this */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "src/cluster/cluster.h"
#include "src/cluster/link.h"
#include "src/cluster/mpi_check.h"
#include "src/cluster/ring.h"

enum { MOST_RANKS = 8 };

int main(int argc, char **argv)
{
    struct cluster c;
    struct error err = {{0}};
    struct ring_link links[MOST_RANKS];
    struct link *link = NULL;
    if (argc != 2 || cluster_init(&c, &argc, &argv, &err) || c.size > MOST_RANKS) {
        return 2;
    }
    mpi_set_start_limit(1);
    if (c.rank == 1) {
        raise(SIGSTOP);
    }
    if (strcmp(argv[1], "ring") == 0) {
        ring_measure(&c, RING_QUICK, links);
    } else if (strcmp(argv[1], "clock") == 0) {
        cluster_clock_offset(&c);
    } else if (strcmp(argv[1], "link") == 0) {
        link_init(&link, &c, 2, 1000, &err);
    } else {
        cluster_agree(&c, 0, &err);
    }
    if (c.rank != 1) { /* that one goes on when mpirun wakes it to end it */
        printf("rank %d was not stopped\n", c.rank);
    }
    link_free(link);
    cluster_finalize(&c);
    return 0;
}
