/* Ranks agree or leave together, on top of cluster_allgather. SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cluster/cluster.h"

/* Appends before, "rank 2" or "ranks 2, 3", and after, for the marked ranks beyond `first`; nothing when there are none. */
static void add_ranks(char *text, size_t size, const char *before, const char *marked, int32_t first, int32_t n_ranks,
                      const char *after)
{
    int32_t n = 0;
    for (int32_t i = first + 1; i < n_ranks; i++) {
        n += marked[i] != 0;
    }
    size_t used = strlen(text);
    int32_t listed = 0;
    for (int32_t i = first + 1; i < n_ranks; i++) {
        if (!marked[i] || used >= size) {
            continue;
        }
        const char *lead = listed ? ", " : before, *noun = listed ? "" : n > 1 ? "ranks " : "rank ";
        int wrote = snprintf(text + used, size - used, "%s%s%d", lead, noun, i);
        used += wrote > 0 ? (size_t)wrote : 0;
        listed++;
    }
    if (listed && used < size) {
        snprintf(text + used, size - used, "%s", after);
    }
}

/* The one text that every rank shows, from everybody's texts. */
static void merge_texts(const struct cluster *c, const struct error *texts, const char *failed, struct error *out)
{
    int32_t first = 0, common = 1;
    while (!failed[first]) {
        first++;
    }
    for (int32_t i = 0; i < c->size; i++) {
        common = common && failed[i] && strcmp(texts[i].text, texts[0].text) == 0;
    }
    if (common) {
        *out = texts[0];
        return;
    }
    error_set(out, "rank %d (%s): %s", first, c->peers[first].host, texts[first].text);
    add_ranks(out->text, sizeof out->text, " (and ", failed, first, c->size, ")");
}

int cluster_agree(struct cluster *c, int status, struct error *err)
{
    if (c->size == 1) {
        return status ? -1 : 0;
    }
    char mine = status != 0, any = 0;
    char *failed = calloc((size_t)c->size, 1);
    if (!failed) {
        fatal("no memory for the states of %d ranks", c->size);
    }
    cluster_allgather(c, &mine, 1, failed);
    for (int32_t i = 0; i < c->size; i++) {
        any = any || failed[i];
    }
    if (any) {
        struct error *texts = calloc((size_t)c->size, sizeof *texts), text = {0};
        if (!texts) {
            fatal("no memory for the messages of %d ranks", c->size);
        }
        if (err && mine) {
            text = *err;
        }
        cluster_allgather(c, &text, sizeof text, texts);
        if (err) {
            merge_texts(c, texts, failed, err);
        }
        free(texts);
    }
    free(failed);
    return any ? -1 : 0;
}

int cluster_agree_equal(struct cluster *c, uint64_t value, const char *what, struct error *err)
{
    uint64_t *values = calloc((size_t)c->size, sizeof *values);
    char *differs = calloc((size_t)c->size, 1);
    if (!values || !differs) {
        fatal("no memory for the values of %d ranks", c->size);
    }
    cluster_allgather(c, &value, sizeof value, values);
    int32_t first = 0;
    for (int32_t i = c->size - 1; i > 0; i--) {
        differs[i] = values[i] != values[0];
        first = differs[i] ? i : first;
    }
    if (first) {
        struct error text;
        error_set(&text, "%s differs: rank %d (%s) has %016" PRIx64 ", rank 0 (%s) has %016" PRIx64, what, first,
                  c->peers[first].host, values[first], c->peers[0].host, values[0]);
        add_ranks(text.text, sizeof text.text, " (also differing: ", differs, first, c->size, ")");
        error_set(err, "%s", text.text);
    }
    free(values);
    free(differs);
    return first ? -1 : 0;
}
