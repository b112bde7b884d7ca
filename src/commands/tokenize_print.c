/* SPDX-License-Identifier: MIT */
#include "src/commands/tokenize_print.h"

#include "src/commands/json_text.h"

/* A piece as a JSON string. A piece may be a part of a character: then its bytes are shown as U+FFFD. */
static json_t *piece_json(const struct tokenizer *t, int32_t id)
{
    const char *bytes;
    size_t n = tokenizer_piece(t, id, 1, &bytes);
    return json_text(bytes, n);
}

static int print_json(FILE *out, const struct tokenizer *t, const struct tokenizer_ids *ids, int pieces)
{
    json_t *root = json_object(), *list = json_array(), *texts = json_array();
    int failed = !root || !list || !texts;
    for (size_t i = 0; i < ids->n && !failed; i++) {
        failed = json_array_append_new(list, json_integer(ids->ids[i])) ||
                 (pieces && json_array_append_new(texts, piece_json(t, ids->ids[i])));
    }
    failed = failed || json_object_set(root, "ids", list) || (pieces && json_object_set(root, "pieces", texts)) ||
             json_dumpf(root, out, JSON_COMPACT) || fputc('\n', out) == EOF;
    json_decref(list);
    json_decref(texts);
    json_decref(root);
    return failed;
}

static int print_table(FILE *out, const struct tokenizer *t, const struct tokenizer_ids *ids)
{
    int failed = 0;
    for (size_t i = 0; i < ids->n && !failed; i++) {
        json_t *piece = piece_json(t, ids->ids[i]);
        failed = !piece || fprintf(out, "%d\t", (int)ids->ids[i]) < 0 || json_dumpf(piece, out, JSON_ENCODE_ANY) ||
                 fputc('\n', out) == EOF;
        json_decref(piece);
    }
    return failed;
}

static int print_line(FILE *out, const struct tokenizer_ids *ids)
{
    int failed = 0;
    for (size_t i = 0; i < ids->n && !failed; i++) {
        failed = fprintf(out, "%s%d", i ? " " : "", (int)ids->ids[i]) < 0;
    }
    return failed || fputc('\n', out) == EOF;
}

int tokenize_print(FILE *out, const struct tokenizer *t, const char *text, size_t n, int flags, int as_json, struct error *err)
{
    struct tokenizer_ids ids = {0};
    int pieces = flags & TOKENIZE_PIECES, failed = 0;
    if (tokenizer_encode(t, text, n, flags & ~TOKENIZE_PIECES, &ids, err)) {
        tokenizer_ids_free(&ids);
        return -1;
    }
    if (as_json) {
        failed = print_json(out, t, &ids, pieces);
    } else {
        failed = pieces ? print_table(out, t, &ids) : print_line(out, &ids);
    }
    tokenizer_ids_free(&ids);
    return failed || fflush(out) ? error_set(err, "the tokens cannot be written") : 0;
}
