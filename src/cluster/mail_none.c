/* The mail of a program built without MPI: one rank has nobody to write to. SPDX-License-Identifier: MIT */
#include "src/cluster/mail.h"

#include <math.h>

int mail_init(struct mail **m, struct cluster *c, struct error *err)
{
    (void)c;
    *m = NULL;
    return error_set(err, "this build knows one rank only (ENABLE_MPI=OFF)");
}

void mail_free(struct mail *m)
{
    (void)m;
}

void mail_send(struct mail *m, int32_t to, const void *buffer, size_t bytes, int32_t *n_pending)
{
    (void)m, (void)buffer, (void)bytes, (void)n_pending;
    fatal("there is no rank %d in a build without MPI", to);
}

void mail_set_delay(struct mail *m, struct link_delay *port)
{
    (void)m, (void)port;
}

double mail_next_due_s(const struct mail *m)
{
    (void)m;
    return INFINITY;
}

struct mail_letter *mail_poll(struct mail *m)
{
    (void)m;
    return NULL;
}

void mail_release(struct mail *m, struct mail_letter *letter)
{
    (void)m, (void)letter;
}

uint64_t mail_bytes_sent(const struct mail *m)
{
    (void)m;
    return 0;
}
