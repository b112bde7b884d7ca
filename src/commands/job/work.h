/* The shape of a command that generates text on all ranks: options, model, division, generation, report.
 * SPDX-License-Identifier: MIT
 *
 * A command brings steps; what is between them is here, and so is what has to happen on all ranks together. */
#ifndef SRC_COMMANDS_JOB_WORK_H
#define SRC_COMMANDS_JOB_WORK_H

#include <stdio.h>

#include "src/commands/common_options.h"
#include "src/commands/request.h"

struct work_steps;

/* The first member of a command's own struct. What is not needed on a rank stays zeroed. */
struct work {
    const struct work_steps *steps; /* borrowed */
    struct common_options *options; /* borrowed: in the command's struct, set by `parse` */
    struct job job;
    struct scheduler scheduler;
    struct generator generator; /* its context is the command's struct */
    struct request_model model; /* with the context that the cache has room for, from `prepare` on */
    int exit_status;            /* of rank 0 when nothing failed */
};

/* In the order in which they are called. Those that return an int: 0, or -1 with *err; the ranks then leave together.
 * NULL where nothing is to be done. */
struct work_steps {
    size_t size;                                                                       /* of the command's struct */
    int (*parse)(struct work *w, int argc, char **argv, int first, struct error *err); /* all ranks; sets w->options */
    void (*help)(FILE *out);                                                           /* rank 0, with --help, and no more */
    int (*open)(struct work *w, struct error *err);                                    /* rank 0, before the model is */
    int (*look)(struct work *w, struct error *err);     /* all ranks, with the model's file; options of the job may be changed */
    int (*read)(struct work *w, struct error *err);     /* rank 0, with the tokenizer: what needs no weights */
    int (*prepare)(struct work *w, struct error *err);  /* rank 0, with the weights and the generator: its callbacks */
    int (*generate)(struct work *w, struct error *err); /* rank 0; the stages stop after it */
    /* rank 0, with everybody's report, [size]; failed: what generate returned */
    int (*report)(struct work *w, const struct job_report *ranks, int failed, struct error *err);
    void (*on_batch)(struct work *w, const struct batch *batch); /* rank 0, while generating: one has come home */
    void (*free)(struct work *w); /* all ranks, whatever was reached; what struct work holds is freed after it */
};

/* The whole command: 0, -1 with *err (the same on all ranks), or on rank 0 w->exit_status. Collective. */
int work_run(const struct work_steps *steps, struct cluster *cluster, int argc, char **argv, int first, struct error *err);

#endif
