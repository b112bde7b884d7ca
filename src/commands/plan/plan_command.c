/* SPDX-License-Identifier: MIT */
#include "src/commands/plan/plan_command.h"

#include <string.h>

#include "src/commands/job/calibrate.h"
#include "src/commands/job/divide.h"
#include "src/commands/plan/plan_boards.h"
#include "src/commands/plan/plan_print.h"
#include "src/core/log.h"

struct plan_command_options {
    struct job_options job;
    const char *boards, *link;
    int json, verbose, quiet, help;
};

#define AT(field) offsetof(struct plan_command_options, field)
static const char KV_TYPES[] = "f32 f16 q8_0"; /* in the order of enum kv_type */

/* clang-format off */
static const struct option table[] = {
    {.kind = OPTION_GROUP, .help = "What to plan"},
    {"-m --model", OPTION_TEXT, AT(job.model), 0, 0, NULL, "FILE", "GGUF file, the same on every rank"},
    {"-c --ctx-size", OPTION_INT, AT(job.n_ctx), 0, 1 << 30, NULL, "N", "positions of prompt and answer (default 0: min(model's, 4096))"},
    {"--parallel", OPTION_INT, AT(job.n_slots), 1, 4096, NULL, "N", "sequences at a time that need memory for their context (default 1)"},
    {"--objective", OPTION_CHOICE, AT(job.objective), 0, 0, "throughput latency", "WHAT", "split for many streams (throughput) or for one (latency) (default throughput)"},
    {"--mix", OPTION_INTS, AT(job.mix), 0, 1 << 20, NULL, "512,128", "tokens of a typical prompt and answer (default 512,128)"},
    {"--split", OPTION_INTS, AT(job.split), 0, 100000, NULL, "5,9,9", "look at this split instead: layers of each rank"},
    {"--split-head", OPTION_CHOICE, AT(job.split_head), 0, 0, "auto on off", "WHEN", "divide the output matrix among the ranks (default auto)"},
    {.kind = OPTION_GROUP, .help = "Machines"},
    {"--boards", OPTION_TEXT, AT(boards), 0, 0, NULL, "A,2xB", "boards instead of this job's ranks, a name or a file each; without -m: which known models they run"},
    {"--link", OPTION_TEXT, AT(link), 0, 0, NULL, "NAME", "network between the boards: 1gbe 2.5gbe 5gbe 10gbe or a file (default 1gbe)"},
    {"--device", OPTION_TEXT, AT(job.device), 0, 0, NULL, "NAME", "what this job's ranks are: auto, cpu, cuda or sim:BOARD; a,b,... = by rank"},
    {"--sim-link", OPTION_TEXT, AT(job.sim_link), 0, 0, NULL, "NAME", "with sim:BOARD, the network between ranks (default: as it is)"},
    {"-t --threads", OPTION_INT, AT(job.n_threads), 0, 1024, NULL, "N", "threads of a rank (default 0: its share of the node's cores)"},
    {"--isa", OPTION_TEXT, AT(job.isa), 0, 0, NULL, "NAME", "limit CPU kernels: auto scalar avx2 avx512novnni avx512 neon"},
    {"--no-repack", OPTION_FLAG, AT(job.no_repack), 0, 0, NULL, NULL, "leave weights in the mapped file: same answer, loads at once, fewer tokens a second"},
    {"--memory-limit", OPTION_BYTES, AT(job.memory_limit), 0, 0, NULL, "BYTES", "memory a rank may take, e.g. 800M (default: what is free)"},
    {"--calibrate", OPTION_FLAG, AT(job.calibrate), 0, 0, NULL, NULL, "measure the ranks' speeds again, whatever is remembered"},
    {.kind = OPTION_GROUP, .help = "How it would run"},
    {"-b --batch-size", OPTION_INT, AT(job.max_rows), 0, 65536, NULL, "ROWS", "most rows of a batch (default 0: 512, or -ub if that is more)"},
    {"-ub --ubatch-size", OPTION_INT, AT(job.chunk), 0, 65536, NULL, "ROWS", "prompt rows that travel together (default 512; with ranks at most 256, by their speed)"},
    {"--depth", OPTION_INT, AT(job.depth), 0, 64, NULL, "N", "batches in flight (default: twice the ranks)"},
    {"-ctk --cache-type-k", OPTION_CHOICE, AT(job.k_type), 0, 0, KV_TYPES, "TYPE", "keys in the KV cache: f32 f16 q8_0 (default f16)"},
    {"-ctv --cache-type-v", OPTION_CHOICE, AT(job.v_type), 0, 0, KV_TYPES, "TYPE", "values in the KV cache (default f16)"},
    {.kind = OPTION_GROUP, .help = "Output"},
    {"--json", OPTION_FLAG, AT(json), 0, 0, NULL, NULL, "one JSON object on stdout"},
    {"-v --verbose", OPTION_FLAG, AT(verbose), 0, 0, NULL, NULL, "say more on stderr"},
    {"-q --quiet", OPTION_FLAG, AT(quiet), 0, 0, NULL, NULL, "only errors and warnings on stderr"},
    {"-h --help", OPTION_FLAG, AT(help), 0, 0, NULL, NULL, "this text"},
    {.kind = OPTION_GROUP},
};
/* clang-format on */

