/* SPDX-License-Identifier: MIT */
#include "src/commands/run_options.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/core/log.h"

#define AT(field) offsetof(struct run_options, field)
static const char KV_TYPES[] = "f32 f16 q8_0"; /* in the order of enum kv_type */

/* clang-format off */
static const struct option table[] = {
    {.kind = OPTION_GROUP, .help = "Model and prompt"},
    {"-m --model", OPTION_TEXT, AT(job.model), 0, 0, NULL, "FILE", "GGUF file, the same on every rank"},
    {"-p --prompt", OPTION_TEXT, AT(prompt), 0, 0, NULL, "TEXT", "the prompt"},
    {"-f --file", OPTION_TEXT, AT(prompt_file), 0, 0, NULL, "FILE", "read the prompt from a file (- or none of -p -f --ids: standard input)"},
    {"--ids", OPTION_INTS, AT(ids), 0, INT_MAX, NULL, "1,2,3", "the prompt as token ids, taken as they are"},
    {"--no-bos", OPTION_FLAG, AT(no_bos), 0, 0, NULL, NULL, "do not put the begin-of-text token before the prompt"},
    {"--no-special", OPTION_FLAG, AT(no_special), 0, 0, NULL, NULL, "read names of special tokens in the prompt as plain text"},
    {.kind = OPTION_GROUP, .help = "Answer"},
    {"-n --predict --n-predict", OPTION_INT, AT(n_predict), -1, INT_MAX, NULL, "N", "tokens to write (default -1: until end of text or context)"},
    {"-c --ctx-size", OPTION_INT, AT(job.n_ctx), 0, 1 << 30, NULL, "N", "positions of prompt and answer (default 0: min(model's, 4096))"},
    {"--stop", OPTION_TEXTS, AT(stops), 0, 0, NULL, "TEXT", "end before this text; may be given several times"},
    {"--ignore-eos", OPTION_FLAG, AT(ignore_eos), 0, 0, NULL, NULL, "never choose a token that ends the text"},
    {.kind = OPTION_GROUP, .help = "Sampling (chain: bias, penalties, top-k, typical, top-p, min-p, temperature)"},
    {"-s --seed", OPTION_SEED, AT(seed), 0, 0, NULL, "N", "seed (default: random, printed)"},
    {"--temp", OPTION_FLOAT, AT(sampling.temperature), 0, 1000, NULL, "T", "temperature; 0 = the most likely token (default 0.8)"},
    {"--top-k", OPTION_INT, AT(sampling.top_k), 0, INT_MAX, NULL, "K", "keep the K most likely; 0 = all (default 40)"},
    {"--top-p", OPTION_FLOAT, AT(sampling.top_p), 0, 1, NULL, "P", "keep the likeliest that make up P; 1 = off (default 0.95)"},
    {"--min-p", OPTION_FLOAT, AT(sampling.min_p), 0, 1, NULL, "P", "keep those with at least P times the best; 0 = off (default 0.05)"},
    {"--typical", OPTION_FLOAT, AT(sampling.typical_p), 0, 1, NULL, "P", "locally typical sampling; 1 = off (default 1)"},
    {"--repeat-penalty", OPTION_FLOAT, AT(sampling.repeat_penalty), 0, 100, NULL, "R", "divide the score of repeated tokens; 1 = off (default 1)"},
    {"--repeat-last-n", OPTION_INT, AT(sampling.repeat_last_n), -1, INT_MAX, NULL, "N", "tokens looked back for penalties; -1 = all (default 64)"},
    {"--presence-penalty", OPTION_FLOAT, AT(sampling.presence_penalty), -100, 100, NULL, "X", "subtract from tokens that appeared (default 0)"},
    {"--frequency-penalty", OPTION_FLOAT, AT(sampling.frequency_penalty), -100, 100, NULL, "X", "the same for each time (default 0)"},
    {"-l --logit-bias", OPTION_TEXTS, AT(biases), 0, 0, NULL, "ID+X", "add X to a token's logit (ID-X subtracts, ID-inf forbids)"},
    {.kind = OPTION_GROUP, .help = "Where and how to compute"},
    {"-t --threads", OPTION_INT, AT(job.n_threads), 0, 1024, NULL, "N", "threads of a rank (default 0: its share of the node's cores)"},
    {"--split", OPTION_INTS, AT(job.split), 0, 100000, NULL, "5,9,9", "layers of each rank (default: by the ranks' speed and memory)"},
    {"--split-head", OPTION_CHOICE, AT(job.split_head), 0, 0, "auto on off", "WHEN", "divide the output matrix among the ranks: auto on off (default auto)"},
    {"--objective", OPTION_CHOICE, AT(job.objective), 0, 0, "throughput latency", "WHAT", "split for many streams (throughput) or for one (latency) (default throughput)"},
    {"--mix", OPTION_INTS, AT(job.mix), 0, 1 << 20, NULL, "512,128", "tokens of a typical prompt and answer, weighed in the split (default 512,128)"},
    {"--calibrate", OPTION_FLAG, AT(job.calibrate), 0, 0, NULL, NULL, "measure the ranks' speeds again, whatever is remembered"},
    {"--device", OPTION_TEXT, AT(job.device), 0, 0, NULL, "NAME", "auto, cpu or sim:BOARD (a board's speed, no real answer); a,b,... = by rank"},
    {"--sim-link", OPTION_TEXT, AT(job.sim_link), 0, 0, NULL, "NAME", "with sim:BOARD, the network between ranks: 1gbe 2.5gbe 5gbe 10gbe (default: as it is)"},
    {"-ngl --gpu-layers", OPTION_TEXT, AT(gpu_layers), 0, 0, NULL, "N", "layers on GPUs: a number, all or auto; this build has no GPU backend"},
    {"--isa", OPTION_TEXT, AT(job.isa), 0, 0, NULL, "NAME", "limit CPU kernels: auto scalar avx2 avx512novnni avx512 neon"},
    {"-b --batch-size", OPTION_INT, AT(job.max_rows), 0, 65536, NULL, "ROWS", "most rows of a batch (default 0: 512, or -ub if that is more)"},
    {"-ub --ubatch-size", OPTION_INT, AT(job.chunk), 0, 65536, NULL, "ROWS", "prompt rows that travel together, at most -b (default 512; 128 with ranks)"},
    {"--depth", OPTION_INT, AT(job.depth), 0, 64, NULL, "N", "batches in flight (default: ranks + 1)"},
    {"-ctk --cache-type-k", OPTION_CHOICE, AT(job.k_type), 0, 0, KV_TYPES, "TYPE", "keys in the KV cache: f32 f16 q8_0 (default f16)"},
    {"-ctv --cache-type-v", OPTION_CHOICE, AT(job.v_type), 0, 0, KV_TYPES, "TYPE", "values in the KV cache (default f16)"},
    {"--memory-limit", OPTION_BYTES, AT(job.memory_limit), 0, 0, NULL, "BYTES", "memory a rank may take, e.g. 800M (default: what is free)"},
    {.kind = OPTION_GROUP, .help = "Output"},
    {"--json", OPTION_FLAG, AT(json), 0, 0, NULL, NULL, "one JSON object on stdout: ids, text, logprobs, timings, ranks"},
    {"--logprobs", OPTION_INT, AT(sampling.n_logprobs), 0, SAMPLER_MAX_LOGPROBS, NULL, "N", "log-probabilities of the N likeliest tokens, with --json"},
    {"--logits-out", OPTION_TEXT, AT(logits_path), 0, 0, NULL, "FILE", "write the prompt's logits, f32 [n_prompt, n_vocab]"},
    {"--trace", OPTION_TEXT, AT(job.trace), 0, 0, NULL, "FILE", "write a timeline of all ranks, for ui.perfetto.dev or chrome://tracing"},
    {"-v --verbose", OPTION_FLAG, AT(verbose), 0, 0, NULL, NULL, "say more on stderr"},
    {"-q --quiet", OPTION_FLAG, AT(quiet), 0, 0, NULL, NULL, "only errors and warnings on stderr"},
    {"-h --help", OPTION_FLAG, AT(help), 0, 0, NULL, NULL, "this text"},
    {.kind = OPTION_GROUP},
};
/* clang-format on */

