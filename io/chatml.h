/* Messages of a chat as one prompt, for models whose chat template is ChatML. SPDX-License-Identifier: MIT
 *
 * The template in the file is a Jinja program; it is looked at, not run: one that names <|im_start|> and <|im_end|> is taken for
 * ChatML. Source: github.com/openai/openai-python, chatml.md (v0.28). */
#ifndef IO_CHATML_H
#define IO_CHATML_H

#include "io/gguf.h"

struct chatml {
    char *system; /* [n_system] owned: what the template says when the messages do not begin with a system message; NULL = nothing
                   */
    size_t n_system;
};
/* By the file's tokenizer.chat_template. -1 with *err when there is none, or it is of another kind. */
int chatml_open(struct chatml *c, const struct gguf *file, struct error *err);
void chatml_close(struct chatml *c);

struct chatml_message {
    const char *role, *content; /* borrowed: content may hold any bytes */
    size_t n_role, n_content;
};
/* The prompt up to where the assistant's answer begins; *text is the caller's to free, *n its bytes. -1: out of memory. */
int chatml_render(const struct chatml *c, const struct chatml_message *messages, size_t n_messages, char **text, size_t *n,
                  struct error *err);

#endif
