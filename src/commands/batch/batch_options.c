/* SPDX-License-Identifier: MIT */
#include "src/commands/batch/batch_options.h"

#include <string.h>

#define AT(field) offsetof(struct batch_options, field)

/* clang-format off */
static const struct option table[] = {
    {.kind = OPTION_GROUP, .help = "Model, requests, results"},
    COMMON_MODEL_ROWS(struct batch_options),
    {"-i --input", OPTION_TEXT, AT(input), 0, 0, NULL, "FILE", "requests, one JSON object a line (default -: standard input)"},
    {"-o --output", OPTION_TEXT, AT(output), 0, 0, NULL, "FILE", "results, one JSON object a line (default -: standard output)"},
    {"--unordered", OPTION_FLAG, AT(unordered), 0, 0, NULL, NULL, "results as they are ready (default: in the order of the requests)"},
    {"-np --parallel", OPTION_INT, AT(common.job.n_slots), 0, 4096, NULL, "N", "requests worked on at a time (default 0: up to 32, by memory)"},
    COMMON_PROMPT_ROWS(struct batch_options),
    {.kind = OPTION_GROUP, .help = "Answers, where a request does not say"},
    COMMON_ANSWER_ROWS(struct batch_options),
    COMMON_SAMPLING_ROWS(struct batch_options),
    COMMON_COMPUTE_ROWS(struct batch_options),
    {.kind = OPTION_GROUP, .help = "Messages"},
    COMMON_LOG_ROWS(struct batch_options),
    {.kind = OPTION_GROUP},
};
/* clang-format on */

int batch_options_parse(struct batch_options *o, int argc, char **argv, int first, struct error *err)
{
    memset(o, 0, sizeof *o);
    common_options_default(&o->common);
    o->common.job.n_slots = 0;
    o->input = o->output = "-";
    return options_parse(table, o, argc, argv, first, err) || common_options_check(&o->common, err) ? -1 : 0;
}

void batch_options_free(struct batch_options *o)
{
    options_free(table, o);
}

void batch_options_help(FILE *out)
{
    options_print_help(
        out,
        "Usage: llm batch -m FILE -i REQUESTS.jsonl -o RESULTS.jsonl [options]\n"
        "       mpirun -np N --hostfile FILE llm batch -m FILE -i REQUESTS.jsonl -o RESULTS.jsonl [options]\n"
        "Answers many requests, many at a time. A line of the requests is one of OpenAI's batch API, or the short form\n"
        "{\"prompt\": \"Once upon a time\", \"max_tokens\": 20}, or with \"ids\" or \"messages\" in place of \"prompt\".\n",
        table);
}
