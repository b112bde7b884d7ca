/* Tokenizers on vocabularies written here, with ids worked out by hand. SPDX-License-Identifier: MIT */
#include "io/tokenizer.h"

#include "tests/check.h"
#include "tests/tokenizer/small_vocabularies.h"

static struct gguf_bytes bytes;

static struct tokenizer *open_bytes(void)
{
    struct gguf file;
    struct tokenizer *t = NULL;
    struct error err = {{0}};
    CHECK_THAT(gguf_open_memory(&file, bytes.data, bytes.n, &err) == 0, "%s", err.text);
    CHECK_THAT(tokenizer_open(&t, &file, &err) == 0, "%s", err.text);
    gguf_close(&file);
    if (!t) {
        exit(check_result());
    }
    return t;
}

/* expected: ids parted by spaces. */
static void check_ids(const struct tokenizer *t, const char *text, size_t n, int flags, const char *expected)
{
    struct tokenizer_ids ids = {0};
    struct error err = {{0}};
    char found[512] = "";
    size_t used = 0;
    CHECK_THAT(tokenizer_encode(t, text, n, flags, &ids, &err) == 0, "%s", err.text);
    for (size_t i = 0; i < ids.n; i++) {
        used += (size_t)snprintf(found + used, sizeof found - used, "%s%d", i ? " " : "", (int)ids.ids[i]);
    }
    CHECK_THAT(strcmp(found, expected) == 0, "\"%.*s\" gives %s, expected %s", (int)n, text, found, expected);
    tokenizer_ids_free(&ids);
}

static void check_encode(const struct tokenizer *t, const char *text, int flags, const char *expected)
{
    check_ids(t, text, strlen(text), flags, expected);
}

/* Puts ids one by one; expected: what comes out at each, parted by '|', the last part being the flush. */
static void check_stream(const struct tokenizer *t, int at_start, int special, const int32_t *ids, size_t n, const char *expected)
{
    struct tokenizer_stream stream;
    char found[512];
    size_t used = 0;
    tokenizer_stream_init(&stream, t, at_start, special);
    for (size_t i = 0; i < n; i++) {
        used += tokenizer_stream_put(&stream, ids[i], found + used);
        found[used++] = '|';
    }
    used += tokenizer_stream_flush(&stream, found + used);
    found[used] = 0;
    CHECK_TEXT(found, expected);
}

static void test_spm(void)
{
    small_spm(&bytes);
    struct tokenizer *t = open_bytes();
    CHECK_INT(tokenizer_kind(t), TOKENIZER_SPM);
    CHECK_INT(tokenizer_n_tokens(t), SPM_COUNT);
    CHECK_INT(tokenizer_bos(t), 1);
    CHECK_INT(tokenizer_eos(t), 2);
    CHECK_INT(tokenizer_adds_bos(t), 1);
    CHECK_INT(tokenizer_adds_eos(t), 0);
    CHECK_INT(tokenizer_is_end(t, 2), 1);
    CHECK_INT(tokenizer_is_end(t, 1), 0);
    CHECK_INT(tokenizer_is_end(t, -1), 0);
    CHECK_INT(tokenizer_is_end(t, SPM_COUNT), 0);
    CHECK_INT(tokenizer_max_piece(t), 5 + 8);

    check_encode(t, "", 0, "");
    check_encode(t, "", TOKENIZER_ADD_SPECIAL, "1");
    check_encode(t, "hello", 0, "267 262 266"); /* lo, then he, then space+he */
    check_encode(t, "hello", TOKENIZER_ADD_SPECIAL, "1 267 262 266");
    check_encode(t, "lll", 0, "259 264 262"); /* of equal scores the leftmost */
    check_encode(t, "  h", 0, "268 259 260");
    check_encode(t, "h h h h", 0, "259 260 259 260 259 260 259 260");
    check_encode(t, "\xc3\xa9", 0, "259 198 172");
    check_encode(t, "\xff", 0, "259 258");
    check_encode(t, "\xf0 h", 0, "259 243 229 153 132 260"); /* the first byte claims the three of the space mark */
    check_encode(t, "h<tag>h", 0, "259 260 269 259 260");
    check_encode(t, "<s>h", 0, "259 63 118 65 260");
    check_encode(t, "<s>h", TOKENIZER_PARSE_SPECIAL, "1 259 260");
    check_encode(t, "<s></s>", TOKENIZER_PARSE_SPECIAL, "1 2");
    check_ids(t, "h\0h", 3, 0, "259 260 3 260");

    check_stream(t, 1, 0, (const int32_t[]){1, 267, 262, 266, 259, 2}, 6, "|he|l|lo| ||");
    check_stream(t, 1, 1, (const int32_t[]){1, 267, 2}, 3, "<s>|he|</s>|");
    check_stream(t, 0, 0, (const int32_t[]){267}, 1, " he|");
    check_stream(t, 1, 0, (const int32_t[]){268, 259}, 2, " | |");
    check_stream(t, 1, 0, (const int32_t[]){243, 162, 169, 156, 260}, 5, "|||\xf0\x9f\xa6\x99|h|");
    check_stream(t, 1, 0, (const int32_t[]){198, 260, 243, 162}, 4, "|\xc3h|||\xf0\x9f");
    check_stream(t, 1, 0, (const int32_t[]){258, 227, 162, 131, 260}, 5,
                 "\xff||\xe0\x9f|\x80|h|"); /* E0 9F begins no character */
    check_stream(t, 1, 0, (const int32_t[]){-1, SPM_COUNT, 260}, 3, "||h|");
    tokenizer_close(t);
}