static int check_gpu_layers(const struct run_options *o, struct error *err)
{
    if (!o->gpu_layers || strcmp(o->gpu_layers, "auto") == 0 || strcmp(o->gpu_layers, "all") == 0) {
        return 0;
    }
    char *end;
    long n = strtol(o->gpu_layers, &end, 10);
    return end == o->gpu_layers || *end || n < 0 ? error_set(err, "-ngl is \"%s\", expected a number, all or auto", o->gpu_layers)
                                                 : 0;
}

int run_options_parse(struct run_options *o, int argc, char **argv, int first, struct error *err)
{
    memset(o, 0, sizeof *o);
    job_options_default(&o->job);
    sampler_params_default(&o->sampling);
    o->n_predict = -1;
    o->seed = -1;
    if (options_parse(table, o, argc, argv, first, err) || check_gpu_layers(o, err) || sampler_params_check(&o->sampling, err)) {
        return -1;
    }
    if ((o->prompt != NULL) + (o->prompt_file != NULL) + o->ids.given > 1) {
        return error_set(err, "more than one of -p, -f and --ids was given, expected one");
    }
    if (o->sampling.n_logprobs > 0 && !o->json) {
        return error_set(err, "--logprobs %d was given without --json, which shows them", o->sampling.n_logprobs);
    }
    for (int i = 0; i < o->stops.n; i++) {
        if (!*o->stops.texts[i]) {
            return error_set(err, "--stop is empty, expected a text");
        }
    }
    log_set_level(o->quiet ? LOG_QUIET : o->verbose ? LOG_VERBOSE : LOG_NORMAL);
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
        "Other commands: bench, info, tokenize (llm COMMAND --help).\n",
        table);
}

int run_options_parse_bias(const char *text, int32_t n_vocab, struct sampler_bias *out, struct error *err)
{
    char *end, *rest;
    long id = strtol(text, &end, 10);
    if (end == text || (*end != '+' && *end != '-')) {
        return error_set(err, "--logit-bias is \"%s\", expected ID+BIAS or ID-BIAS", text);
    }
    out->bias = strtof(end, &rest);
    if (rest == end || *rest || isnan(out->bias)) {
        return error_set(err, "--logit-bias is \"%s\", expected ID+BIAS or ID-BIAS", text);
    }
    if (id < 0 || id >= n_vocab) {
        return error_set(err, "--logit-bias names token %ld, the vocabulary has 0 to %d", id, n_vocab - 1);
    }
    out->id = (int32_t)id;
    return 0;
}
