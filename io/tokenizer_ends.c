/* Which tokens end a generation, and which are control tokens whatever their type says. SPDX-License-Identifier: MIT
 *
 * Source: llama.cpp, src/llama-vocab.cpp: files seldom say it, so the well-known texts decide. */
#include "io/tokenizer_private.h"

#include <ctype.h>
#include <string.h>

enum role { ROLE_END, ROLE_PREFIX, ROLE_SUFFIX, ROLE_MIDDLE, ROLE_PAD, ROLE_REPOSITORY, ROLE_SEPARATOR, ROLE_SHOWN, ROLE_COUNT };

/* All that end a generation are one role; of the others the first token found takes the role, unless a key names one. */
static const struct {
    const char *text;
    enum role role;
} known_texts[] = {
    {"<|eot_id|>", ROLE_END},
    {"<|im_end|>", ROLE_END},
    {"<|end|>", ROLE_END},
    {"<|return|>", ROLE_END},
    {"<|call|>", ROLE_END},
    {"<|flush|>", ROLE_END},
    {"<|calls|>", ROLE_END},
    {"<end_of_turn>", ROLE_END},
    {"<|endoftext|>", ROLE_END},
    {"</s>", ROLE_END},
    {"<|eom_id|>", ROLE_END},
    {"<EOT>", ROLE_END},
    {"_<EOT>", ROLE_END},
    {"[EOT]", ROLE_END},
    {"[EOS]", ROLE_END},
    {"<|end_of_text|>", ROLE_END},
    {"<end_of_utterance>", ROLE_END},
    {"<eos>", ROLE_END},
    {"<turn|>", ROLE_END},
    {"<|tool_response>", ROLE_END},
    {"<\xef\xbd\x9c"
     "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
     ROLE_END},
    {"[e~[", ROLE_END},
    {"<|fim_prefix|>", ROLE_PREFIX},
    {"<fim-prefix>", ROLE_PREFIX},
    {"<fim_prefix>", ROLE_PREFIX},
    {"<PRE>", ROLE_PREFIX},
    {"<\xef\xbd\x9c"
     "fim\xe2\x96\x81"
     "begin\xef\xbd\x9c>",
     ROLE_PREFIX},
    {"\xe2\x96\x81<PRE>", ROLE_PREFIX},
    {"<|code_prefix|>", ROLE_PREFIX},
    {"<|prefix|>", ROLE_PREFIX},
    {"<|fim_suffix|>", ROLE_SUFFIX},
    {"<fim-suffix>", ROLE_SUFFIX},
    {"<fim_suffix>", ROLE_SUFFIX},
    {"<SUF>", ROLE_SUFFIX},
    {"<\xef\xbd\x9c"
     "fim\xe2\x96\x81hole\xef\xbd\x9c>",
     ROLE_SUFFIX},
    {"\xe2\x96\x81<SUF>", ROLE_SUFFIX},
    {"<|code_suffix|>", ROLE_SUFFIX},
    {"<|suffix|>", ROLE_SUFFIX},
    {"<|fim_middle|>", ROLE_MIDDLE},
    {"<fim-middle>", ROLE_MIDDLE},
    {"<fim_middle>", ROLE_MIDDLE},
    {"<MID>", ROLE_MIDDLE},
    {"<\xef\xbd\x9c"
     "fim\xe2\x96\x81"
     "end\xef\xbd\x9c>",
     ROLE_MIDDLE},
    {"\xe2\x96\x81<MID>", ROLE_MIDDLE},
    {"<|code_middle|>", ROLE_MIDDLE},
    {"<|middle|>", ROLE_MIDDLE},
    {"<|fim_pad|>", ROLE_PAD},
    {"<fim-pad>", ROLE_PAD},
    {"<fim_pad>", ROLE_PAD},
    {"<PAD>", ROLE_PAD},
    {"[PAD]", ROLE_PAD},
    {"<|fim_repo|>", ROLE_REPOSITORY},
    {"<|repo_name|>", ROLE_REPOSITORY},
    {"<fim-repo>", ROLE_REPOSITORY},
    {"<REPO>", ROLE_REPOSITORY},
    {"<reponame>", ROLE_REPOSITORY},
    {"<|file_sep|>", ROLE_SEPARATOR},
    {"<|channel|>", ROLE_SHOWN},
    {"<|message|>", ROLE_SHOWN},
    {"<|start|>", ROLE_SHOWN},
    {"<|constrain|>", ROLE_SHOWN},
};

/* Keys that name a token for a role. */
static const struct {
    const char *key;
    enum role role;
    int ends;
} known_keys[] = {
    {"tokenizer.ggml.eos_token_id", ROLE_END, 1},
    {"tokenizer.ggml.eot_token_id", ROLE_END, 1},
    {"tokenizer.ggml.eom_token_id", ROLE_END, 1},
    {"tokenizer.ggml.fim_pre_token_id", ROLE_PREFIX, 0},
    {"tokenizer.ggml.prefix_token_id", ROLE_PREFIX, 0},
    {"tokenizer.ggml.fim_suf_token_id", ROLE_SUFFIX, 0},
    {"tokenizer.ggml.suffix_token_id", ROLE_SUFFIX, 0},
    {"tokenizer.ggml.fim_mid_token_id", ROLE_MIDDLE, 0},
    {"tokenizer.ggml.middle_token_id", ROLE_MIDDLE, 0},
    {"tokenizer.ggml.fim_pad_token_id", ROLE_PAD, 1},
    {"tokenizer.ggml.fim_rep_token_id", ROLE_REPOSITORY, 1},
    {"tokenizer.ggml.fim_sep_token_id", ROLE_SEPARATOR, 1},
};

