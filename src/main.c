/* llm: pipeline-parallel inference of large language models over MPI. Picks the command. SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "src/cluster/cluster.h"
#include "src/commands/info.h"
#include "src/commands/run.h"
#include "src/commands/tokenize.h"

enum { EXIT_USER_ERROR = 2 };

/* argv[first..argc) are the command's options. Collective. */
typedef int (*command_fn)(struct cluster *cluster, int argc, char **argv, int first, struct error *err);

static const struct {
    const char *name;
    command_fn run;
} commands[] = {
    {"run", command_run},
    {"info", command_info},
    {"tokenize", command_tokenize},
};

static int run_command(struct cluster *cluster, int argc, char **argv, struct error *err)
{
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        if (cluster->rank == 0) {
            printf("llm %s (%s)\n", LLM_VERSION, cluster_library());
        }
        return 0;
    }
    if (argc < 2 || argv[1][0] == '-') {
        return command_run(cluster, argc, argv, 1, err);
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(cluster, argc, argv, 2, err);
        }
    }
    return error_set(err, "unknown command \"%s\"; known: run, info, tokenize (a model file is given with -m FILE)", argv[1]);
}

int main(int argc, char **argv)
{
    struct cluster cluster;
    struct error err = {0};
    if (cluster_init(&cluster, &argc, &argv, &err)) {
        fprintf(stderr, "llm: %s\n", err.text);
        return EXIT_USER_ERROR;
    }
    int status = run_command(&cluster, argc, argv, &err);
    if (status && cluster.rank == 0) {
        fprintf(stderr, "llm: %s\n", err.text);
    }
    cluster_finalize(&cluster);
    return status ? EXIT_USER_ERROR : 0;
}
