/* One line of a batch: from its JSON to a request that can run. SPDX-License-Identifier: MIT
 *
 * Two forms. OpenAI's: {"custom_id", "method", "url": "/v1/completions" or "/v1/chat/completions", "body": {...}}. Short:
 * {"prompt" or "ids" or "messages", ...} with what would be in a body beside it. Fields that are not known are ignored; those
 * that would change the answer and cannot be honoured are refused. Source: OpenAI's API reference (batch, completions, chat). */
#ifndef SRC_COMMANDS_BATCH_BATCH_REQUEST_H
#define SRC_COMMANDS_BATCH_BATCH_REQUEST_H

#include <jansson.h>

#include "io/chatml.h"
#include "src/commands/request.h"

enum batch_form { BATCH_UNREADABLE, BATCH_SHORT, BATCH_COMPLETION, BATCH_CHAT };

/* What the lines of a job have in common; does not change once the first is parsed. */
struct batch_setup {
    const struct request_model *model;     /* borrowed */
    const struct request_params *defaults; /* borrowed: where a line does not say */
    const struct chatml *chat;             /* borrowed; NULL when messages cannot become a prompt: */
    const char *no_chat;                   /* why not */
    uint64_t seed;                         /* of the job */
    int no_bos, no_special;
    int no_logprobs; /* simulated boards have none */
};

struct batch_request {
    struct batch_request *next; /* the queue it waits in */
    int64_t line, index;        /* of the input, from 1; of the requests, from 0 */
    enum batch_form form;
    json_t *custom_id; /* owned; as given, NULL = not given */
    json_t *id;        /* owned; the short form's */
    json_t *model;     /* owned; the body's */
    uint64_t id_bits;  /* what the result's ids are made of: the same for the same seed and line */
    const char *code;  /* NULL = it can run; else what is wrong in a word, and in *error */
    char *error;       /* owned */
    struct tokenizer_ids prompt;
    struct request_params params;
    int wants_logprobs;
    int32_t n_top; /* alternatives that the result lists */
    struct request request;
    int started; /* `request` is there */
};
/* A request for any line of n bytes, bad ones too (code and error are set); NULL only when out of memory. */
struct batch_request *batch_request_parse(const struct batch_setup *setup, int64_t line, const char *text, size_t n);
/* Sets code and error: "line 7: ...". */
void batch_request_refuse(struct batch_request *b, const char *code, const char *message);
void batch_request_free(struct batch_request *b);

#endif
