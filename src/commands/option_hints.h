/* What to use in place of options that people know from llama.cpp. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_OPTION_HINTS_H
#define SRC_COMMANDS_OPTION_HINTS_H

#include <stddef.h>

/* The hint for an option (n bytes of its name) that a command does not have, or NULL. */
const char *option_hint(const char *name, size_t n);

#endif
