/* SPDX-License-Identifier: MIT */
#include "src/commands/plan/plan_boards.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/board.h"
#include "src/commands/job/divide.h"
#include "src/plan/outlook.h"
#include "src/plan/shapes.h"
#include "src/plan/speed_board.h"

enum { MAX_BOARDS = 64, DEFAULT_ROWS = 512, TYPICAL_CTX = 640 /* of one of many streams */, SPLIT_BYTES = 256 };

struct fleet {
    struct board boards[MAX_BOARDS];
    struct ring_link links[MAX_BOARDS];
    struct speed speeds[MAX_BOARDS];
    uint64_t memory[MAX_BOARDS];
    int32_t n;
    struct board_link link;
};

/* What one model comes to. */
struct verdict {
    const char *model, *type;
    uint64_t bytes;
    int32_t longest; /* positions; 0 = does not fit */
    char split[SPLIT_BYTES];
    struct outlook look;
    int32_t n_many;      /* streams that the last figure is for, 0 = no memory for many */
    struct outlook best; /* of the boards alone, for one stream */
    int32_t best_board;  /* -1 = none could */
    struct error why;
};

/* "2xorin-nano-8": the number before the x, 1 without. */
static int add_boards(struct fleet *f, const char *name, struct error *err)
{
    char *end;
    long n = isdigit((unsigned char)*name) ? strtol(name, &end, 10) : 1;
    int counted = isdigit((unsigned char)*name) && *end == 'x';
    const char *kind = counted ? end + 1 : name;
    struct board board;
    if (!*kind || (counted && n < 1)) {
        return error_set(err, "--boards has \"%s\", expected a board, or a number of boards such as 2xorin-nano-8; known: %s",
                         name, board_names());
    }
    if (board_find(kind, &board, err)) {
        return error_prefix(err, "--boards");
    }
    n = counted ? n : 1;
    if (n > MAX_BOARDS - f->n) {
        return error_set(err, "--boards names more than the %d boards that are possible", MAX_BOARDS);
    }
    while (n-- > 0) {
        f->memory[f->n] = board.memory_bytes;
        f->boards[f->n++] = board;
    }
    return 0;
}

static int fleet_init(struct fleet *f, const struct plan_boards_options *o, struct error *err)
{
    memset(f, 0, sizeof *f);
    char *names = strdup(o->names), *rest = names;
    int status = names ? 0 : error_set(err, "out of memory");
    for (char *name; status == 0 && (name = strsep(&rest, ","));) {
        status = add_boards(f, name, err);
    }
    free(names);
    if (status || board_link_find(o->link, &f->link, err)) {
        return status ? -1 : error_prefix(err, "--link");
    }
    for (int32_t i = 0; i < f->n; i++) {
        f->memory[i] = o->job->memory_limit && o->job->memory_limit < f->memory[i] ? o->job->memory_limit : f->memory[i];
        f->links[i] = (struct ring_link){f->link.latency_s, f->link.bytes_per_s};
    }
    return 0;
}

static struct plan_options options_of(const struct fleet *f, const struct job_options *o, int32_t n_ctx, int32_t n_slots)
{
    struct plan_options po = divide_by_options(o);
    po.n_ranks = f->n;
    po.n_ctx = n_ctx;
    po.n_slots = n_slots;
    po.chunk = o->chunk ? o->chunk : job_default_chunk(f->n);
    po.max_rows = o->max_rows ? o->max_rows : n_slots == 1 ? po.chunk : DEFAULT_ROWS;
    po.depth = o->depth ? o->depth : job_default_depth(f->n);
    po.speeds = f->speeds;
    po.memory = f->memory;
    return po;
}

static int fits(const struct outlook_input *in, int32_t n_ctx, struct plan_rank *plan, struct error *err)
{
    struct plan_options o = in->options;
    o.n_ctx = n_ctx;
    return plan_make(in->sizes, in->config, &o, plan, err) == 0 && outlook_of(in, plan).fits;
}

