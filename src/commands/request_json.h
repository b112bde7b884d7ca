/* What became of a request as JSON: the part that the results of all commands share. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_REQUEST_JSON_H
#define SRC_COMMANDS_REQUEST_JSON_H

#include <jansson.h>

#include "src/commands/request.h"

/* [1,2,3] */
json_t *request_json_ids(const int32_t *ids, int32_t n);
/* {"ids", "text", "logprobs", "stop_reason", "seed"}, as README.md describes them. NULL when out of memory. */
json_t *request_json(const struct request *r);

#endif
