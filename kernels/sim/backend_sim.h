/* Inside of the sim backend, for its tests. SPDX-License-Identifier: MIT */
#ifndef KERNELS_SIM_BACKEND_SIM_H
#define KERNELS_SIM_BACKEND_SIM_H

#include "kernels/backend.h"
#include "kernels/board.h"

/* What the operations since step_begin take on the board, seconds, the step itself included. */
double backend_sim_account_s(const struct backend *base);

#endif
