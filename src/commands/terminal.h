/* Whether somebody is looking. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_TERMINAL_H
#define SRC_COMMANDS_TERMINAL_H

/* 1 when what is written to this file descriptor (1 or 2) reaches a terminal: itself, or through the mpirun that started the
 * program. */
int terminal_reached(int fd);

#endif
