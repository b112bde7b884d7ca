/* SPDX-License-Identifier: MIT */
#include "src/commands/bench/bench_print.h"

#include <string.h>
#include <time.h>

#include "src/commands/json_text.h"
#include "src/core/dtype.h"
#include "src/core/log.h"

struct model_size {
    uint64_t bytes, params;
    const char *type; /* of most of the bytes */
};

static struct model_size size_of_model(const struct gguf *file)
{
    struct model_size m = {.type = "?"};
    uint64_t by_type[DTYPE_COUNT] = {0}, most = 0;
    for (uint64_t i = 0; i < file->n_tensors; i++) {
        const struct gguf_tensor *t = &file->tensors[i];
        const struct dtype_info *info = dtype_info(t->type);
        m.bytes += t->bytes;
        m.params += (uint64_t)t->dims[0] * (uint64_t)t->dims[1] * (uint64_t)t->dims[2] * (uint64_t)t->dims[3];
        if (info && t->type < DTYPE_COUNT && (by_type[t->type] += t->bytes) > most) {
            most = by_type[t->type];
            m.type = info->name;
        }
    }
    return m;
}

/* "llama 135M Q4_1" */
static void model_text(const struct job *job, const struct model_size *m, char *text, size_t size)
{
    double millions = (double)m->params / 1e6;
    if (millions >= 1000) {
        snprintf(text, size, "%s %.1fB %s", job->config.arch->name, millions / 1000, m->type);
    } else {
        snprintf(text, size, "%s %.0fM %s", job->config.arch->name, millions, m->type);
    }
}

static int32_t n_ranks(const struct bench_subject *s)
{
    return s->job->cluster->size;
}

/* Adds what the ranks do not say alike: "cpu", or "cpu,cuda". */
static void add_word(char *text, size_t size, const char *word)
{
    for (const char *at = text; (at = strstr(at, word)); at++) {
        char end = at[strlen(word)];
        if ((at == text || at[-1] == ',') && (end == 0 || end == ',')) {
            return;
        }
    }
    size_t n = strlen(text);
    snprintf(text + n, size - n, "%s%s", n ? "," : "", word);
}

static void devices_text(const struct bench_subject *s, char *text, size_t size)
{
    *text = 0;
    for (int32_t i = 0; i < n_ranks(s); i++) {
        add_word(text, size, s->ranks[i].device);
    }
}

static void threads_text(const struct bench_subject *s, char *text, size_t size)
{
    *text = 0;
    for (int32_t i = 0; i < n_ranks(s); i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", s->ranks[i].n_threads);
        add_word(text, size, number);
    }
}

