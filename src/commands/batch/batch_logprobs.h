/* Log-probabilities as OpenAI's two endpoints give them. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_BATCH_BATCH_LOGPROBS_H
#define SRC_COMMANDS_BATCH_BATCH_LOGPROBS_H

#include <jansson.h>

#include "src/commands/request.h"

/* {"tokens", "token_logprobs", "top_logprobs", "text_offset"}: a token that is no UTF-8 by itself is spelled "bytes:\xe2\x80";
 * text_offset counts characters from the beginning of the answer; top_logprobs has the n_top likeliest and the chosen one. */
json_t *batch_logprobs_completion(const struct request *r, int32_t n_top);
/* {"content": [{"token", "logprob", "bytes", "top_logprobs": [{"token", "logprob", "bytes"}]}], "refusal": null} */
json_t *batch_logprobs_chat(const struct request *r, int32_t n_top);

#endif
