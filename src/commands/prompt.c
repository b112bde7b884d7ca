/* SPDX-License-Identifier: MIT */
#include "src/commands/prompt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/core/log.h"

static int read_all(FILE *f, const char *name, char **text, size_t *n, struct error *err)
{
    size_t capacity = 1 << 16, used = 0;
    char *buffer = malloc(capacity);
    while (buffer) {
        used += fread(buffer + used, 1, capacity - used - 1, f);
        if (used < capacity - 1) {
            break;
        }
        char *larger = realloc(buffer, capacity *= 2);
        if (!larger) {
            free(buffer);
        }
        buffer = larger;
    }
    if (!buffer || ferror(f)) {
        int code = errno;
        int status = buffer ? error_set(err, "%s: cannot be read: %s", name, strerror(code))
                            : error_set(err, "%s: out of memory", name);
        free(buffer);
        return status;
    }
    buffer[used] = 0;
    *text = buffer;
    *n = used;
    return 0;
}

static int read_file(const char *path, char **text, size_t *n, struct error *err)
{
    if (strcmp(path, "-") == 0) {
        if (isatty(STDIN_FILENO)) {
            log_info("reading the text from the terminal; Ctrl-D on an empty line ends it");
        }
        return read_all(stdin, "standard input", text, n, err);
    }
    FILE *f = fopen(path, "rb");
    if (!f) {
        return error_set(err, "%s: cannot be opened: %s", path, strerror(errno));
    }
    int status = read_all(f, path, text, n, err);
    fclose(f);
    return status;
}

int prompt_read_text(const char *path, char **text, size_t *n, struct error *err)
{
    if (read_file(path, text, n, err)) {
        return -1;
    }
    if (*n > 0 && (*text)[*n - 1] == '\n') {
        (*text)[--*n] = 0;
    }
    return 0;
}

static int take_ids(const struct option_ints *ids, int32_t n_vocab, struct tokenizer_ids *out, struct error *err)
{
    size_t n = (size_t)ids->n;
    for (size_t i = 0; i < n; i++) {
        if (ids->values[i] >= n_vocab) {
            return error_set(err, "--ids names token %d, the vocabulary has 0 to %d", ids->values[i], n_vocab - 1);
        }
    }
    out->ids = malloc(sizeof *out->ids * (n + 1));
    if (!out->ids) {
        return error_set(err, "out of memory");
    }
    memcpy(out->ids, ids->values, n * sizeof *out->ids);
    out->n = n;
    out->capacity = n + 1;
    return 0;
}

int prompt_ids(const struct prompt_source *source, const struct tokenizer *tokenizer, int32_t n_vocab, struct tokenizer_ids *out,
               struct error *err)
{
    memset(out, 0, sizeof *out);
    if (source->ids && source->ids->given) {
        return take_ids(source->ids, n_vocab, out, err);
    }
    int flags = (source->no_bos ? 0 : TOKENIZER_ADD_SPECIAL) | (source->no_special ? 0 : TOKENIZER_PARSE_SPECIAL);
    if (source->text) {
        return tokenizer_encode(tokenizer, source->text, strlen(source->text), flags, out, err);
    }
    char *text;
    size_t n;
    if (prompt_read_text(source->path ? source->path : "-", &text, &n, err)) {
        return -1;
    }
    int status = tokenizer_encode(tokenizer, text, n, flags, out, err);
    free(text);
    return status;
}
