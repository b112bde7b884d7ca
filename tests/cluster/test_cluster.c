/* Ranks agree, gather and pass batches round the ring. Run with any number of ranks. SPDX-License-Identifier: MIT */
#include <stdint.h>

#include "src/cluster/cluster.h"
#include "src/cluster/link.h"
#include "src/cluster/wait.h"
#include "src/core/clock.h"
#include "tests/check.h"

static void check_peers(const struct cluster *c)
{
    CHECK_THAT(c->rank >= 0 && c->rank < c->size, "rank %d of %d", c->rank, c->size);
    CHECK_INT(c->local_rank, c->peers[c->rank].local_rank);
    CHECK_INT(c->local_size, c->peers[c->rank].local_size);
    CHECK_THAT(c->peers[0].host[0] != 0, "rank 0 has no host name: \"%s\"", c->peers[0].host);
    CHECK_INT(c->peers[0].local_rank, 0);
    CHECK_THAT(strlen(cluster_library()) > 3, "library is \"%s\"", cluster_library());
}

static void check_agree(struct cluster *c)
{
    struct error err = {"untouched"};
    CHECK_INT(cluster_agree(c, 0, &err), 0);
    CHECK_TEXT(err.text, "untouched");

    /* All fail alike: the text as it is. */
    error_set(&err, "no such file");
    CHECK_INT(cluster_agree(c, -1, &err), -1);
    CHECK_TEXT(err.text, "no such file");

    /* Only the last one fails; the others have an old text lying about. */
    error_set(&err, c->rank == c->size - 1 ? "no memory" : "old");
    CHECK_INT(cluster_agree(c, c->rank == c->size - 1 ? -1 : 0, &err), -1);
    char expected[1024];
    snprintf(expected, sizeof expected, "rank %d (%s): no memory", c->size - 1, c->peers[c->size - 1].host);
    CHECK_TEXT(err.text, c->size == 1 ? "no memory" : expected);
    CHECK_INT(cluster_agree(c, c->rank == 0 ? -1 : 0, NULL), -1);

    /* Several of several: the lowest speaks, the others are named. */
    if (c->size == 4) {
        error_set(&err, "broken on %d", c->rank);
        CHECK_INT(cluster_agree(c, c->rank >= 1 ? -1 : 0, &err), -1);
        snprintf(expected, sizeof expected, "rank 1 (%s): broken on 1 (and ranks 2, 3)", c->peers[1].host);
        CHECK_TEXT(err.text, expected);
    }
}

static void check_agree_equal(struct cluster *c)
{
    struct error err = {"untouched"};
    CHECK_INT(cluster_agree_equal(c, 0x1234567890abcdefu, "the header", &err), 0);
    CHECK_TEXT(err.text, "untouched");
    if (c->size > 1) {
        CHECK_INT(cluster_agree_equal(c, c->rank == 0 ? 1 : 2, "the header", &err), -1);
        char expected[1024];
        snprintf(expected, sizeof expected,
                 "the header differs: rank 1 (%s) has 0000000000000002, rank 0 (%s) has 0000000000000001%s", c->peers[1].host,
                 c->peers[0].host,
                 c->size == 4   ? " (also differing: ranks 2, 3)"
                 : c->size == 3 ? " (also differing: rank 2)"
                                : "");
        CHECK_TEXT(err.text, expected);
    }
}

static void check_collectives(struct cluster *c)
{
    int32_t mine[3] = {c->rank, c->rank * 7, -c->rank}, all[3 * 64];
    cluster_allgather(c, mine, sizeof mine, all);
    for (int32_t r = 0; r < c->size && r < 64; r++) {
        CHECK_INT(all[3 * r], r);
        CHECK_INT(all[3 * r + 1], 7 * r);
        CHECK_INT(all[3 * r + 2], -r);
    }
    size_t n = ((size_t)65 << 20) + 5; /* more than one chunk of the broadcast */
    uint8_t *data = malloc(n);
    for (size_t i = 0; i < n; i++) {
        data[i] = c->rank == 0 ? (uint8_t)(i * 31 >> 3) : 0;
    }
    cluster_broadcast(c, data, n);
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++) {
        wrong += data[i] != (uint8_t)(i * 31 >> 3);
    }
    CHECK_INT(wrong, 0);
    free(data);
}

enum { DEPTH = 3, CAPACITY = 8 << 20, N_BATCHES = 60 };

/* Bytes of batch `number`: 64 B to 8 MB, mostly small, the same on all ranks. */
/* All ranks of this test have one clock. */
static void check_clocks(struct cluster *c)
{
    double offset_s = cluster_clock_offset(c);
    CHECK_THAT(offset_s > -0.5 && offset_s < 0.5, "rank %d is %g s ahead", c->rank, offset_s);
}

static void check_fetch(struct cluster *c)
{
    enum { N = 100000 };
    static int32_t values[N];
    for (int32_t from = 0; from < c->size; from++) {
        for (int32_t i = 0; i < N; i++) {
            values[i] = c->rank * 1000003 + i;
        }
        cluster_fetch(c, from, values, sizeof values);
        int32_t owner = c->rank == 0 ? from : c->rank;
        CHECK_INT(values[0], owner * 1000003);
        CHECK_INT(values[N - 1], owner * 1000003 + N - 1);
    }
}