static double share(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static double hop_s(const struct bench_subject *s, const struct bench_result *r)
{
    return n_ranks(s) > 1 && r->n_batches ? r->hops_s / (double)r->n_batches / n_ranks(s) : 0;
}

/* -- the table -- */

static const char *const table_head[] = {"model", "size", "params", "ranks", "threads", "device", "streams", "test", "t/s"};
static const int table_width[] = {24, 11, 9, 5, 7, 9, 7, 22, 20};
enum { TABLE_DEVICE = 5, TABLE_COLUMNS = sizeof table_head / sizeof *table_head };

/* Wide enough for the devices, which are the same in all rows. */
static int width_of(const struct bench_subject *s, int column)
{
    char devices[160];
    devices_text(s, devices, sizeof devices);
    int n = (int)strlen(devices);
    return column == TABLE_DEVICE && n > table_width[column] ? n : table_width[column];
}

static void print_row(const struct bench_subject *s, const char *const *cells)
{
    for (int i = 0; i < TABLE_COLUMNS; i++) {
        /* The sign in the last column takes two bytes and one place. */
        printf(i ? " %*s |" : "| %-*s |", width_of(s, i) + (strstr(cells[i], "\u00b1") != NULL), cells[i]);
    }
    putchar('\n');
}

static void print_table_head(const struct bench_subject *s)
{
    print_row(s, table_head);
    for (int i = 0; i < TABLE_COLUMNS; i++) {
        fputs(i ? " " : "| ", stdout);
        for (int n = width_of(s, i) - (i > 0); n > 0; n--) {
            putchar('-');
        }
        fputs(i ? ": |" : " |", stdout);
    }
    putchar('\n');
}

static void print_table_row(const struct bench_subject *s, const struct bench_result *r)
{
    struct model_size m = size_of_model(&s->job->file);
    struct bench_statistics rate = bench_statistics_of(r->rates, r->n);
    char model[64], size[24], params[24], ranks[16], threads[64], devices[160], streams[16], test[48], speed[48];
    model_text(s->job, &m, model, sizeof model);
    snprintf(size, sizeof size, m.bytes >> 30 ? "%.2f GiB" : "%.2f MiB", (double)m.bytes / (m.bytes >> 30 ? 1 << 30 : 1 << 20));
    snprintf(params, sizeof params, m.params >= 1000000000 ? "%.2f B" : "%.2f M",
             (double)m.params / (m.params >= 1000000000 ? 1e9 : 1e6));
    snprintf(ranks, sizeof ranks, "%d", n_ranks(s));
    threads_text(s, threads, sizeof threads);
    devices_text(s, devices, sizeof devices);
    snprintf(streams, sizeof streams, "%d", r->test.n_streams);
    bench_test_name(&r->test, test, sizeof test);
    snprintf(speed, sizeof speed, "%.2f \u00b1 %.2f", rate.mean, rate.sd);
    print_row(s, (const char *const[]){model, size, params, ranks, threads, devices, streams, test, speed});
}

/* -- CSV and JSON: the same fields -- */

static json_t *numbers(const double *values, int32_t n)
{
    json_t *array = json_array();
    for (int32_t i = 0; i < n; i++) {
        json_array_append_new(array, json_real(values[i]));
    }
    return array;
}

static void add_time(json_t *o)
{
    char text[32];
    time_t now = time(NULL);
    struct tm parts;
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
    json_object_set_new(o, "test_time", json_string(text));
}

static void add_subject(json_t *o, const struct bench_subject *s)
{
    static const char *const kv_types[] = {"f32", "f16", "q8_0"};
    const struct job_options *options = &s->job->options;
    struct model_size m = size_of_model(&s->job->file);
    char model[64], threads[64], devices[160];
    model_text(s->job, &m, model, sizeof model);
    threads_text(s, threads, sizeof threads);
    devices_text(s, devices, sizeof devices);
    json_object_set_new(o, "build", json_string("llm " LLM_VERSION));
    json_object_set_new(o, "model_filename", json_string(options->model));
    json_object_set_new(o, "model_type", json_string(model));
    json_object_set_new(o, "model_size", json_integer((json_int_t)m.bytes));
    json_object_set_new(o, "model_n_params", json_integer((json_int_t)m.params));
    json_object_set_new(o, "n_ranks", json_integer(n_ranks(s)));
    json_object_set_new(o, "n_threads", json_string(threads));
    json_object_set_new(o, "devices", json_string(devices));
    json_object_set_new(o, "n_batch", json_integer(options->max_rows));
    json_object_set_new(o, "n_ubatch", json_integer(options->chunk));
    json_object_set_new(o, "batches_in_flight", json_integer(options->depth));
    json_object_set_new(o, "type_k", json_string(kv_types[options->k_type]));
    json_object_set_new(o, "type_v", json_string(kv_types[options->v_type]));
    json_object_set_new(o, "load_s", json_real(s->job->report.load_s));
}

static void add_speed(json_t *o, const struct bench_result *r)
{
    char test[48];
    bench_test_name(&r->test, test, sizeof test);
    struct bench_statistics rate = bench_statistics_of(r->rates, r->n), seconds = bench_statistics_of(r->seconds, r->n);
    json_object_set_new(o, "test", json_string(test));
    json_object_set_new(o, "n_prompt", json_integer(r->test.n_prompt));
    json_object_set_new(o, "n_gen", json_integer(r->test.n_gen));
    json_object_set_new(o, "n_depth", json_integer(r->test.n_depth));
    json_object_set_new(o, "n_streams", json_integer(r->test.n_streams));
    json_object_set_new(o, "avg_ns", json_integer((json_int_t)(seconds.mean * 1e9)));
    json_object_set_new(o, "stddev_ns", json_integer((json_int_t)(seconds.sd * 1e9)));
    json_object_set_new(o, "avg_ts", json_real(rate.mean));
    json_object_set_new(o, "stddev_ts", json_real(rate.sd));
    json_object_set_new(o, "median_ts", json_real(rate.median));
    json_object_set_new(o, "min_ts", json_real(rate.min));
    json_object_set_new(o, "max_ts", json_real(rate.max));
    json_object_set_new(o, "samples_s", numbers(r->seconds, r->n));
    json_object_set_new(o, "samples_ts", numbers(r->rates, r->n));
}

static void add_ranks(json_t *o, const struct bench_subject *s, const struct bench_result *r)
{
    json_t *hosts = json_array(), *devices = json_array(), *layers = json_array(), *busy = json_array(), *wait = json_array();
    for (int32_t i = 0; i < n_ranks(s); i++) {
        double busy_share = share(r->busy_s[i], r->wall_s);
        json_array_append_new(hosts, json_text(s->ranks[i].host, strlen(s->ranks[i].host)));
        json_array_append_new(devices, json_string(s->ranks[i].device));
        json_array_append_new(layers, json_integer(s->ranks[i].layer_end - s->ranks[i].layer_first));
        json_array_append_new(busy, json_real(busy_share));
        json_array_append_new(wait, json_real(busy_share < 1 ? 1 - busy_share : 0));
    }
    json_object_set_new(o, "rank_hosts", hosts);
    json_object_set_new(o, "rank_devices", devices);
    json_object_set_new(o, "rank_layers", layers);
    json_object_set_new(o, "rank_busy", busy);
    json_object_set_new(o, "rank_wait", wait);
    json_object_set_new(o, "n_rounds", json_integer((json_int_t)r->n_batches));
    json_object_set_new(o, "round_us", json_real(r->n_batches ? r->rounds_s / (double)r->n_batches * 1e6 : 0));
    json_object_set_new(o, "hop_us", json_real(hop_s(s, r) * 1e6));
}

static json_t *record(const struct bench_subject *s, const struct bench_result *r)
{
    json_t *o = json_object();
    add_time(o);
    add_subject(o, s);
    add_speed(o, r);
    add_ranks(o, s, r);
    return o;
}

static void print_csv_value(const json_t *value)
{
    if (json_is_array(value)) { /* one field, its elements with a space between them */
        for (size_t i = 0; i < json_array_size(value); i++) {
            fputs(i ? " " : "", stdout);
            print_csv_value(json_array_get(value, i));
        }
    } else if (json_is_string(value)) {
        for (const char *c = json_string_value(value); *c; c++) {
            fputs(*c == '"' ? "\"\"" : (char[]){*c, 0}, stdout);
        }
    } else {
        printf(json_is_integer(value) ? "%.0f" : "%.9g", json_number_value(value));
    }
}

static void print_csv(json_t *o, int with_head)
{
    const char *key, *comma = "";
    json_t *value;
    if (with_head) {
        json_object_foreach(o, key, value)
        {
            printf("%s%s", comma, key);
            comma = ",";
        }
        putchar('\n');
    }
    comma = "";
    json_object_foreach(o, key, value)
    {
        printf("%s\"", comma);
        print_csv_value(value);
        putchar('"');
        comma = ",";
    }
    putchar('\n');
}

static int flush(struct error *err)
{
    return fflush(stdout) || ferror(stdout) ? error_set(err, "standard output: cannot be written") : 0;
}

int bench_print(struct bench_subject *s, const struct bench_result *result, struct error *err)
{
    int first = s->n_printed++ == 0;
    if (s->format == BENCH_MD) {
        if (first) {
            print_table_head(s);
        }
        print_table_row(s, result);
        return flush(err);
    }
    json_t *o = record(s, result);
    if (s->format == BENCH_CSV) {
        print_csv(o, first);
    } else {
        fputs(first ? "[\n  " : ",\n  ", stdout);
        json_dumpf(o, stdout, JSON_REAL_PRECISION(9));
    }
    json_decref(o);
    return flush(err);
}

int bench_print_end(struct bench_subject *s, struct error *err)
{
    if (s->format == BENCH_JSON) {
        puts(s->n_printed ? "\n]" : "[]");
    } else if (s->format == BENCH_MD) {
        printf("\nllm %s, loaded in %.2f s\n", LLM_VERSION, s->job->report.load_s);
    }
    return flush(err);
}

void bench_print_ranks(const struct bench_subject *s, const struct bench_result *r)
{
    char test[48], busy[512] = "";
    bench_test_name(&r->test, test, sizeof test);
    for (int32_t i = 0; i < n_ranks(s); i++) {
        size_t n = strlen(busy);
        snprintf(busy + n, sizeof busy - n, " %.0f", share(r->busy_s[i], r->wall_s) * 100);
    }
    log_info("%s x %d: busy%s %% by rank, %.3f ms between two ranks", test, r->test.n_streams, busy, hop_s(s, r) * 1e3);
}