static int show(const struct job *job, int json, struct error *err)
{
    struct outlook_input in = {&job->sizes, &job->config, divide_options(job), job->links};
    struct outlook_ways ways;
    struct plan_page page = {job, &in, &ways};
    int status = outlook_compare(&in, job->plan, &ways, err);
    if (status == 0) {
        status = json ? plan_print_json(stdout, &page, err) : plan_print(stdout, &page, err);
    }
    outlook_free(&ways);
    return status;
}

static int plan_ranks(struct cluster *cluster, const struct plan_command_options *o, struct error *err)
{
    struct job job;
    int status = job_open(&job, cluster, &o->job, err);
    cluster->is_starting = 1;
    status = status || job_start_threads(&job, err) || divide_measure(&job, CALIBRATE_PLAN_S, RING_EXACT, err) ||
             divide_plan(&job, err);
    cluster->is_starting = 0;
    if (status == 0) {
        status = cluster_agree(cluster, cluster->rank == 0 ? show(&job, o->json, err) : 0, err);
    }
    job_close(&job);
    return status ? -1 : 0;
}

static int parse(struct plan_command_options *o, int argc, char **argv, int first, struct error *err)
{
    job_options_default(&o->job);
    if (options_parse(table, o, argc, argv, first, err)) {
        return -1;
    }
    if (o->job.mix.given && o->job.mix.n != 2) {
        return error_set(err, "--mix has %d numbers, expected two: tokens of a prompt and of an answer", o->job.mix.n);
    }
    if (o->link && !o->boards) {
        return error_set(err, "--link %s was given without --boards, which it belongs to", o->link);
    }
    log_set_level(o->quiet ? LOG_QUIET : o->verbose ? LOG_VERBOSE : LOG_NORMAL);
    return 0;
}

int command_plan(struct cluster *cluster, int argc, char **argv, int first, struct error *err)
{
    struct plan_command_options o = {0};
    int status = cluster_agree(cluster, parse(&o, argc, argv, first, err), err);
    if (status == 0 && o.help) {
        if (cluster->rank == 0) {
            options_print_help(
                stdout,
                "Usage: llm plan -m FILE [options]\n"
                "       mpirun -np N --hostfile FILE llm plan -m FILE [options]\n"
                "       llm plan --boards orin-nano-8,orin-nx-16 [--link 1gbe] [-m FILE] [options]\n"
                "Measures the ranks and links for a moment and prints who would get which layers, the memory that takes,\n"
                "the tokens a second to expect, and whether other uses of the same machines would be faster.\n",
                table);
        }
    } else if (status == 0 && o.boards) {
        struct plan_boards_options bo = {.names = o.boards, .link = o.link ? o.link : "1gbe", .job = &o.job, .json = o.json};
        status = cluster_agree(cluster, cluster->rank == 0 ? plan_boards(stdout, &bo, err) : 0, err);
    } else if (status == 0) {
        status = plan_ranks(cluster, &o, err);
    }
    options_free(table, &o);
    return status;
}