static size_t batch_size(int32_t number)
{
    uint32_t x = (uint32_t)number * 2654435761u;
    if (number == 7) {
        return CAPACITY;
    }
    int shift = 6 + (int)(x >> 28); /* 64 B to 2 MB */
    return ((size_t)1 << shift) + (x >> 8) % ((size_t)1 << shift);
}

/* Batches begin as bytes (number, place); every rank adds its own number to each byte, so home they show the whole way. */
static uint8_t batch_byte(int32_t number, size_t i)
{
    return (uint8_t)((size_t)number * 13 + i + (i >> 8) * 7);
}

struct ring {
    struct link *link;
    uint8_t *received[DEPTH], *outgoing[DEPTH];
    int32_t free_out[DEPTH], n_free;
};

static int32_t next_free(struct ring *r)
{
    int32_t tag;
    while (link_poll_sent(r->link, &tag)) {
        r->free_out[r->n_free++] = tag;
    }
    return r->n_free ? r->free_out[--r->n_free] : -1;
}

/* Rank 0 keeps up to DEPTH batches in flight and checks those that come home. */
static void lead_ring(struct ring *r, int32_t size)
{
    struct wait_policy wait;
    wait_init(&wait);
    uint8_t added = (uint8_t)(size * (size - 1) / 2);
    int32_t started = 0, home = 0;
    while (home < N_BATCHES) {
        int32_t tag;
        size_t bytes;
        int32_t out = started < N_BATCHES && started - home < DEPTH ? next_free(r) : -1;
        if (out >= 0) {
            for (size_t i = 0; i < batch_size(started); i++) {
                r->outgoing[out][i] = batch_byte(started, i);
            }
            link_send(r->link, r->outgoing[out], batch_size(started), out);
            started++;
        } else if (link_poll_received(r->link, &tag, &bytes)) {
            CHECK_INT(tag, home % DEPTH);
            CHECK_INT(bytes, batch_size(home));
            size_t wrong = 0;
            for (size_t i = 0; i < bytes; i++) {
                wrong += r->received[tag][i] != (uint8_t)(batch_byte(home, i) + added);
            }
            CHECK_THAT(wrong == 0, "batch %d: %zu of %zu bytes differ", home, wrong, bytes);
            link_post_receive(r->link, r->received[tag], tag);
            home++;
        } else {
            wait_idle(&wait);
            continue;
        }
        wait_reset(&wait);
    }
}

static void pass_ring(struct ring *r, int32_t rank)
{
    struct wait_policy wait;
    wait_init(&wait);
    for (int32_t passed = 0; passed < N_BATCHES;) {
        int32_t tag, out;
        size_t bytes;
        if (!link_poll_received(r->link, &tag, &bytes)) {
            wait_idle(&wait);
            continue;
        }
        wait_reset(&wait);
        while ((out = next_free(r)) < 0) {
            wait_idle(&wait);
        }
        for (size_t i = 0; i < bytes; i++) {
            r->outgoing[out][i] = (uint8_t)(r->received[tag][i] + rank);
        }
        link_post_receive(r->link, r->received[tag], tag);
        link_send(r->link, r->outgoing[out], bytes, out);
        passed++;
    }
}

static void check_ring(struct cluster *c)
{
    struct ring r = {.n_free = DEPTH};
    struct error err = {""};
    if (c->size > 1) {
        CHECK_INT(link_init(&r.link, c, DEPTH, (size_t)3 << 30, &err), -1);
        CHECK_THAT(strstr(err.text, "3221225472") != NULL, "the message is \"%s\"", err.text);
    }
    if (link_init(&r.link, c, DEPTH, CAPACITY, &err)) {
        CHECK_TEXT(err.text, "");
        return;
    }
    for (int32_t i = 0; i < DEPTH; i++) {
        r.received[i] = malloc(CAPACITY);
        r.outgoing[i] = malloc(CAPACITY);
        r.free_out[i] = i;
        link_post_receive(r.link, r.received[i], i);
    }
    if (c->rank == 0) {
        lead_ring(&r, c->size);
    } else {
        pass_ring(&r, c->rank);
    }
    int32_t tag;
    while (r.n_free < DEPTH) {
        if (link_poll_sent(r.link, &tag)) {
            r.free_out[r.n_free++] = tag;
        }
    }
    size_t total = 0;
    for (int32_t i = 0; i < N_BATCHES; i++) {
        total += batch_size(i);
    }
    struct link_counters counters;
    link_get_counters(r.link, &counters);
    CHECK_INT(counters.messages_sent, N_BATCHES);
    CHECK_INT(counters.bytes_sent, total);
    link_free(r.link); /* with DEPTH receives still posted */
    for (int32_t i = 0; i < DEPTH; i++) {
        free(r.received[i]);
        free(r.outgoing[i]);
    }
}

int main(int argc, char **argv)
{
    struct cluster c;
    struct error err = {""};
    double start_s = clock_now_s();
    if (cluster_init(&c, &argc, &argv, &err)) {
        fprintf(stderr, "cluster_init: %s\n", err.text);
        return 1;
    }
    double started_s = clock_now_s();
    check_peers(&c);
    check_agree(&c);
    check_agree_equal(&c);
    check_collectives(&c);
    check_clocks(&c);
    check_fetch(&c);
    check_ring(&c);
    double end_s = clock_now_s();
    if (c.rank == 0) {
        printf("%d ranks, %s: start %.0f ms, checks %.0f ms\n", c.size, cluster_library(), 1e3 * (started_s - start_s),
               1e3 * (end_s - started_s));
    }
    cluster_finalize(&c);
    return check_result();
}
