/* Byte-level BPE: how bytes are written in the vocabulary, and how a text is cut into words. SPDX-License-Identifier: MIT */
#include "io/tokenizer_private.h"

#include "src/core/log.h"

#include <stdio.h>
#include <string.h>

/* White space of Unicode, spelled out: \s of PCRE2 also takes U+180E, which left that class in Unicode 6.3. */
#define SPACES "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
/* Letters, numbers and punctuation of Unicode 15.1. What it has more than 14 is spelled out, so that PCRE2 versions from 10.39 on
 * agree. */
#define LETTERS                                                                                                      \
    "\\p{L}\\x{1123f}-\\x{11240}\\x{11f02}\\x{11f04}-\\x{11f10}\\x{11f12}-\\x{11f33}\\x{1342f}\\x{13441}-\\x{13446}" \
    "\\x{1b132}\\x{1b155}\\x{1df25}-\\x{1df2a}\\x{1e030}-\\x{1e06d}\\x{1e4d0}-\\x{1e4eb}\\x{2b739}"                  \
    "\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}"
#define NUMBERS      "\\p{N}\\x{11f50}-\\x{11f59}\\x{1d2c0}-\\x{1d2d3}\\x{1e4f0}-\\x{1e4f9}"
#define PUNCTUATION  "\\p{P}\\x{11b00}-\\x{11b09}\\x{11f43}-\\x{11f4f}"
#define SPACE        "[" SPACES "]"
#define CONTRACTIONS "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
#define BLANKS       SPACE "+(?![^" SPACES "])|" SPACE "+"
#define GPT_2        "'s|'t|'re|'ve|'m|'ll|'d| ?[" LETTERS "]+| ?[" NUMBERS "]+| ?[^" SPACES LETTERS NUMBERS "]+|" BLANKS
#define WORDS(numbers)                                                                                                       \
    CONTRACTIONS "|[^\\r\\n" LETTERS NUMBERS "]?[" LETTERS "]+|" numbers "| ?[^" SPACES LETTERS NUMBERS "]+[\\r\\n]*|" SPACE \
                 "*[\\r\\n]+|" BLANKS
#define LLAMA_3 WORDS("[" NUMBERS "]{1,3}")
#define QWEN_2  WORDS("[" NUMBERS "]")

/* Source: tokenizer.json of DeepSeek LLM. llama.cpp differs: it takes U+3000 for white space only, never for punctuation. */
#define DEEPSEEK_LETTERS                                                                                             \
    "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}\\x{295}-\\x{2af}" \
    "\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}"   \
    "\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}"     \
    "\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-"      \
    "\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}"       \
    "\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-"        \
    "\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}"       \
    "\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}"         \
    "\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}"        \
    "\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-"        \
    "\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}"       \
    "\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-"   \
    "\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-"      \
    "\\x{1e943}"
#define DEEPSEEK_PUNCTUATION "!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}"
#define DEEPSEEK_CJK         "\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}"

/* Source: the names are those that llama.cpp's converter writes; the patterns are those of the models' tokenizer.json files.
 * What a pattern does not match stays a word of its own. */
static const struct pre_tokenizer pre_tokenizers[] = {
    {.names = {"gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "mpt", "olmo", "jais", "exaone4", "trillion"},
     .patterns = {GPT_2}},
    {.names = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"},
     .patterns = {"[" NUMBERS "]", GPT_2}},
    {.names = {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
     .patterns = {LLAMA_3},
     .whole_words = 1,
     .add_bos = 1},
    {.names = {"dbrx", "smaug-bpe"}, .patterns = {LLAMA_3}},
    {.names = {"qwen2", "deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan"}, .patterns = {QWEN_2}},
    {.names = {"falcon"}, .patterns = {"[" PUNCTUATION "$+<=>^~|`]+", GPT_2, "[0-9][0-9][0-9]"}},
    {.names = {"deepseek-llm"},
     .patterns = {"[\\r\\n]", SPACE "?[" DEEPSEEK_LETTERS "]+", SPACE "?[" DEEPSEEK_PUNCTUATION "]+", SPACE "+\\z",
                  "[" DEEPSEEK_CJK "]+", "[" NUMBERS "]+"}},
    {.names = {"default"}, .patterns = {"[" PUNCTUATION "$+<=>^~|]+", GPT_2, "[" NUMBERS "]+", "[0-9][0-9][0-9]"}},
};

const struct pre_tokenizer *bpe_find_pre_tokenizer(struct gguf_string name, char *known, size_t known_bytes)
{
    size_t used = 0;
    known[0] = 0;
    for (size_t i = 0; i < sizeof pre_tokenizers / sizeof pre_tokenizers[0]; i++) {
        for (const char *const *known_name = pre_tokenizers[i].names; *known_name; known_name++) {
            if (gguf_string_is(name, *known_name)) {
                return &pre_tokenizers[i];
            }
            if (used < known_bytes) {
                used += (size_t)snprintf(known + used, known_bytes - used, "%s%s", used ? ", " : "", *known_name);
            }
        }
    }
    return NULL;
}

int bpe_compile_patterns(struct tokenizer *t, struct error *err)
{
    for (; t->n_patterns < TOKENIZER_MAX_PATTERNS && t->pre->patterns[t->n_patterns]; t->n_patterns++) {
        const char *pattern = t->pre->patterns[t->n_patterns];
        int code;
        PCRE2_SIZE place;
        pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &place,
                                             NULL);
        if (!compiled) {
            PCRE2_UCHAR reason[128] = "";
            pcre2_get_error_message(code, reason, sizeof reason);
            return error_set(err, "PCRE2 refuses the pre-tokenizer pattern \"%s\" at %zu: %s", pattern, place,
                             (const char *)reason);
        }
        t->patterns[t->n_patterns] = compiled;
        if (pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE)) {
            log_verbose("PCRE2 has no JIT here; tokenizing will be slower");
        }
    }
    return 0;
}

