/* SPDX-License-Identifier: MIT */
#include "src/engine/sequence.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"

const char *sequence_stop_name(enum sequence_stop stop)
{
    static const char *const names[] = {"running", "eos", "stop", "length", "cancelled"};
    return names[stop];
}

int sequence_init(struct sequence *s, const int32_t *ids, int32_t n_prompt, int32_t max_ids, struct error *err)
{
    assert(n_prompt >= 1 && n_prompt <= max_ids);
    memset(s, 0, sizeof *s);
    s->max_ids = max_ids;
    s->max_pages = (max_ids + KV_PAGE - 1) / KV_PAGE;
    s->slot = -1;
    s->ids = malloc(sizeof *s->ids * (size_t)max_ids);
    s->pages = malloc(sizeof *s->pages * (size_t)s->max_pages);
    if (!s->ids || !s->pages) {
        sequence_free(s);
        return error_set(err, "out of memory for a sequence of %d tokens", max_ids);
    }
    memcpy(s->ids, ids, sizeof *ids * (size_t)n_prompt);
    s->n_prompt = s->n_ids = n_prompt;
    sampler_params_default(&s->sampling);
    return 0;
}

void sequence_free(struct sequence *s)
{
    free(s->ids);
    free(s->pages);
    memset(s, 0, sizeof *s);
}

void sequence_append(struct sequence *s, int32_t id)
{
    assert(s->n_ids < s->max_ids);
    s->ids[s->n_ids++] = id;
}
