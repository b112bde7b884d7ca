/* SPDX-License-Identifier: MIT */
#include "io/chatml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char START[] = "<|im_start|>", END[] = "<|im_end|>", SYSTEM[] = "<|im_start|>system";

/* The first place of a string in n bytes, or NULL. */
static const char *find(const char *bytes, size_t n, const char *string)
{
    return memmem(bytes, n, string, strlen(string));
}

/* A newline as the template's source may have it: the byte, or a backslash and an n. Its length, or 0. */
static size_t newline_length(const char *bytes, size_t n)
{
    return n >= 1 && bytes[0] == '\n' ? 1 : n >= 2 && bytes[0] == '\\' && bytes[1] == 'n' ? 2 : 0;
}

/* A default system message stands in the template within one string literal, from <|im_start|>system to <|im_end|>. */
static int find_system(struct chatml *c, const char *bytes, size_t n, struct error *err)
{
    const char *end = bytes + n, *at = bytes, *stop;
    while ((at = find(at, (size_t)(end - at), SYSTEM))) {
        at += strlen(SYSTEM);
        size_t newline = newline_length(at, (size_t)(end - at));
        stop = find(at, (size_t)(end - at), END);
        size_t n_text = stop ? (size_t)(stop - at) : 0;
        if (newline == 0 || n_text <= newline || memchr(at, '\'', n_text) || memchr(at, '"', n_text)) {
            continue;
        }
        c->system = malloc(n_text);
        if (!c->system) {
            return error_set(err, "out of memory");
        }
        for (at += newline; at < stop;) {
            newline = newline_length(at, (size_t)(stop - at));
            c->system[c->n_system++] = newline ? '\n' : *at;
            at += newline ? newline : 1;
        }
        return 0;
    }
    return 0;
}

int chatml_open(struct chatml *c, const struct gguf *file, struct error *err)
{
    struct gguf_string text;
    memset(c, 0, sizeof *c);
    if (gguf_get_string(file, "tokenizer.chat_template", &text, err)) {
        return -1;
    }
    if (!text.data) {
        return error_set(err, "the model has no chat template, so \"messages\" cannot become a prompt; \"prompt\" can be given");
    }
    if (!find(text.data, text.length, START) || !find(text.data, text.length, END)) {
        return error_set(err, "the model's chat template is of a kind that is not known here (known: ChatML, with %s and %s)",
                         START, END);
    }
    return find_system(c, text.data, text.length, err);
}

void chatml_close(struct chatml *c)
{
    free(c->system);
    memset(c, 0, sizeof *c);
}

static void put_message(FILE *out, const char *role, size_t n_role, const char *content, size_t n_content)
{
    fputs(START, out);
    fwrite(role, 1, n_role, out);
    fputc('\n', out);
    fwrite(content, 1, n_content, out);
    fputs(END, out);
    fputc('\n', out);
}

int chatml_render(const struct chatml *c, const struct chatml_message *messages, size_t n_messages, char **text, size_t *n,
                  struct error *err)
{
    FILE *out = open_memstream(text, n);
    if (!out) {
        return error_set(err, "out of memory for a chat's prompt");
    }
    const struct chatml_message *first = n_messages > 0 ? &messages[0] : NULL;
    if (c->system && !(first && first->n_role == 6 && memcmp(first->role, "system", 6) == 0)) {
        put_message(out, "system", 6, c->system, c->n_system);
    }
    for (size_t i = 0; i < n_messages; i++) {
        put_message(out, messages[i].role, messages[i].n_role, messages[i].content, messages[i].n_content);
    }
    fprintf(out, "%sassistant\n", START);
    int failed = ferror(out);
    if (fclose(out) || failed) {
        free(*text);
        return error_set(err, "out of memory for a chat's prompt");
    }
    return 0;
}
