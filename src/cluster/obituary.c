/* SPDX-License-Identifier: MIT */
#include "src/cluster/obituary.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* All that the handler needs, made before. */
struct neighbour {
    char stat[40]; /* "/proc/PID/stat" */
    char line[CLUSTER_HOST_MAX + 48];
    int is_me;
};
static struct neighbour *neighbours; /* [n_neighbours] owned: the ranks of this machine, in their order */
static volatile sig_atomic_t n_neighbours;

void obituary_init(const struct cluster *c, const pid_t *pids)
{
    int n = 0;
    neighbours = calloc((size_t)c->size, sizeof *neighbours);
    for (int32_t i = 0; neighbours && i < c->size; i++) {
        if (c->peers[i].node != c->peers[c->rank].node || kill(pids[i], 0)) { /* of another machine, or out of sight */
            continue;
        }
        struct neighbour *b = &neighbours[n++];
        snprintf(b->stat, sizeof b->stat, "/proc/%ld/stat", (long)pids[i]);
        snprintf(b->line, sizeof b->line, "llm: rank %d (%s) has died\n", i, c->peers[i].host);
        b->is_me = i == c->rank;
    }
    n_neighbours = n;
}

void obituary_free(void)
{
    n_neighbours = 0;
    free(neighbours);
    neighbours = NULL;
}

/* "pid (name) state ...": the name may hold brackets; a dead process that nobody has waited for is in state Z. */
static int is_dead(const struct neighbour *b)
{
    char text[256];
    int fd = open(b->stat, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT;
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) {
        return n < 0 && errno == ESRCH;
    }
    text[n] = 0;
    const char *close_bracket = strrchr(text, ')');
    return close_bracket && close_bracket + 2 < text + n && (close_bracket[2] == 'Z' || close_bracket[2] == 'X');
}

void obituary_tell(void)
{
    int saved_errno = errno, tells = 1;
    for (int i = 0; i < n_neighbours && !neighbours[i].is_me; i++) {
        tells = tells && is_dead(&neighbours[i]);
    }
    for (int i = 0; tells && i < n_neighbours; i++) {
        if (!neighbours[i].is_me && is_dead(&neighbours[i])) {
            ssize_t unused = write(STDERR_FILENO, neighbours[i].line, strlen(neighbours[i].line));
            (void)unused;
        }
    }
    errno = saved_errno;
}
