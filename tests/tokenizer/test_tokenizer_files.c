/* Real vocabularies against the ids that llama.cpp gives. Needs the shared test data. SPDX-License-Identifier: MIT */
#include "io/tokenizer.h"

#include "src/core/clock.h"
#include "tests/check.h"
#include "tests/tokenizer/sha256.h"

static const char separator[] = "\n__ggml_vocab_test__\n";

static char *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "%s cannot be read\n", path);
        exit(1);
    }
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *text = malloc(*n + 1);
    if (!text || fread(text, 1, *n, f) != *n) {
        exit(1);
    }
    text[*n] = 0;
    fclose(f);
    return text;
}

static int ids_agree(const struct tokenizer_ids *ids, const char *line)
{
    size_t n = 0;
    for (char *end; *line && *line != '\n'; n++, line = end) {
        long id = strtol(line, &end, 10);
        if (end == line) {
            break;
        }
        if (n >= ids->n || ids->ids[n] != id) {
            return 0;
        }
    }
    return n == ids->n;
}

static void print_ids(const struct tokenizer_ids *ids)
{
    for (size_t i = 0; i < ids->n; i++) {
        fprintf(stderr, " %d", (int)ids->ids[i]);
    }
    fputc('\n', stderr);
}

static void check_round_trip(const struct tokenizer *t, const char *text, size_t n, const struct tokenizer_ids *ids)
{
    struct tokenizer_stream stream;
    char *out = malloc(n + 2 * tokenizer_max_piece(t));
    size_t written = 0, differs = 0;
    tokenizer_stream_init(&stream, t, 1, 1);
    for (size_t i = 0; i < ids->n && written <= n; i++) {
        written += tokenizer_stream_put(&stream, ids->ids[i], out + written);
    }
    written += tokenizer_stream_flush(&stream, out + written);
    while (differs < n && differs < written && out[differs] == text[differs]) {
        differs++;
    }
    CHECK_THAT(written == n && differs == n, "decoded %zu bytes of %zu, first difference at %zu", written, n, differs);
    free(out);
}

/* The inputs are parted by a line, the expected ids are one line each. */
static void check_inputs(const struct tokenizer *t, const char *path)
{
    char name[1100];
    size_t n_in, n_out, count = 0;
    snprintf(name, sizeof name, "%s.inp", path);
    char *in = read_file(name, &n_in);
    snprintf(name, sizeof name, "%s.out", path);
    char *out = read_file(name, &n_out);
    const char *line = out;
    for (char *text = in, *end; text; text = end, count++) {
        end = strstr(text, separator);
        size_t n = end ? (size_t)(end - text) : strlen(text);
        struct tokenizer_ids ids = {0};
        struct error err = {{0}};
        CHECK_INT(tokenizer_encode(t, text, n, 0, &ids, &err), 0);
        int agree = ids_agree(&ids, line);
        CHECK_THAT(agree, "%s input %zu \"%.*s\": expected%.*s", path, count, (int)n, text, (int)strcspn(line, "\n"), line);
        if (!agree) {
            fprintf(stderr, "found:");
            print_ids(&ids);
        }
        check_round_trip(t, text, n, &ids);
        tokenizer_ids_free(&ids);
        line = strchr(line, '\n') ? strchr(line, '\n') + 1 : "";
        end = end ? end + strlen(separator) : NULL;
    }
    CHECK_THAT(count > 40, "%zu inputs in %s", count, path);
    free(in);
    free(out);
}

static void check_whole_text(const struct tokenizer *t, const char *name, const char *expected, size_t n_expected,
                             const char *text, size_t n)
{
    struct tokenizer_ids ids = {0};
    struct error err = {{0}};
    double start = clock_now_s();
    CHECK_INT(tokenizer_encode(t, text, n, 0, &ids, &err), 0);
    double seconds = clock_now_s() - start;
    printf("%-14s %zu tokens, %.1f MB/s\n", name, ids.n, (double)n / seconds / 1e6);
    CHECK_INT(ids.n, n_expected);
    char *lines = malloc(ids.n * 12 + 1), sum[65];
    size_t written = 0;
    for (size_t i = 0; i < ids.n; i++) {
        written += (size_t)sprintf(lines + written, "%d\n", (int)ids.ids[i]);
    }
    sha256_hex(lines, written, sum);
    CHECK_TEXT(sum, expected);
    check_round_trip(t, text, n, &ids);
    free(lines);
    tokenizer_ids_free(&ids);
}

static void check_vocabulary(const char *folder, const char *name, size_t n_tokens, const char *sum, const char *text, size_t n)
{
    char path[1024];
    struct gguf file;
    struct tokenizer *t;
    struct error err = {{0}};
    snprintf(path, sizeof path, "%s/vocab/ggml-vocab-%s.gguf", folder, name);
    CHECK_THAT(gguf_open(&file, path, &err) == 0, "%s", err.text);
    double start = clock_now_s();
    CHECK_THAT(tokenizer_open(&t, &file, &err) == 0, "%s: %s", path, err.text);
    printf("%-14s opened in %.0f ms\n", name, 1e3 * (clock_now_s() - start));
    gguf_close(&file);
    if (t) {
        check_inputs(t, path);
        check_whole_text(t, name, sum, n_tokens, text, n);
    }
    tokenizer_close(t);
}

int main(void)
{
    const char *folder = check_shared_data();
    char path[1024], name[64], sum[65];
    size_t n_text, n_golden, n_tokens, n_checked = 0;
    snprintf(path, sizeof path, "%s/text/wiki.test.raw", folder);
    char *text = read_file(path, &n_text);
    snprintf(path, sizeof path, "%s/golden/tokenizer_wiki_test.tsv", folder);
    char *golden = read_file(path, &n_golden);
    for (const char *line = strchr(golden, '\n'); line && line[1]; line = strchr(line + 1, '\n')) {
        if (sscanf(line + 1, "wiki.test.raw\t%63[^\t]\t%zu\t%64s", name, &n_tokens, sum) == 3) {
            check_vocabulary(folder, name, n_tokens, sum, text, n_text);
            n_checked++;
        }
    }
    CHECK_THAT(n_checked >= 5, "only %zu vocabularies", n_checked);
    free(text);
    free(golden);
    return check_result();
}