static void test_spm_variants(void)
{
    small_spm(&bytes);
    gguf_bytes_add_bool(&bytes, "tokenizer.ggml.add_space_prefix", 0);
    gguf_bytes_add_bool(&bytes, "tokenizer.ggml.add_bos_token", 0);
    gguf_bytes_add_bool(&bytes, "tokenizer.ggml.add_eos_token", 1);
    struct tokenizer *t = open_bytes();
    check_encode(t, "hello", TOKENIZER_ADD_SPECIAL, "265 262 266 2");
    check_stream(t, 1, 0, (const int32_t[]){267}, 1, " he|");
    tokenizer_close(t);

    /* No byte tokens: what cannot be written is <unk>. Ids that are no tokens are none. */
    gguf_bytes_init(&bytes);
    gguf_bytes_add_text(&bytes, "tokenizer.ggml.model", "llama");
    gguf_bytes_array(&bytes, "tokenizer.ggml.tokens", GGUF_BYTES_STRING, 2);
    gguf_bytes_text(&bytes, "<unk>");
    gguf_bytes_text(&bytes, "a");
    gguf_bytes_add_u32(&bytes, "tokenizer.ggml.bos_token_id", UINT32_MAX);
    gguf_bytes_add_u32(&bytes, "tokenizer.ggml.eos_token_id", 70000);
    t = open_bytes();
    CHECK_INT(tokenizer_bos(t), -1);
    CHECK_INT(tokenizer_eos(t), -1);
    CHECK_INT(tokenizer_adds_bos(t), 0);
    check_encode(t, "ab", TOKENIZER_ADD_SPECIAL, "0 0 0 1 0");
    tokenizer_close(t);
}

static void test_bpe(void)
{
    small_bpe(&bytes, "gpt-2");
    struct tokenizer *t = open_bytes();
    CHECK_INT(tokenizer_kind(t), TOKENIZER_BPE);
    CHECK_INT(tokenizer_bos(t), BPE_IM_END);
    CHECK_INT(tokenizer_eos(t), -1);
    CHECK_INT(tokenizer_is_end(t, BPE_IM_END), 1);
    CHECK_INT(tokenizer_adds_bos(t), 0);
    check_encode(t, "hell", TOKENIZER_ADD_SPECIAL, "256 257");
    check_encode(t, " hell", 0, "258 257");
    check_encode(t, "  hell", 0, "32 258 257");
    check_encode(t, "hell  ", 0, "256 257 32 32");
    check_encode(t, "llo", 0, "259");
    check_encode(t, "hello", 0, "104 101 108 108 111"); /* merges to what is no token */
    check_encode(t, "hey", 0, "256 121");
    check_encode(t, "12", 0, "263");
    check_encode(t,
                 "a\xff"
                 "b",
                 0, "97 239 191 189 98");
    check_encode(t, "\xc0\x80\xed\xa0\x80", 0, "0 237 160 128"); /* overlong is written short, a surrogate stays */
    check_encode(t, "\xf4\x90\x80\x80", 0, "239 191 189 239 191 189 239 191 189 239 191 189");
    check_encode(t, "he<|im_end|>he", TOKENIZER_PARSE_SPECIAL, "256 260 256");
    check_encode(t, "<|im_end|>", 0, "60 124 105 109 95 101 110 100 124 62");
    check_encode(t, "he<think>he", 0, "256 261 256");
    check_stream(t, 1, 0, (const int32_t[]){258, 195, 169, 260, 261}, 5, " he||\xc3\xa9||<think>|");
    check_stream(t, 1, 1, (const int32_t[]){260}, 1, "<|im_end|>|");
    tokenizer_close(t);
}

