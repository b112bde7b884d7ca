/* The split of layers against a brute-force search. SPDX-License-Identifier: MIT */
#include <stdint.h>

#include "src/cluster/partition.h"
#include "tests/check.h"

enum { MAX_RANKS = 6, MAX_LAYERS = 10 };

static uint32_t random_state = 12345;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

static uint64_t load_from(const struct partition_input *in, const int32_t *counts, int32_t first_rank)
{
    uint64_t most = 0;
    int32_t layer = 0;
    for (int32_t rank = 0; rank < in->n_ranks; rank++) {
        uint64_t load = rank == 0 ? in->head_cost : 0;
        for (int32_t i = 0; i < counts[rank]; i++) {
            load += in->layer_cost[layer++];
        }
        most = rank >= first_rank && load > most ? load : most;
    }
    return most;
}

/* 1 when split a is to be preferred to b by the words of the header. */
static int better(const struct partition_input *in, const int32_t *a, const int32_t *b)
{
    for (int32_t rank = 0; rank < in->n_ranks; rank++) {
        uint64_t load_a = load_from(in, a, rank), load_b = load_from(in, b, rank);
        if (load_a != load_b) {
            return load_a < load_b;
        }
        if (rank == 0 && (a[0] == 0) != (b[0] == 0)) {
            return b[0] == 0;
        }
        if (a[rank] != b[rank]) {
            return a[rank] < b[rank];
        }
    }
    return 0;
}

static void search(const struct partition_input *in, int32_t *counts, int32_t rank, int32_t left, int32_t *best, int *found)
{
    if (rank == in->n_ranks - 1) {
        counts[rank] = left;
        if ((left > 0 || rank == 0) && (!*found || better(in, counts, best))) {
            memcpy(best, counts, (size_t)in->n_ranks * sizeof *best);
            *found = 1;
        }
        return;
    }
    for (int32_t n = rank > 0; n <= left; n++) {
        counts[rank] = n;
        search(in, counts, rank + 1, left - n, best, found);
    }
}

static void check_contiguous(const struct partition_input *in, const struct partition_slice *s)
{
    int32_t layer = 0, row = 0;
    for (int32_t rank = 0; rank < in->n_ranks; rank++) {
        CHECK_INT(s[rank].layer_first, layer);
        CHECK_INT(s[rank].vocab_first, row);
        layer = s[rank].layer_end;
        row = s[rank].vocab_end;
    }
    CHECK_INT(layer, in->n_layers);
    CHECK_INT(row, in->n_vocab);
    CHECK_INT(s[0].vocab_end, in->n_vocab);
}

static void check_random(void)
{
    for (int trial = 0; trial < 3000; trial++) {
        uint64_t cost[MAX_LAYERS];
        int equal = random_below(3) == 0;
        struct partition_input in = {.layer_cost = cost, .n_vocab = 100};
        in.n_ranks = 1 + (int32_t)random_below(MAX_RANKS);
        in.n_layers = (int32_t)random_below(MAX_LAYERS + 1);
        in.head_cost = random_below(4) ? random_below(30) : 0;
        for (int32_t i = 0; i < in.n_layers; i++) {
            cost[i] = equal ? 5 : 1 + random_below(12);
        }
        struct partition_slice slices[MAX_RANKS];
        struct error err = {""};
        int rc = partition_balance(&in, slices, &err);
        int32_t counts[MAX_RANKS], best[MAX_RANKS];
        int found = 0;
        search(&in, counts, 0, in.n_layers, best, &found);
        CHECK_INT(rc, found ? 0 : -1);
        if (rc || !found) {
            continue;
        }
        check_contiguous(&in, slices);
        for (int32_t rank = 0; rank < in.n_ranks; rank++) {
            CHECK_THAT(slices[rank].layer_end - slices[rank].layer_first == best[rank],
                       "trial %d, %d layers, %d ranks: rank %d owns %d layers, expected %d", trial, in.n_layers, in.n_ranks, rank,
                       slices[rank].layer_end - slices[rank].layer_first, best[rank]);
        }
    }
}

/* Splits that a reader can check by eye. */
static void check_known(void)
{
    static const struct {
        int32_t n_layers, n_ranks;
        uint64_t head;
        int32_t counts[4];
    } cases[] = {
        {30, 4, 0, {6, 8, 8, 8}}, {32, 4, 0, {8, 8, 8, 8}}, {6, 4, 0, {1, 1, 2, 2}}, {30, 1, 9, {30}},
        {16, 4, 4, {1, 5, 5, 5}}, {6, 4, 50, {0, 2, 2, 2}}, {3, 4, 0, {0, 1, 1, 1}}, {28, 2, 4, {12, 16}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t cost[32];
        for (int k = 0; k < 32; k++) {
            cost[k] = 1;
        }
        struct partition_input in = {cost, cases[i].n_layers, cases[i].head, 1000, cases[i].n_ranks};
        struct partition_slice slices[4];
        CHECK_INT(partition_balance(&in, slices, NULL), 0);
        check_contiguous(&in, slices);
        for (int32_t rank = 0; rank < in.n_ranks; rank++) {
            CHECK_THAT(slices[rank].layer_end - slices[rank].layer_first == cases[i].counts[rank],
                       "case %zu: rank %d owns %d layers, expected %d", i, rank,
                       slices[rank].layer_end - slices[rank].layer_first, cases[i].counts[rank]);
        }
    }
}

static void check_messages(void)
{
    static const uint64_t cost[30] = {1, 1, 1};
    struct partition_input in = {cost, 3, 1, 10, 5};
    struct partition_slice slices[5];
    struct error err = {""};
    CHECK_INT(partition_balance(&in, slices, &err), -1);
    CHECK_TEXT(err.text, "5 ranks are too many for 3 layers: at most 4 (rank 0 may own none)");

    in.n_layers = 30;
    in.n_ranks = 4;
    CHECK_INT(partition_from_counts(&in, (const int32_t[]){10, 10, 10}, 3, slices, &err), -1);
    CHECK_TEXT(err.text, "--split names 3 ranks, the job has 4");
    CHECK_INT(partition_from_counts(&in, (const int32_t[]){7, 7, 7, 7}, 4, slices, &err), -1);
    CHECK_TEXT(err.text, "--split adds up to 28 layers, the model has 30");
    CHECK_INT(partition_from_counts(&in, (const int32_t[]){INT32_MAX, INT32_MAX, 32, 0}, 4, slices, &err), -1);
    CHECK_TEXT(err.text, "--split adds up to 4294967326 layers, the model has 30");
    CHECK_INT(partition_from_counts(&in, (const int32_t[]){33, 7, -3, 7}, 4, slices, &err), -1);
    CHECK_TEXT(err.text, "--split gives rank 2 -3 layers, at least 0 are needed");

    CHECK_INT(partition_from_counts(&in, (const int32_t[]){0, 9, 21, 0}, 4, slices, &err), 0);
    check_contiguous(&in, slices);
    CHECK_INT(slices[2].layer_first, 9);
    CHECK_INT(slices[3].layer_first, 30);
}

int main(void)
{
    check_random();
    check_known();
    check_messages();
    return check_result();
}
