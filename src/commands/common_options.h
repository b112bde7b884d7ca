/* Options that every command which generates text has, as rows for its table. SPDX-License-Identifier: MIT
 *
 * A command's options struct has a field `common`; its table takes the groups of rows that it wants: COMMON_..._ROWS(struct x).
 */
#ifndef SRC_COMMANDS_COMMON_OPTIONS_H
#define SRC_COMMANDS_COMMON_OPTIONS_H

#include <limits.h>

#include "src/commands/job/job.h"
#include "src/commands/options.h"
#include "src/engine/sampler.h"

struct common_options {
    struct job_options job;
    struct sampler_params sampling;
    int64_t seed;               /* -1 = random */
    int seed_drawn;             /* by common_options_seed() */
    struct option_texts biases; /* "ID+1.5", "ID-inf" */
    struct option_texts stops;
    const char *gpu_layers;
    int32_t n_predict; /* -1 = until end of text or context */
    int ignore_eos, no_bos, no_special, verbose, quiet, help;
};

void common_options_default(struct common_options *o);
/* After the command line was read: values that the table does not check, and the log level. */
int common_options_check(struct common_options *o, struct error *err);
/* Says on rank 0 what was asked for and is not there. */
void common_options_warn(const struct common_options *o, const struct job *job);
/* The seed of this job: the one given, or a random one (then o->seed is set). */
uint64_t common_options_seed(struct common_options *o);
/* Says a random seed that something is drawn with. Only once everything was checked: an error is one line. */
void common_options_report_seed(const struct common_options *o);

#define COMMON_KV_TYPES "f32 f16 q8_0" /* in the order of enum kv_type */

/* clang-format off */
#define COMMON_MODEL_ROWS(type) \
    {"-m --model", OPTION_TEXT, offsetof(type, common.job.model), 0, 0, NULL, "FILE", "GGUF file, the same on every rank"}

#define COMMON_PROMPT_ROWS(type) \
    {"--no-bos", OPTION_FLAG, offsetof(type, common.no_bos), 0, 0, NULL, NULL, "do not put the begin-of-text token before the prompt"}, \
    {"--no-special", OPTION_FLAG, offsetof(type, common.no_special), 0, 0, NULL, NULL, "read names of special tokens in the prompt as plain text"}

#define COMMON_ANSWER_ROWS(type) \
    {"-n --predict --n-predict", OPTION_INT, offsetof(type, common.n_predict), -1, INT_MAX, NULL, "N", "tokens to write (default -1: until end of text or context)"}, \
    {"-c --ctx-size", OPTION_INT, offsetof(type, common.job.n_ctx), 0, 1 << 30, NULL, "N", "positions of prompt and answer (default 0: min(model's, 4096))"}, \
    {"--stop", OPTION_TEXTS, offsetof(type, common.stops), 0, 0, NULL, "TEXT", "end before this text; may be given several times"}, \
    {"--ignore-eos", OPTION_FLAG, offsetof(type, common.ignore_eos), 0, 0, NULL, NULL, "never choose a token that ends the text"}

#define COMMON_SAMPLING_ROWS(type) \
    {.kind = OPTION_GROUP, .help = "Sampling (chain: bias, penalties, top-k, typical, top-p, min-p, temperature)"}, \
    {"-s --seed", OPTION_SEED, offsetof(type, common.seed), 0, 0, NULL, "N", "seed (default: random, printed)"}, \
    {"--temp", OPTION_FLOAT, offsetof(type, common.sampling.temperature), 0, 1000, NULL, "T", "temperature; 0 = the most likely token (default 0.8)"}, \
    {"--top-k", OPTION_INT, offsetof(type, common.sampling.top_k), 0, INT_MAX, NULL, "K", "keep the K most likely; 0 = all (default 40)"}, \
    {"--top-p", OPTION_FLOAT, offsetof(type, common.sampling.top_p), 0, 1, NULL, "P", "keep the likeliest that make up P; 1 = off (default 0.95)"}, \
    {"--min-p", OPTION_FLOAT, offsetof(type, common.sampling.min_p), 0, 1, NULL, "P", "keep those with at least P times the best; 0 = off (default 0.05)"}, \
    {"--typical", OPTION_FLOAT, offsetof(type, common.sampling.typical_p), 0, 1, NULL, "P", "locally typical sampling; 1 = off (default 1)"}, \
    {"--repeat-penalty", OPTION_FLOAT, offsetof(type, common.sampling.repeat_penalty), 0, 100, NULL, "R", "divide the score of repeated tokens; 1 = off (default 1)"}, \
    {"--repeat-last-n", OPTION_INT, offsetof(type, common.sampling.repeat_last_n), -1, INT_MAX, NULL, "N", "tokens looked back for penalties; -1 = all (default 64)"}, \
    {"--presence-penalty", OPTION_FLOAT, offsetof(type, common.sampling.presence_penalty), -100, 100, NULL, "X", "subtract from tokens that appeared (default 0)"}, \
    {"--frequency-penalty", OPTION_FLOAT, offsetof(type, common.sampling.frequency_penalty), -100, 100, NULL, "X", "the same for each time (default 0)"}, \
    {"-l --logit-bias", OPTION_TEXTS, offsetof(type, common.biases), 0, 0, NULL, "ID+X", "add X to a token's logit (ID-X subtracts, ID-inf forbids)"}

