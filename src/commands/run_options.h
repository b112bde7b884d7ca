/* Options of `llm run`. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_RUN_OPTIONS_H
#define SRC_COMMANDS_RUN_OPTIONS_H

#include "src/commands/job.h"
#include "src/engine/sampler.h"

struct run_options {
    struct job_options job;
    struct sampler_params sampling;
    int64_t seed;               /* -1 = random */
    struct option_texts biases; /* "ID+1.5", "ID-inf" */
    struct option_texts stops;
    const char *prompt, *prompt_file, *logits_path, *gpu_layers;
    struct option_ints ids;
    int32_t n_predict; /* -1 = until end of text or context */
    int json, ignore_eos, no_bos, no_special, verbose, quiet, help;
};

/* Defaults, then the command line, then what follows from it. *o must be freed whatever the result. */
int run_options_parse(struct run_options *o, int argc, char **argv, int first, struct error *err);
void run_options_free(struct run_options *o);
void run_options_help(FILE *out);

/* "ID+BIAS" or "ID-BIAS" (also inf) of --logit-bias; ids below n_vocab. */
int run_options_parse_bias(const char *text, int32_t n_vocab, struct sampler_bias *out, struct error *err);

#endif
