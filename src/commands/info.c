/* SPDX-License-Identifier: MIT */
#include "src/commands/info.h"

#include "src/commands/info_print.h"
#include "src/commands/options.h"

struct info_options {
    const char *model;
    int tensors, json, help;
};

#define AT(field) offsetof(struct info_options, field)
static const struct option table[] = {
    {.kind = OPTION_GROUP, .help = "Options"},
    {"-m --model", OPTION_TEXT, AT(model), 0, 0, NULL, "FILE", "GGUF file, or any part of a split one"},
    {"--tensors", OPTION_FLAG, AT(tensors), 0, 0, NULL, NULL, "list every tensor too"},
    {"--json", OPTION_FLAG, AT(json), 0, 0, NULL, NULL, "one JSON object"},
    {"-h --help", OPTION_FLAG, AT(help), 0, 0, NULL, NULL, "this text"},
    {.kind = OPTION_GROUP},
};

static int info(const struct info_options *o, struct error *err)
{
    struct gguf file;
    if (!o->model) {
        return error_set(err, "no model: -m FILE names a GGUF file");
    }
    if (gguf_open(&file, o->model, err)) {
        return -1;
    }
    int status = info_print(stdout, &file, o->json, o->tensors, err);
    gguf_close(&file);
    return status;
}

int command_info(struct cluster *cluster, int argc, char **argv, int first, struct error *err)
{
    struct info_options o = {0};
    int status = options_parse(table, &o, argc, argv, first, err);
    if (status == 0 && cluster->rank == 0) {
        if (o.help) {
            options_print_help(stdout, "Usage: llm info -m FILE [options]\nPrints the metadata of a model file and what its tensors add up to.\n", table);
        } else {
            status = info(&o, err);
        }
    }
    return cluster_agree(cluster, status, err);
}
