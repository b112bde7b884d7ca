/* SPDX-License-Identifier: MIT */
#include "src/commands/info/info.h"

#include "src/commands/info/info_devices.h"
#include "src/commands/info/info_json.h"
#include "src/commands/info/info_plan.h"
#include "src/commands/info/info_print.h"
#include "src/commands/options.h"

struct info_options {
    const char *model;
    struct option_ints split;
    int32_t n_ranks, n_ctx;
    int k_type, v_type;
    int tensors, devices, json, help;
};

#define AT(field) offsetof(struct info_options, field)
static const char KV_TYPES[] = "f32 f16 q8_0"; /* in the order of enum kv_type */

/* clang-format off */
static const struct option table[] = {
    {.kind = OPTION_GROUP, .help = "Options"},
    {"-m --model", OPTION_TEXT, AT(model), 0, 0, NULL, "FILE", "GGUF file, or any part of a split one"},
    {"--tensors", OPTION_FLAG, AT(tensors), 0, 0, NULL, NULL, "list every tensor too"},
    {"--devices", OPTION_FLAG, AT(devices), 0, 0, NULL, NULL, "instead of a model: the processors, memory and GPUs of each rank"},
    {"--ranks", OPTION_INT, AT(n_ranks), 0, 256, NULL, "N", "show N ranks, divided by bytes alone (default: as many as this job has)"},
    {"--split", OPTION_INTS, AT(split), 0, 100000, NULL, "5,9,9", "layers of each rank (default: by bytes, the head counted)"},
    {"-c --ctx-size", OPTION_INT, AT(n_ctx), 0, 1 << 30, NULL, "N", "context that memory is counted for (default 0: min(model's, 4096))"},
    {"-ctk --cache-type-k", OPTION_CHOICE, AT(k_type), 0, 0, KV_TYPES, "TYPE", "keys in the KV cache: f32 f16 q8_0 (default f16)"},
    {"-ctv --cache-type-v", OPTION_CHOICE, AT(v_type), 0, 0, KV_TYPES, "TYPE", "values in the KV cache (default f16)"},
    {"--json", OPTION_FLAG, AT(json), 0, 0, NULL, NULL, "one JSON object"},
    {"-h --help", OPTION_FLAG, AT(help), 0, 0, NULL, NULL, "this text"},
    {.kind = OPTION_GROUP},
};
/* clang-format on */

static int print(const struct info_options *o, const struct gguf *file, const struct info_plan *plan, struct error *err)
{
    if (o->json) {
        json_t *root = info_json(file, o->tensors);
        int failed = !root || json_object_set_new(root, "plan", info_plan_json(plan)) || json_dumpf(root, stdout, JSON_COMPACT) ||
                     putchar('\n') == EOF || fflush(stdout);
        json_decref(root);
        return failed ? error_set(err, "the description of %s cannot be written", o->model) : 0;
    }
    if (info_print(stdout, file, o->tensors, err)) {
        return -1;
    }
    info_plan_print(stdout, plan);
    return fflush(stdout) || ferror(stdout) ? error_set(err, "the description of %s cannot be written", o->model) : 0;
}

static int info(const struct info_options *o, struct error *err)
{
    struct gguf file;
    struct info_plan plan;
    if (!o->model) {
        return error_set(err, "no model: -m FILE names a GGUF file");
    }
    if (gguf_open(&file, o->model, err)) {
        return -1;
    }
    struct plan_options po = {.n_ranks = o->n_ranks,
                              .split = o->split.given ? o->split.values : NULL,
                              .n_split = o->split.n,
                              .n_ctx = o->n_ctx,
                              .k_type = (enum kv_type)o->k_type,
                              .v_type = (enum kv_type)o->v_type};
    int status = info_plan_init(&plan, &file, &po, err);
    status = status ? status : print(o, &file, &plan, err);
    info_plan_free(&plan);
    gguf_close(&file);
    return status;
}

int command_info(struct cluster *cluster, int argc, char **argv, int first, struct error *err)
{
    struct info_options o = {.k_type = KV_F16, .v_type = KV_F16};
    int status = options_parse(table, &o, argc, argv, first, err);
    if (status == 0 && o.devices && o.json) {
        status = error_set(err, "--devices has no --json");
    }
    if (cluster_agree(cluster, status, err) || cluster_agree_equal(cluster, (uint64_t)(o.devices && !o.help), "--devices", err)) {
        options_free(table, &o);
        return -1;
    }
    if (o.devices && !o.help) {
        options_free(table, &o);
        return cluster_agree(cluster, info_devices(cluster, stdout, err), err);
    }
    o.n_ranks = o.n_ranks ? o.n_ranks : o.split.given && o.split.n ? o.split.n : cluster->size;
    if (cluster->rank == 0) {
        if (o.help) {
            options_print_help(stdout,
                               "Usage: llm info -m FILE [options]\n"
                               "       llm info --devices\n"
                               "Prints the metadata of a model file, what its tensors add up to, and what ranks would own.\n",
                               table);
        } else {
            status = info(&o, err);
        }
    }
    options_free(table, &o);
    return cluster_agree(cluster, status, err);
}
