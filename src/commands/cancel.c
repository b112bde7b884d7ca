/* SPDX-License-Identifier: MIT */
#include "src/commands/cancel.h"

#include <stddef.h>

#include "src/cluster/obituary.h"

static volatile sig_atomic_t cancelled;

static void on_signal(int signal_number)
{
    if (signal_number == SIGTERM) {
        obituary_tell(); /* mpirun sends it also when a rank has died */
    }
    cancelled = 1;
}

void cancel_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a reader who has gone is told as an error of the write */
}

const volatile sig_atomic_t *cancel_flag(void)
{
    return &cancelled;
}

void cancel_now(void)
{
    cancelled = 1;
}