/* The byte that a character of the vocabulary stands for, or -1: printable Latin-1 stands for itself, the other 68 bytes in order
 * for U+0100 and up. Source: GPT-2, encoder.py, bytes_to_unicode. */
static int byte_of_code(uint32_t code)
{
    if (code < 0x100) {
        return (code >= 0x21 && code <= 0x7e) || (code >= 0xa1 && code != 0xad) ? (int)code : -1;
    }
    if (code < 0x121) {
        return (int)code - 0x100;
    }
    return code < 0x143 ? (int)code - 0x121 + 0x7f : code == 0x143 ? 0xad : -1;
}

ptrdiff_t bpe_decode_text(const char *text, size_t n, char *out)
{
    ptrdiff_t written = 0;
    for (size_t at = 0; at < n; at++) {
        uint32_t code = (uint8_t)text[at];
        if (code >= 0x80) {
            if ((code & 0xe0) != 0xc0 || at + 1 == n || ((uint8_t)text[at + 1] & 0xc0) != 0x80) {
                return -1;
            }
            code = (code & 0x1f) << 6 | ((uint8_t)text[++at] & 0x3f);
            if (code < 0x80) {
                return -1;
            }
        }
        int byte = byte_of_code(code);
        if (byte < 0) {
            return -1;
        }
        out[written++] = (char)byte;
    }
    return written;
}

static int encode_word(struct encoder *e, const char *word, size_t n)
{
    const struct tokenizer *t = e->tokenizer;
    if (t->pre->whole_words) {
        int32_t id = string_table_find(&t->key_ids, t->keys, word, n);
        if (id != TOKENIZER_NO_ID && id < t->n_tokens) {
            return encoder_push(e, id);
        }
    }
    return merge_word(e, word, n);
}

/* Runs the JIT code and, when that finds no room on its stack, the interpreter. */
static int match_pattern(struct encoder *e, int32_t level, const char *text, size_t n, size_t at)
{
    const pcre2_code *code = e->tokenizer->patterns[level];
    int rc = pcre2_match(code, (PCRE2_SPTR)text, n, at, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, e->match, NULL);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
        rc = pcre2_match(code, (PCRE2_SPTR)text, n, at, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY | PCRE2_NO_JIT, e->match, NULL);
    }
    return rc;
}

/* Cuts a piece by pattern `level` and what comes out by the patterns after it, as if nothing stood around it. */
static int split_piece(struct encoder *e, int32_t level, const char *text, size_t n)
{
    if (level == e->tokenizer->n_patterns) {
        return merge_cached_word(e, text, n, encode_word);
    }
    size_t done = 0;
    while (done < n) {
        int rc = match_pattern(e, level, text, n, done);
        if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) {
            return error_set(e->err, "PCRE2 error %d while cutting the text into words at byte %zu of %zu", rc, done, n);
        }
        const PCRE2_SIZE *range = pcre2_get_ovector_pointer(e->match);
        size_t first = rc < 0 ? n : range[0], end = rc < 0 ? n : range[1];
        if (first > done && split_piece(e, level + 1, text + done, first - done)) {
            return -1;
        }
        if (end > first && split_piece(e, level + 1, text + first, end - first)) {
            return -1;
        }
        done = end;
    }
    return 0;
}

int bpe_encode(struct encoder *e, const char *text, size_t n)
{
    if (utf8_is_clean(text, n)) {
        return split_piece(e, 0, text, n);
    }
    if (encoder_reserve_buffer(e, 3 * n)) {
        return -1;
    }
    struct word_cache_entry *cache = e->cache;
    e->cache = NULL; /* its words must stay, and the buffer is used again */
    int rc = split_piece(e, 0, e->buffer, utf8_mend(text, n, e->buffer));
    e->cache = cache;
    return rc;
}
