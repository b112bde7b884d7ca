/* SPDX-License-Identifier: MIT */
#include "src/commands/tokenize.h"

#include <stdlib.h>
#include <string.h>

#include "src/commands/options.h"
#include "src/commands/prompt.h"
#include "src/commands/tokenize_print.h"

struct tokenize_options {
    const char *model, *prompt, *prompt_file;
    int json, pieces, no_bos, no_special, help;
};

#define AT(field) offsetof(struct tokenize_options, field)
/* clang-format off */
static const struct option table[] = {
    {.kind = OPTION_GROUP, .help = "Options"},
    {"-m --model", OPTION_TEXT, AT(model), 0, 0, NULL, "FILE", "GGUF file with the vocabulary"},
    {"-p --prompt", OPTION_TEXT, AT(prompt), 0, 0, NULL, "TEXT", "the text"},
    {"-f --file", OPTION_TEXT, AT(prompt_file), 0, 0, NULL, "FILE", "read the text from a file (- or neither: standard input)"},
    {"--no-bos", OPTION_FLAG, AT(no_bos), 0, 0, NULL, NULL, "do not put the begin-of-text token before it"},
    {"--no-special", OPTION_FLAG, AT(no_special), 0, 0, NULL, NULL, "read names of special tokens as plain text"},
    {"--pieces", OPTION_FLAG, AT(pieces), 0, 0, NULL, NULL, "a line for each token: id and piece"},
    {"--json", OPTION_FLAG, AT(json), 0, 0, NULL, NULL, "{\"ids\":[...]}"},
    {"-h --help", OPTION_FLAG, AT(help), 0, 0, NULL, NULL, "this text"},
    {.kind = OPTION_GROUP},
};
/* clang-format on */

static int print_ids(const struct tokenize_options *o, const struct tokenizer *t, struct error *err)
{
    int flags = (o->no_bos ? 0 : TOKENIZER_ADD_SPECIAL) | (o->no_special ? 0 : TOKENIZER_PARSE_SPECIAL) |
                (o->pieces ? TOKENIZE_PIECES : 0);
    if (o->prompt) {
        return tokenize_print(stdout, t, o->prompt, strlen(o->prompt), flags, o->json, err);
    }
    char *text;
    size_t n;
    if (prompt_read_text(o->prompt_file ? o->prompt_file : "-", &text, &n, err)) {
        return -1;
    }
    int status = tokenize_print(stdout, t, text, n, flags, o->json, err);
    free(text);
    return status;
}

static int tokenize(const struct tokenize_options *o, struct error *err)
{
    struct gguf file;
    struct tokenizer *tokenizer;
    if (!o->model) {
        return error_set(err, "no model: -m FILE names a GGUF file");
    }
    if (o->prompt && o->prompt_file) {
        return error_set(err, "both -p and -f were given, expected one");
    }
    if (gguf_open(&file, o->model, err)) {
        return -1;
    }
    int status = tokenizer_open(&tokenizer, &file, err) ? error_prefix(err, "%s", o->model) : 0;
    gguf_close(&file);
    if (status == 0) {
        status = print_ids(o, tokenizer, err);
        tokenizer_close(tokenizer);
    }
    return status;
}

int command_tokenize(struct cluster *cluster, int argc, char **argv, int first, struct error *err)
{
    struct tokenize_options o = {0};
    int status = options_parse(table, &o, argc, argv, first, err);
    if (status == 0 && cluster->rank == 0) {
        if (o.help) {
            options_print_help(
                stdout, "Usage: llm tokenize -m FILE -p TEXT [options]\nPrints the ids that run would feed for this text.\n",
                table);
        } else {
            status = tokenize(&o, err);
        }
    }
    return cluster_agree(cluster, status, err);
}