/* A byte without a token is left out, even when the file names an unknown token. */
static void test_bpe_without_bytes(void)
{
    gguf_bytes_init(&bytes);
    gguf_bytes_add_text(&bytes, "tokenizer.ggml.model", "gpt2");
    gguf_bytes_add_text(&bytes, "tokenizer.ggml.pre", "gpt-2");
    gguf_bytes_array(&bytes, "tokenizer.ggml.tokens", GGUF_BYTES_STRING, 2);
    gguf_bytes_text(&bytes, "<|endoftext|>");
    gguf_bytes_text(&bytes, "a");
    gguf_bytes_array(&bytes, "tokenizer.ggml.merges", GGUF_BYTES_STRING, 0);
    gguf_bytes_add_u32(&bytes, "tokenizer.ggml.unknown_token_id", 0);
    struct tokenizer *t = open_bytes();
    check_encode(t, "aba", TOKENIZER_PARSE_SPECIAL, "1 1");
    tokenizer_close(t);
}

static void test_pre_tokenizers(void)
{
    static const struct {
        const char *pre, *text, *ids;
    } cases[] = {
        {"smollm", "12 hell", "49 50 258 257"},
        {"llama-bpe", "hey", "260 262"},     /* a whole word, and BOS */
        {"llama3", "1212", "260 263 49 50"}, /* words of three digits: 121, 2 */
        {"qwen2", "12", "49 50"},
        {"qwen2", "he\n\nhe", "256 10 10 256"},
        {"default", "1212", "263 49 50"},
        {NULL, "12", "263"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        small_bpe(&bytes, cases[i].pre);
        struct tokenizer *t = open_bytes();
        check_encode(t, cases[i].text, TOKENIZER_ADD_SPECIAL, cases[i].ids);
        tokenizer_close(t);
    }
}

/* Texts long enough for the cache of words must give what short ones give. */
static void test_long_text(void)
{
    small_bpe(&bytes, "gpt-2");
    struct tokenizer *t = open_bytes();
    enum { TIMES = 1000 };
    char text[TIMES * 7 + 1];
    struct tokenizer_ids ids = {0};
    struct error err = {{0}};
    for (int i = 0; i < TIMES; i++) {
        memcpy(text + 7 * i, i % 10 == 9 ? " hell<\xff" : " hell12", 7);
    }
    CHECK_INT(tokenizer_encode(t, text, sizeof text - 1, 0, &ids, &err), 0);
    CHECK_INT(ids.n, TIMES / 10 * (9 * 3 + 2 + 4));
    for (size_t i = 0, at = 0; i < TIMES && at + 2 < ids.n; i++, at += i % 10 == 0 ? 6 : 3) {
        CHECK_INT(ids.ids[at], 258);
        CHECK_INT(ids.ids[at + 1], 257);
        CHECK_INT(ids.ids[at + 2], i % 10 == 9 ? '<' : 263);
    }
    tokenizer_ids_free(&ids);
    tokenizer_close(t);
}

/* Special tokens that overlap: the longest wins wherever it stands. */
static void test_overlapping_special_tokens(void)
{
    static const char *const texts[] = {"<unk>", "xx<|", "<|ab|>", "  ", "   "};
    gguf_bytes_init(&bytes);
    gguf_bytes_add_text(&bytes, "tokenizer.ggml.model", "llama");
    gguf_bytes_add_text(&bytes, "general.name", "Phi-3 mini");
    gguf_bytes_add_bool(&bytes, "tokenizer.ggml.add_space_prefix", 0);
    gguf_bytes_array(&bytes, "tokenizer.ggml.tokens", GGUF_BYTES_STRING, 5);
    for (int i = 0; i < 5; i++) {
        gguf_bytes_text(&bytes, texts[i]);
    }
    gguf_bytes_array(&bytes, "tokenizer.ggml.token_type", GGUF_BYTES_I32, 5);
    for (int i = 0; i < 5; i++) {
        gguf_bytes_u32(&bytes, i ? 4 : 2);
    }
    struct tokenizer *t = open_bytes();
    check_encode(t, "xx<|ab|>", 0, "0 0 2");
    check_encode(t, "xx<|ab", 0, "1 0 0");
    check_encode(t, "xx<| \n <|ab|>\t", 0, "1 2"); /* a model named so swallows white space after special tokens */
    tokenizer_close(t);
}

static void check_refused(const char *expected)
{
    struct gguf file;
    struct tokenizer *t = NULL;
    struct error err = {{0}};
    CHECK_THAT(gguf_open_memory(&file, bytes.data, bytes.n, &err) == 0, "%s", err.text);
    CHECK_INT(tokenizer_open(&t, &file, &err), -1);
    CHECK_THAT(t == NULL, "a tokenizer for %s", expected);
    CHECK_THAT(strstr(err.text, expected), "\"%s\" does not say \"%s\"", err.text, expected);
    gguf_close(&file);
}

static void start_refused(const char *model, uint64_t n_tokens)
{
    gguf_bytes_init(&bytes);
    gguf_bytes_add_text(&bytes, "tokenizer.ggml.model", model);
    gguf_bytes_array(&bytes, "tokenizer.ggml.tokens", GGUF_BYTES_STRING, n_tokens);
    for (uint64_t i = 0; i < n_tokens; i++) {
        gguf_bytes_text(&bytes, "ab");
    }
}

static void test_refused(void)
{
    gguf_bytes_init(&bytes);
    gguf_bytes_add_text(&bytes, "tokenizer.ggml.model", "llama");
    check_refused("tokenizer.ggml.tokens is missing");
    gguf_bytes_add_text(&bytes, "tokenizer.ggml.tokens", "x");
    check_refused("tokenizer.ggml.tokens is no array of strings");
    start_refused("llama", 0);
    check_refused("tokenizer.ggml.tokens has 0 entries");
    start_refused("llama", 3);
    gguf_bytes_array(&bytes, "tokenizer.ggml.scores", GGUF_BYTES_F32, 1);
    gguf_bytes_u32(&bytes, 0);
    check_refused("tokenizer.ggml.scores has 1 entries for 3 tokens");
    start_refused("llama", 3);
    gguf_bytes_array(&bytes, "tokenizer.ggml.token_type", GGUF_BYTES_I32, 1);
    gguf_bytes_u32(&bytes, 0);
    check_refused("tokenizer.ggml.token_type has 1 entries for 3 tokens");
    start_refused("llama", 3);
    gguf_bytes_add_text(&bytes, "tokenizer.ggml.bos_token_id", "one");
    check_refused("tokenizer.ggml.bos_token_id");
    start_refused("gpt2", 3);
    check_refused("tokenizer.ggml.merges is missing");
    start_refused("gpt2", 3);
    gguf_bytes_add_text(&bytes, "tokenizer.ggml.pre", "new-one");
    check_refused("tokenizer.ggml.pre is \"new-one\"; known are gpt-2");
}

static void test_none(void)
{
    gguf_bytes_init(&bytes);
    gguf_bytes_add_text(&bytes, "general.architecture", "llama");
    gguf_bytes_add_u32(&bytes, "llama.vocab_size", 128);
    gguf_bytes_add_text(&bytes, "tokenizer.ggml.model", "no_vocab");
    struct tokenizer *t = open_bytes();
    struct tokenizer_ids ids = {0};
    struct error err = {{0}};
    const char *piece;
    CHECK_INT(tokenizer_kind(t), TOKENIZER_NONE);
    CHECK_INT(tokenizer_n_tokens(t), 128);
    CHECK_INT(tokenizer_bos(t), -1);
    CHECK_INT(tokenizer_is_end(t, 2), 0);
    CHECK_INT(tokenizer_piece(t, 2, 1, &piece), 0);
    CHECK_INT(tokenizer_encode(t, "a", 1, 0, &ids, &err), -1);
    CHECK_THAT(strstr(err.text, "no_vocab"), "%s", err.text);
    check_stream(t, 1, 0, (const int32_t[]){5}, 1, "|");
    tokenizer_close(t);
    tokenizer_close(NULL);
}

static void write_seed(const char *folder, const char *name, const char *text)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    CHECK_THAT(f, "%s cannot be written", path);
    if (f) {
        fputc((int)strlen(text), f);
        fputc(3, f);
        fputs(text, f);
        fwrite(bytes.data, 1, bytes.n, f);
        fclose(f);
    }
}

/* --seeds FOLDER writes inputs for fuzz_tokenizer. */
static int write_seeds(const char *folder)
{
    static const char *const names[] = {"gpt-2", "smollm", "llama-bpe", "qwen2", "deepseek-llm", "default"};
    small_spm(&bytes);
    write_seed(folder, "spm", "hello  h\xff<s><tag> he\xf0\x9f\xa6\x99");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        small_bpe(&bytes, names[i]);
        write_seed(folder, names[i], " hello it's 1234\n\n  <|im_end|><think>\xc3\xa9\xff");
    }
    return check_result();
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--seeds") == 0) {
        return write_seeds(argv[2]);
    }
    test_spm();
    test_spm_variants();
    test_bpe();
    test_bpe_without_bytes();
    test_pre_tokenizers();
    test_long_text();
    test_overlapping_special_tokens();
    test_refused();
    test_none();
    return check_result();
}
