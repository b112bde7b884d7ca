/* The JSON form of `llm info`. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_INFO_INFO_JSON_H
#define SRC_COMMANDS_INFO_INFO_JSON_H

#include <jansson.h>

#include "io/gguf.h"

/* Path, version, has_data, parts, metadata, totals, and tensors when with_tensors. Arrays of at most 256 elements are JSON
 * arrays; a longer one is {"kind":, "count":, "first": [its first 8]}. NULL when out of memory. */
json_t *info_json(const struct gguf *file, int with_tensors);

#endif
