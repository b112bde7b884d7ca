/* The searches behind partition.h: how many layers each rank gets. Pure; private to src/cluster/. SPDX-License-Identifier: MIT */
#ifndef SRC_CLUSTER_PARTITION_SEARCH_H
#define SRC_CLUSTER_PARTITION_SEARCH_H

#include "src/cluster/partition.h"

struct partition_search {
    const struct partition_input *in;
    double *prefix;   /* [n_ranks, n_layers + 1] owned: cost of the layers before this one */
    uint64_t *bytes;  /* [n_layers + 1] owned: the same in bytes */
    int32_t *now;     /* [2, n_layers + 1] owned: scratch */
    int32_t n_states; /* per rank of the latency search: (layer, tile) pairs */
    double *sums;     /* [2, n_states] owned */
    int32_t *from;    /* [n_ranks, n_states] owned: the state before the rank, on the best way to the state after it */
};
int partition_search_init(struct partition_search *s, const struct partition_input *in, struct error *err);
void partition_search_free(struct partition_search *s);

/* Layers of each rank, counts[n_ranks], by the objective; -1 when nothing fits. */
int partition_search_throughput(struct partition_search *s, int32_t *counts);
int partition_search_latency(struct partition_search *s, int32_t *counts);

/* Divides the vocabulary over ranks whose layers are given so that the largest of base[rank] + cost of the rows is as small as
 * possible; memory counts when `within_memory`. rows: [n_ranks]. Returns that largest, or -1 when it does not fit. */
double partition_search_rows(const struct partition_search *s, const int32_t *counts, const double *base, int within_memory,
                             int32_t *rows);

#endif
