/* The fields of a request that say how the answer is to be written. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_BATCH_BATCH_FIELDS_H
#define SRC_COMMANDS_BATCH_BATCH_FIELDS_H

#include <jansson.h>

#include "src/commands/request.h"

/* max_tokens, sampling, seed, stop, logit_bias: overwrites what the object has (null = not given), with a check of type and
 * range. */
int batch_fields_apply(struct request_params *p, const json_t *object, int32_t n_vocab, struct error *err);
/* Refuses fields that would change the answer and cannot be honoured ("n": 2, "tools", ...), and those that nobody knows. */
int batch_fields_check_unsupported(const json_t *object, struct error *err);

/* The field, or NULL when it is not there or null. */
const json_t *batch_field(const json_t *object, const char *name);
/* "NAME" is VALUE, expected ... */
int batch_field_error(const char *name, const json_t *value, const char *expected, struct error *err);
/* A whole number in [low, high]; *out stays when it is not given. */
int batch_field_int(const json_t *object, const char *name, int64_t low, int64_t high, int64_t *out, struct error *err);
int batch_field_bool(const json_t *object, const char *name, int *out, struct error *err);

#endif
