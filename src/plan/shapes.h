/* Well-known models without their files: shapes, and how large their parts are in the usual mixes of types. Pure.
 * SPDX-License-Identifier: MIT */
#ifndef SRC_PLAN_SHAPES_H
#define SRC_PLAN_SHAPES_H

#include "src/model/config.h"
#include "src/model/slice.h"

/* Names by index from 0; NULL behind the last. */
const char *shapes_model(int32_t index);
const char *shapes_type(int32_t index);

/* The model of that index in that mix. config has the shapes only (no architecture, no rope). */
int shapes_init(struct model_config *config, struct slice_sizes *sizes, int32_t model, int32_t type, struct error *err);
void shapes_free(struct model_config *config, struct slice_sizes *sizes);

#endif
