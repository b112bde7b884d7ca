/* Ctrl-C and SIGTERM: the first ends the answers and not the program, a second one the program. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_CANCEL_H
#define SRC_COMMANDS_CANCEL_H

#include <signal.h>

/* From now on (mpirun makes a SIGTERM of Ctrl-C). The ranks behind go on until rank 0 has stopped them. */
void cancel_catch_signals(void);
/* Not 0 once the work is to end. */
const volatile sig_atomic_t *cancel_flag(void);
/* Sets it; also because a result cannot be written. */
void cancel_now(void);

#endif