/* The longest context of one sequence, in whole pages; 0 = not even one page, and *err. */
static int32_t longest_context(const struct outlook_input *in, struct plan_rank *plan, struct error *err)
{
    int32_t low = 0, high = plan_pages(in->config->n_ctx_train);
    if (fits(in, in->config->n_ctx_train, plan, NULL)) {
        return in->config->n_ctx_train;
    }
    while (high - low > 1) {
        int32_t middle = low + (high - low) / 2;
        *(fits(in, middle * KV_PAGE, plan, middle == 1 ? err : NULL) ? &low : &high) = middle;
    }
    return low * KV_PAGE;
}

/* "9+9+14". */
static void split_text(const struct plan_rank *plan, int32_t n, char text[SPLIT_BYTES])
{
    int used = 0;
    text[0] = '\0';
    for (int32_t i = 0; i < n && used < SPLIT_BYTES; i++) {
        used += snprintf(text + used, SPLIT_BYTES - (size_t)used, "%s%d", i ? "+" : "",
                         plan[i].range.layer_end - plan[i].range.layer_first);
    }
}

static int judge(struct fleet *f, const struct job_options *o, const struct slice_sizes *sizes, const struct model_config *config,
                 struct verdict *v, struct error *err)
{
    struct plan_rank plan[MAX_BOARDS];
    for (int32_t i = 0; i < f->n; i++) {
        speed_from_board(&f->speeds[i], &f->boards[i], sizes, config, (enum kv_type)o->k_type, (enum kv_type)o->v_type);
    }
    int32_t usual = o->n_ctx ? o->n_ctx : job_default_ctx(config);
    struct outlook_input in = {sizes, config, options_of(f, o, usual, 1), f->links};
    struct outlook_ways ways;
    v->bytes = slice_token_bytes(sizes) + (sizes->tied ? 0 : sizes->embed_bytes);
    v->best_board = -1;
    v->longest = longest_context(&in, plan, &v->why);
    if (v->longest == 0) {
        return 0;
    }
    in.options.n_ctx = usual < v->longest ? usual : v->longest;
    if (plan_make(sizes, config, &in.options, plan, err) || outlook_compare(&in, plan, &ways, err)) {
        return -1;
    }
    v->look = ways.split;
    v->best = ways.one;
    v->best_board = ways.one.fits ? ways.one_rank : -1;
    outlook_free(&ways);
    split_text(plan, f->n, v->split);
    in.options = options_of(f, o, TYPICAL_CTX, outlook_streams[OUTLOOK_STREAMS - 1]);
    v->n_many = plan_make(sizes, config, &in.options, plan, NULL) == 0 && outlook_of(&in, plan).fits ? in.options.n_slots : 0;
    if (v->n_many) {
        v->look.streams[OUTLOOK_STREAMS - 1] = outlook_of(&in, plan).streams[OUTLOOK_STREAMS - 1];
    }
    return 0;
}

static void print_head(FILE *out, const struct fleet *f)
{
    double memory = 0;
    fprintf(out, "Boards:");
    for (int32_t i = 0; i < f->n; i++) {
        memory += (double)f->memory[i];
        fprintf(out, " %s", f->boards[i].name);
    }
    fprintf(out, "\n%.1f GB of memory for models%s%s; predicted from the boards' descriptions, not measured\n\n", memory / 1e9,
            f->n > 1 ? ", network " : "", f->n > 1 ? f->link.name : "");
    fprintf(out, "%-16s %-7s %9s %8s  %-14s %9s %11s %9s\n", "", "", "", "longest", "layers of", "tokens/s:", "", "prompt");
    fprintf(out, "%-16s %-7s %9s %8s  %-14s %9s %11s %9s\n", "model", "types", "weights", "context", "each board", "1 stream",
            "32 streams", "of 2048");
}

static void print_line(FILE *out, const struct fleet *f, const struct verdict *v)
{
    char many[32] = "no memory", remark[128] = "";
    if (v->longest == 0) {
        fprintf(out, "%-16s %-7s %6.1f GB %8s\n", v->model, v->type, (double)v->bytes / 1e9, "-");
        return;
    }
    if (v->n_many) {
        snprintf(many, sizeof many, "%.0f", v->look.streams[OUTLOOK_STREAMS - 1]);
    }
    if (f->n > 1 && v->best_board >= 0 && v->best.streams[0] > v->look.streams[0]) {
        snprintf(remark, sizeof remark, "  %s alone: %.1f", f->boards[v->best_board].name, v->best.streams[0]);
    }
    fprintf(out, "%-16s %-7s %6.1f GB %8d  %-14s %9.1f %11s %9.0f%s\n", v->model, v->type, (double)v->bytes / 1e9, v->longest,
            v->split, v->look.streams[0], many, v->look.prompt, remark);
}

