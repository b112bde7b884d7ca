/* The ranks of one job: start MPI, learn who is there, agree or leave together. SPDX-License-Identifier: MIT
 *
 * The only folder that includes <mpi.h>. With ENABLE_MPI=OFF cluster_none.c and link_none.c stand in: one rank. */
#ifndef SRC_CLUSTER_CLUSTER_H
#define SRC_CLUSTER_CLUSTER_H

#include <stddef.h>
#include <stdint.h>

#include "src/core/error.h"

enum { CLUSTER_HOST_MAX = 64 };

struct cluster_peer {
    char host[CLUSTER_HOST_MAX]; /* as gethostname says */
    int32_t local_rank;          /* among the ranks of its host */
    int32_t local_size;
    int32_t node; /* the same for ranks of one machine: its lowest rank (host names may be equal by accident) */
};

struct cluster {
    int32_t rank, size;
    int32_t local_rank, local_size;
    struct cluster_peer *peers; /* [size] owned */
    struct cluster_mpi *mpi;    /* private: communicators; NULL without mpirun */
    int is_starting;            /* 1: a collective that waits 60 s for a rank is fatal() and names it; 0: it may wait for ever */
};

/* Starts MPI (FUNNELED) and fills the struct; installs the fatal() hook. Without mpirun or srun MPI is not started at all: one
 * rank. No first message within 60 s is fatal() (a wrong network interface, mostly). is_starting is 1 from here on until the
 * caller clears it: before anything that may wait for people, files of any size, or a pipe. Collective. */
int cluster_init(struct cluster *c, int *argc, char ***argv, struct error *err);
/* Clean end of the job. Collective. */
void cluster_finalize(struct cluster *c);

/* Every rank brings what it has (status 0, or -1 and its error); returns 0 on all ranks if all brought 0, else -1 on all, with
 * the lowest failing rank's text in *err on every rank: as it is when all ranks failed with the same text, else "rank R (host):
 * text (and ranks 2, 3)". Waits without burning a core. Collective. */
int cluster_agree(struct cluster *c, int status, struct error *err);

/* Fails on all ranks unless all brought the same 64-bit value; *err says what ("the model file's header"), and which ranks differ
 * from rank 0. Collective. */
int cluster_agree_equal(struct cluster *c, uint64_t value, const char *what, struct error *err);

/* Everybody gets everybody's `bytes` bytes, in rank order. Collective; sleeps while waiting. */
void cluster_allgather(struct cluster *c, const void *mine, size_t bytes, void *all);
/* Rank 0's bytes to everybody. Collective; sleeps while waiting. */
void cluster_broadcast(struct cluster *c, void *data, size_t bytes);

/* This host's clock_now_s() less rank 0's, now; wrong by at most half of the quickest of some round trips. Hosts' clocks drift by
 * some 10 us a second. Collective. */
double cluster_clock_offset(struct cluster *c);
/* Rank 0 gets `bytes` bytes of rank `from`: data is what `from` has and where rank 0 wants it. Collective for these two; nothing
 * happens on other ranks, or with from 0. */
void cluster_fetch(struct cluster *c, int32_t from, void *data, size_t bytes);

/* "Open MPI v4.1.4 ..." or "none". */
const char *cluster_library(void);

#endif
