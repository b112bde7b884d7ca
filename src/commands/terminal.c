/* SPDX-License-Identifier: MIT */
#include "src/commands/terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int terminal_reached(int fd)
{
    char path[64], target[64];
    if (isatty(fd)) {
        return 1;
    }
    /* mpirun reads its ranks' output through a pipe and writes it to its own. */
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getppid(), fd);
    ssize_t n = readlink(path, target, sizeof target - 1);
    target[n > 0 ? n : 0] = 0;
    return getenv("OMPI_COMM_WORLD_RANK") && strncmp(target, "/dev/pts/", 9) == 0;
}