#define COMMON_COMPUTE_ROWS(type) \
    {.kind = OPTION_GROUP, .help = "Where and how to compute"}, \
    {"-t --threads", OPTION_INT, offsetof(type, common.job.n_threads), 0, 1024, NULL, "N", "threads of a rank (default 0: its share of the node's cores)"}, \
    {"--split", OPTION_INTS, offsetof(type, common.job.split), 0, 100000, NULL, "5,9,9", "layers of each rank (default: by the ranks' speed and memory)"}, \
    {"--split-head", OPTION_CHOICE, offsetof(type, common.job.split_head), 0, 0, "auto on off", "WHEN", "divide the output matrix among the ranks: auto on off (default auto)"}, \
    {"--objective", OPTION_CHOICE, offsetof(type, common.job.objective), 0, 0, "throughput latency", "WHAT", "split for many streams (throughput) or for one (latency) (default throughput)"}, \
    {"--mix", OPTION_INTS, offsetof(type, common.job.mix), 0, 1 << 20, NULL, "512,128", "tokens of a typical prompt and answer, weighed in the split (default 512,128)"}, \
    {"--calibrate", OPTION_FLAG, offsetof(type, common.job.calibrate), 0, 0, NULL, NULL, "measure the ranks' speeds again, whatever is remembered"}, \
    {"--device", OPTION_TEXT, offsetof(type, common.job.device), 0, 0, NULL, "NAME", "auto, cpu, cuda or sim:BOARD (a board's speed, no real answer); a,b,... = by rank"}, \
    {"--gpu", OPTION_INT, offsetof(type, common.job.gpu), -1, 63, NULL, "N", "the GPU of a rank, by CUDA's number (default: ranks of a machine take turns)"}, \
    {"--sim-link", OPTION_TEXT, offsetof(type, common.job.sim_link), 0, 0, NULL, "NAME", "with sim:BOARD, the network between ranks: 1gbe 2.5gbe 5gbe 10gbe (default: as it is)"}, \
    {"-ngl --gpu-layers", OPTION_TEXT, offsetof(type, common.gpu_layers), 0, 0, NULL, "N", "layers on GPUs, the last ones of the model, the head first: a number, all or auto (default auto: what fits)"}, \
    {"--no-gpu-graphs", OPTION_FLAG, offsetof(type, common.job.no_gpu_graphs), 0, 0, NULL, NULL, "launch each step of a GPU kernel by kernel: same answer, slower"}, \
    {"--gpu-math", OPTION_CHOICE, offsetof(type, common.job.gpu_math_fast), 0, 0, "exact fast", "HOW", "exact, or fast: long prompts by cuBLAS, another answer than elsewhere (default exact)"}, \
    {"--isa", OPTION_TEXT, offsetof(type, common.job.isa), 0, 0, NULL, "NAME", "limit CPU kernels: auto scalar avx2 avx512novnni avx512 neon"}, \
    {"--no-repack", OPTION_FLAG, offsetof(type, common.job.no_repack), 0, 0, NULL, NULL, "leave weights in the mapped file: same answer, loads at once, fewer tokens a second"}, \
    {"-b --batch-size", OPTION_INT, offsetof(type, common.job.max_rows), 0, 65536, NULL, "ROWS", "most rows of a batch (default 0: 512, or -ub if that is more)"}, \
    {"-ub --ubatch-size", OPTION_INT, offsetof(type, common.job.chunk), 0, 65536, NULL, "ROWS", "prompt rows that travel together, at most -b (default 512; with ranks at most 256, by their speed)"}, \
    {"--depth", OPTION_INT, offsetof(type, common.job.depth), 0, 64, NULL, "N", "batches in flight (default: twice the ranks)"}, \
    {"-ctk --cache-type-k", OPTION_CHOICE, offsetof(type, common.job.k_type), 0, 0, COMMON_KV_TYPES, "TYPE", "keys in the KV cache: f32 f16 q8_0 (default f16)"}, \
    {"-ctv --cache-type-v", OPTION_CHOICE, offsetof(type, common.job.v_type), 0, 0, COMMON_KV_TYPES, "TYPE", "values in the KV cache (default f16)"}, \
    {"--kv-memory", OPTION_BYTES, offsetof(type, common.job.kv_memory), 0, 0, NULL, "BYTES", "KV cache of a rank, e.g. 2G (default: room for -c positions a request)"}, \
    {"--memory-limit", OPTION_BYTES, offsetof(type, common.job.memory_limit), 0, 0, NULL, "BYTES", "memory a rank may take, e.g. 800M (default: what is free)"}

#define COMMON_LOG_ROWS(type) \
    {"--trace", OPTION_TEXT, offsetof(type, common.job.trace), 0, 0, NULL, "FILE", "write a timeline of all ranks, for ui.perfetto.dev or chrome://tracing"}, \
    {"-v --verbose", OPTION_FLAG, offsetof(type, common.verbose), 0, 0, NULL, NULL, "say more on stderr"}, \
    {"-q --quiet", OPTION_FLAG, offsetof(type, common.quiet), 0, 0, NULL, NULL, "only errors and warnings on stderr"}, \
    {"-h --help", OPTION_FLAG, offsetof(type, common.help), 0, 0, NULL, NULL, "this text"}
/* clang-format on */

#endif
