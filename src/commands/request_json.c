/* SPDX-License-Identifier: MIT */
#include "src/commands/request_json.h"

#include "src/commands/json_text.h"

json_t *request_json_ids(const int32_t *ids, int32_t n)
{
    json_t *array = json_array();
    for (int32_t i = 0; i < n; i++) {
        json_array_append_new(array, json_integer(ids[i]));
    }
    return array;
}

static json_t *logprobs(const struct request *r)
{
    json_t *array = json_array();
    int32_t n = r->sequence.n_ids - r->sequence.n_prompt;
    for (int32_t i = 0; r->logprobs && i < n; i++) {
        const struct sampler_result *s = &r->logprobs[i];
        json_t *top = json_array();
        for (int32_t k = 0; k < s->n_top; k++) {
            json_array_append_new(top, json_pack("[i,o]", s->top_ids[k], json_number((double)s->top_logprobs[k])));
        }
        json_array_append_new(array,
                              json_pack("{s:i,s:o,s:o}", "id", s->id, "logprob", json_number((double)s->logprob), "top", top));
    }
    return array;
}

json_t *request_json(const struct request *r)
{
    const struct sequence *q = &r->sequence;
    return json_pack("{s:o,s:o,s:o,s:s,s:I}", "ids", request_json_ids(q->ids + q->n_prompt, q->n_ids - q->n_prompt), "text",
                     json_text(r->text ? r->text : "", r->n_text), "logprobs", logprobs(r), "stop_reason",
                     sequence_stop_name(q->stop), "seed", (json_int_t)q->sampling.seed);
}
