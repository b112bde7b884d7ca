/* How fast a described board would compute a model's layers and head, by the same account as the sim backend keeps. Pure.
 * SPDX-License-Identifier: MIT */
#ifndef SRC_PLAN_SPEED_BOARD_H
#define SRC_PLAN_SPEED_BOARD_H

#include "kernels/board.h"
#include "src/plan/speed.h"
#include "src/model/config.h"
#include "src/model/slice.h"

/* The mean layer of the model. */
void speed_from_board(struct speed *out, const struct board *board, const struct slice_sizes *sizes,
                      const struct model_config *config, enum kv_type k_type, enum kv_type v_type);

#endif
