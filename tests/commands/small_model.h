/* What the tests of requests share: a small vocabulary and no weights. SPDX-License-Identifier: MIT */
#ifndef TESTS_COMMANDS_SMALL_MODEL_H
#define TESTS_COMMANDS_SMALL_MODEL_H

#include "src/commands/batch/batch_request.h"
#include "tests/check.h"
#include "tests/tokenizer/small_vocabularies.h"

enum { SMALL_CTX = 64 };

struct small_model {
    struct gguf_bytes bytes;
    struct gguf file;
    struct request_model model;
    struct request_params defaults;
    struct chatml chat;
    struct batch_setup setup;
};

static inline void small_model_open(struct small_model *s)
{
    struct error err = {{0}};
    small_bpe(&s->bytes, "llama-bpe");
    gguf_bytes_add_text(&s->bytes, "tokenizer.chat_template", "<|im_start|><|im_end|>");
    CHECK_THAT(gguf_open_memory(&s->file, s->bytes.data, s->bytes.n, &err) == 0, "%s", err.text);
    CHECK_THAT(request_model_open(&s->model, &s->file, BPE_COUNT, SMALL_CTX, &err) == 0, "%s", err.text);
    CHECK_THAT(chatml_open(&s->chat, &s->file, &err) == 0, "%s", err.text);
    s->defaults = (struct request_params){.n_predict = 9};
    sampler_params_default(&s->defaults.sampling);
    CHECK_INT(request_params_add_stop(&s->defaults, "END", &err), 0);
    s->setup = (struct batch_setup){.model = &s->model, .defaults = &s->defaults, .chat = &s->chat, .seed = 5, .no_bos = 1};
}

static inline void small_model_close(struct small_model *s)
{
    request_params_free(&s->defaults);
    chatml_close(&s->chat);
    request_model_close(&s->model);
    gguf_close(&s->file);
}

static inline struct batch_request *small_model_parse(struct small_model *s, const char *line)
{
    struct batch_request *b = batch_request_parse(&s->setup, 7, line, strlen(line));
    if (!b) {
        abort();
    }
    return b;
}

#endif