static json_t *line_json(const struct fleet *f, const struct verdict *v)
{
    if (v->longest == 0) {
        return json_pack("{s:s,s:s,s:I,s:b,s:s}", "model", v->model, "types", v->type, "weight_bytes", (json_int_t)v->bytes,
                         "fits", 0, "why", v->why.text);
    }
    return json_pack("{s:s,s:s,s:I,s:b,s:i,s:s,s:f,s:o,s:f,s:o,s:f}", "model", v->model, "types", v->type, "weight_bytes",
                     (json_int_t)v->bytes, "fits", 1, "longest_context", v->longest, "layers", v->split, "one_stream",
                     v->look.streams[0], "many_streams",
                     v->n_many ? json_real(v->look.streams[OUTLOOK_STREAMS - 1]) : json_null(), "prompt", v->look.prompt,
                     "best_board", v->best_board >= 0 ? json_string(f->boards[v->best_board].name) : json_null(),
                     "best_board_one_stream", v->best.streams[0]);
}

/* The user's file: one line, and the reason where it does not fit. */
static int judge_file(struct fleet *f, const struct job_options *o, struct verdict *v, struct error *err)
{
    struct gguf file;
    struct model_config config;
    struct slice_sizes sizes;
    const char *name = strrchr(o->model, '/');
    if (gguf_open(&file, o->model, err)) {
        return -1;
    }
    int status = model_config_init(&config, &file, err);
    if (status == 0) {
        status = slice_sizes_init(&sizes, &file, &config, err) || judge(f, o, &sizes, &config, v, err) ? -1 : 0;
        slice_sizes_free(&sizes);
        model_config_free(&config);
    }
    v->model = name ? name + 1 : o->model;
    v->type = "";
    gguf_close(&file);
    if (status == 0 && v->longest == 0) {
        status = error_set(err, "%s does not fit: %s", v->model, v->why.text);
    }
    return status;
}

static int judge_known(struct fleet *f, const struct job_options *o, int32_t model, int32_t type, struct verdict *v,
                       struct error *err)
{
    struct model_config config;
    struct slice_sizes sizes;
    if (shapes_init(&config, &sizes, model, type, err)) {
        return -1;
    }
    v->model = shapes_model(model);
    v->type = shapes_type(type);
    int status = judge(f, o, &sizes, &config, v, err);
    shapes_free(&config, &sizes);
    return status;
}

static int each_model(FILE *out, struct fleet *f, const struct plan_boards_options *o, json_t *list, struct error *err)
{
    for (int32_t model = 0; shapes_model(model) && (!o->job->model || model == 0); model++) {
        for (int32_t type = 0; shapes_type(type) && (!o->job->model || type == 0); type++) {
            struct verdict v = {0};
            if (o->job->model ? judge_file(f, o->job, &v, err) : judge_known(f, o->job, model, type, &v, err)) {
                return -1;
            }
            if (o->json) {
                json_array_append_new(list, line_json(f, &v));
            } else {
                print_line(out, f, &v);
            }
        }
    }
    return 0;
}

int plan_boards(FILE *out, const struct plan_boards_options *options, struct error *err)
{
    struct fleet *f = malloc(sizeof *f);
    json_t *list = json_array();
    int status = f ? fleet_init(f, options, err) : error_set(err, "out of memory");
    if (status == 0 && !options->json) {
        print_head(out, f);
    }
    status = status ? status : each_model(out, f, options, list, err);
    if (status == 0 &&
        ((options->json && (json_dumpf(list, out, JSON_COMPACT) || fputc('\n', out) == EOF)) || fflush(out) || ferror(out))) {
        status = error_set(err, "the plan cannot be written to standard output");
    }
    json_decref(list);
    free(f);
    return status;
}