static int text_is(const struct span *text, const char *expected)
{
    return text->n == strlen(expected) && memcmp(text->data, expected, text->n) == 0;
}

static int32_t find_end(const struct tokenizer *t, const char *text)
{
    for (int32_t id = 0; id < t->n_tokens; id++) {
        if (t->ends[id] && text_is(&t->texts[id], text)) {
            return id;
        }
    }
    return TOKENIZER_NO_ID;
}

/* The role of a well-known text, else ROLE_COUNT. */
static enum role role_of(const struct span *text)
{
    if (text->n < 4 || !strchr("<[_\xe2", text->data[0])) {
        return ROLE_COUNT;
    }
    for (size_t i = 0; i < sizeof known_texts / sizeof known_texts[0]; i++) {
        if (text_is(text, known_texts[i].text)) {
            return known_texts[i].role;
        }
    }
    return ROLE_COUNT;
}

static void apply_role(struct tokenizer *t, int32_t id, enum role role, int *filled)
{
    if (role == ROLE_SHOWN) {
        t->traits[id] = TOKEN_USER_DEFINED;
        return;
    }
    if (role != ROLE_END && filled[role]) {
        return;
    }
    filled[role] = 1;
    t->traits[id] |= TOKEN_CONTROL;
    if (role == ROLE_END || role == ROLE_PAD || role == ROLE_REPOSITORY || role == ROLE_SEPARATOR) {
        t->ends[id] = 1;
    }
}

/* In two families a text of the list means something else. */
static void mend_families(struct tokenizer *t)
{
    int calls = find_end(t, "<|call|>") >= 0 || find_end(t, "<|calls|>") >= 0;
    int32_t end = find_end(t, "<|end|>");
    if (end >= 0 && calls && (find_end(t, "<|return|>") >= 0 || find_end(t, "<|flush|>") >= 0)) {
        t->ends[end] = 0;
        t->traits[end] = TOKEN_USER_DEFINED;
    }
    int32_t closing = find_end(t, "</s>");
    if (closing >= 0 && find_end(t, "<|tool_response>") >= 0) {
        t->ends[closing] = 0;
        t->traits[closing] = TOKEN_NORMAL;
    }
}

/* Phi-3 was trained with the white space after its special tokens swallowed; only the model's name tells. */
static int swallows_space(const struct gguf *file, int *out, struct error *err)
{
    struct gguf_string name;
    if (gguf_get_string(file, "general.name", &name, err)) {
        return -1;
    }
    char lower[256];
    size_t n = name.data ? name.length < sizeof lower - 1 ? name.length : sizeof lower - 1 : 0;
    for (size_t i = 0; i < n; i++) {
        lower[i] = (char)tolower((unsigned char)name.data[i]);
    }
    lower[n] = 0;
    *out = strstr(lower, "phi-3") || strstr(lower, "phi3");
    return 0;
}

static void strip_after_special(struct tokenizer *t)
{
    for (int32_t id = 0; id < t->n_tokens; id++) {
        const struct span *text = &t->texts[id];
        int special = (t->traits[id] & (TOKEN_CONTROL | TOKEN_USER_DEFINED | TOKEN_UNKNOWN)) != 0;
        if (special && !text_is(text, "<unk>") && !text_is(text, "<s>") && !text_is(text, "<|endoftext|>")) {
            t->traits[id] |= TOKEN_STRIP_RIGHT;
        }
    }
}

int vocabulary_find_ends(struct tokenizer *t, const struct gguf *file, struct error *err)
{
    int filled[ROLE_COUNT] = {0}, strip;
    if (t->eos >= 0) {
        t->ends[t->eos] = 1;
    }
    for (size_t i = 0; i < sizeof known_keys / sizeof known_keys[0]; i++) {
        int64_t id;
        if (gguf_get_i64(file, known_keys[i].key, INT32_MIN, UINT32_MAX, -1, &id, err)) {
            return -1;
        }
        if (id >= 0 && id < t->n_tokens) {
            filled[known_keys[i].role] = 1;
            t->ends[id] |= (uint8_t)known_keys[i].ends;
        }
    }
    for (int32_t id = 0; id < t->n_tokens; id++) {
        enum role role = role_of(&t->texts[id]);
        if (role != ROLE_COUNT) {
            apply_role(t, id, role, filled);
        }
    }
    mend_families(t);
    if (swallows_space(file, &strip, err)) {
        return -1;
    }
    if (strip) {
        strip_after_special(t);
    }
    return 0;
}
