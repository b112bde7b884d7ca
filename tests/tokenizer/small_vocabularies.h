/* Two vocabularies small enough to work out ids by hand. SPDX-License-Identifier: MIT */
#ifndef TESTS_TOKENIZER_SMALL_VOCABULARIES_H
#define TESTS_TOKENIZER_SMALL_VOCABULARIES_H

#include "tests/tokenizer/gguf_bytes.h"

#include <stdio.h>

#define SPACE_MARK "\xe2\x96\x81"

struct small_token {
    const char *text;
    float score;
    int32_t type;
};

/* Ids 0 .. 2, then 256 byte tokens (id = 3 + byte), then from 259: */
enum { SPM_SPACE = 259, SPM_H, SPM_E, SPM_L, SPM_O, SPM_LL, SPM_HE, SPM_LO, SPM_SPACE_HE, SPM_TWO_SPACES, SPM_TAG, SPM_COUNT };
static const struct small_token small_spm_head[] = {{"<unk>", 0, 2}, {"<s>", 0, 3}, {"</s>", 0, 3}};
static const struct small_token small_spm_tail[] = {
    {SPACE_MARK, -10, 1},
    {"h", -11, 1},
    {"e", -12, 1},
    {"l", -13, 1},
    {"o", -14, 1},
    {"ll", -1, 1},
    {"he", -2, 1},
    {"lo", -0.5f, 1},
    {SPACE_MARK "he", -3, 1},
    {SPACE_MARK SPACE_MARK, -4, 1},
    {"<tag>", 0, 4},
};

static inline struct small_token small_spm_token(int id, char byte_text[8])
{
    if (id < 3) {
        return small_spm_head[id];
    }
    if (id >= 259) {
        return small_spm_tail[id - 259];
    }
    snprintf(byte_text, 8, "<0x%02X>", (unsigned)(id - 3) & 0xff);
    return (struct small_token){byte_text, 0, 6};
}

static inline void small_spm(struct gguf_bytes *g)
{
    char text[8];
    gguf_bytes_init(g);
    gguf_bytes_add_text(g, "tokenizer.ggml.model", "llama");
    gguf_bytes_array(g, "tokenizer.ggml.tokens", GGUF_BYTES_STRING, SPM_COUNT);
    for (int id = 0; id < SPM_COUNT; id++) {
        gguf_bytes_text(g, small_spm_token(id, text).text);
    }
    gguf_bytes_array(g, "tokenizer.ggml.scores", GGUF_BYTES_F32, SPM_COUNT);
    for (int id = 0; id < SPM_COUNT; id++) {
        float score = small_spm_token(id, text).score;
        gguf_bytes_put(g, &score, 4);
    }
    gguf_bytes_array(g, "tokenizer.ggml.token_type", GGUF_BYTES_I32, SPM_COUNT);
    for (int id = 0; id < SPM_COUNT; id++) {
        gguf_bytes_u32(g, (uint32_t)small_spm_token(id, text).type);
    }
}

/* Ids 0 .. 255 are the bytes, then: */
enum { BPE_HE = 256, BPE_LL, BPE_SPACE_HE, BPE_LLO, BPE_IM_END, BPE_THINK, BPE_HEY, BPE_12, BPE_COUNT };
static const struct small_token small_bpe_tail[] = {
    {"he", 0, 1},         {"ll", 0, 1},      {"\xc4\xa0he", 0, 1}, {"llo", 0, 1},
    {"<|im_end|>", 0, 3}, {"<think>", 0, 4}, {"hey", 0, 1},        {"12", 0, 1},
};
/* "hello" is no token, nor are "zq" and its parts reachable: all three must do no harm. */
static const char *const small_bpe_merges[] = {"l l", "h e",  "\xc4\xa0 he", "ll o",          "he llo",
                                               "1 2", "zq x", "nospace",     "\xe2\x96\x81 h"};
enum { SMALL_BPE_MERGES = sizeof small_bpe_merges / sizeof small_bpe_merges[0] };

/* The character that stands for a byte: printable ones for themselves, the others from U+0100 on. */
static inline void small_bpe_byte(int byte, char out[8])
{
    unsigned code = (unsigned)byte, shift = 0x100;
    for (int b = 0; b <= byte; b++) {
        int printable = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        code = printable ? (unsigned)b : shift++;
    }
    if (code < 0x80) {
        snprintf(out, 8, "%c", (int)code);
    } else {
        snprintf(out, 8, "%c%c", (int)(0xc0 | code >> 6), (int)(0x80 | (code & 0x3f)));
    }
}

static inline void small_bpe(struct gguf_bytes *g, const char *pre)
{
    char text[8];
    gguf_bytes_init(g);
    gguf_bytes_add_text(g, "tokenizer.ggml.model", "gpt2");
    if (pre) {
        gguf_bytes_add_text(g, "tokenizer.ggml.pre", pre);
    }
    gguf_bytes_array(g, "tokenizer.ggml.tokens", GGUF_BYTES_STRING, BPE_COUNT);
    for (int id = 0; id < BPE_COUNT; id++) {
        if (id < 256) {
            small_bpe_byte(id, text);
        }
        gguf_bytes_text(g, id < 256 ? text : small_bpe_tail[id - 256].text);
    }
    gguf_bytes_array(g, "tokenizer.ggml.token_type", GGUF_BYTES_I32, BPE_COUNT);
    for (int id = 0; id < BPE_COUNT; id++) {
        gguf_bytes_u32(g, id < 256 ? 1 : (uint32_t)small_bpe_tail[id - 256].type);
    }
    gguf_bytes_array(g, "tokenizer.ggml.merges", GGUF_BYTES_STRING, SMALL_BPE_MERGES);
    for (int i = 0; i < SMALL_BPE_MERGES; i++) {
        gguf_bytes_text(g, small_bpe_merges[i]);
    }
    gguf_bytes_add_u32(g, "tokenizer.ggml.bos_token_id", BPE_IM_END);
}

#endif
