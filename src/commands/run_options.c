/* SPDX-License-Identifier: MIT */
#include "src/commands/run_options.h"

#include <string.h>

#define AT(field) offsetof(struct run_options, field)

/* clang-format off */
static const struct option table[] = {
    {.kind = OPTION_GROUP, .help = "Model and prompt"},
    COMMON_MODEL_ROWS(struct run_options),
    {"-p --prompt", OPTION_TEXT, AT(prompt), 0, 0, NULL, "TEXT", "the prompt"},
    {"-f --file", OPTION_TEXT, AT(prompt_file), 0, 0, NULL, "FILE", "read the prompt from a file (- or none of -p -f --ids: standard input)"},
    {"--ids", OPTION_INTS, AT(ids), 0, INT_MAX, NULL, "1,2,3", "the prompt as token ids, taken as they are"},
    COMMON_PROMPT_ROWS(struct run_options),
    {.kind = OPTION_GROUP, .help = "Answer"},
    COMMON_ANSWER_ROWS(struct run_options),
    COMMON_SAMPLING_ROWS(struct run_options),
    COMMON_COMPUTE_ROWS(struct run_options),
    {.kind = OPTION_GROUP, .help = "Output"},
    {"--json", OPTION_FLAG, AT(json), 0, 0, NULL, NULL, "one JSON object on stdout: ids, text, logprobs, timings, ranks"},
    {"--logprobs", OPTION_INT, AT(common.sampling.n_logprobs), 0, SAMPLER_MAX_LOGPROBS, NULL, "N", "log-probabilities of the N likeliest tokens, with --json"},
    {"--logits-out", OPTION_TEXT, AT(logits_path), 0, 0, NULL, "FILE", "write the prompt's logits, f32 [n_prompt, n_vocab]"},
    COMMON_LOG_ROWS(struct run_options),
    {.kind = OPTION_GROUP},
};
/* clang-format on */

int run_options_parse(struct run_options *o, int argc, char **argv, int first, struct error *err)
{
    memset(o, 0, sizeof *o);
    common_options_default(&o->common);
    if (options_parse(table, o, argc, argv, first, err) || common_options_check(&o->common, err)) {
        return -1;
    }
    if ((o->prompt != NULL) + (o->prompt_file != NULL) + o->ids.given > 1) {
        return error_set(err, "more than one of -p, -f and --ids was given, expected one");
    }
    if (o->common.sampling.n_logprobs > 0 && !o->json) {
        return error_set(err, "--logprobs %d was given without --json, which shows them", o->common.sampling.n_logprobs);
    }
    return 0;
}

void run_options_free(struct run_options *o)
{
    options_free(table, o);
}

void run_options_help(FILE *out)
{
    options_print_help(
        out,
        "Usage: llm [run] -m FILE -p TEXT [options]\n"
        "       mpirun -np N --hostfile FILE llm -m FILE -p TEXT [options]\n"
        "Writes the model's answer to stdout. Every rank owns some of the model's layers; rank 0 reads the prompt and writes.\n"
        "Other commands: batch, bench, plan, info, tokenize (llm COMMAND --help).\n",
        table);
}
