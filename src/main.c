/* llm: pipeline-parallel inference of large language models over MPI. Picks the command. SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/cluster/cluster.h"
#include "src/commands/batch/batch.h"
#include "src/commands/bench/bench.h"
#include "src/commands/info/info.h"
#include "src/commands/plan/plan_command.h"
#include "src/commands/run.h"
#include "src/commands/tokenize.h"

enum { EXIT_USER_ERROR = 2 };

/* argv[first..argc) are the command's options. 0, -1 with *err, or an exit status that needs no words. Collective. */
typedef int (*command_fn)(struct cluster *cluster, int argc, char **argv, int first, struct error *err);

/* clang-format off */
static const struct {
    const char *name;
    command_fn run;
} commands[] = {
    {"run", command_run},
    {"batch", command_batch},
    {"bench", command_bench},
    {"info", command_info},
    {"plan", command_plan},
    {"tokenize", command_tokenize},
};
/* clang-format on */

/* A mapped file that somebody cut short while it is in use. */
static void on_sigbus(int signal_number)
{
    static const char text[] = "llm: a model file was cut short while it was in use, or cannot be read any more\n";
    (void)signal_number;
    ssize_t unused = write(STDERR_FILENO, text, sizeof text - 1);
    (void)unused;
    _exit(1);
}

/* Name and --help decide which collective steps follow, so all ranks must have the same (mpirun can start different ones). */
static uint64_t command_hash(int argc, char **argv)
{
    uint64_t hash = 0;
    for (int i = 1; i < argc; i++) {
        int counts = (i == 1 && argv[i][0] != '-') || strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0 ||
                     strcmp(argv[i], "--version") == 0;
        for (const char *c = counts ? argv[i] : ""; *c; c++) {
            hash = hash * 31 + (uint64_t)*c;
        }
    }
    return hash;
}

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
    return error_set(
        err, "unknown command \"%s\"; known: run, batch, bench, info, plan, tokenize (a model file is given with -m FILE)",
        argv[1]);
}

int main(int argc, char **argv)
{
    struct cluster cluster;
    struct error err = {0};
    if (cluster_init(&cluster, &argc, &argv, &err)) {
        fprintf(stderr, "llm: %s\n", err.text);
        return EXIT_USER_ERROR;
    }
    signal(SIGBUS, on_sigbus);
    int status = cluster_agree_equal(&cluster, command_hash(argc, argv), "the command", &err);
    cluster.is_starting = 0; /* the commands say when they start something together */
    status = status ? status : run_command(&cluster, argc, argv, &err);
    if (status < 0 && cluster.rank == 0) {
        fprintf(stderr, "llm: %s\n", err.text);
    }
    cluster_finalize(&cluster);
    return status < 0 ? EXIT_USER_ERROR : status;
}
