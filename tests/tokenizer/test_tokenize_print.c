/* What the tokenize command prints. SPDX-License-Identifier: MIT */
#include "src/commands/tokenize_print.h"

#include "tests/check.h"
#include "tests/tokenizer/small_vocabularies.h"

static void check_print(const struct tokenizer *t, const char *text, int flags, int as_json, const char *expected)
{
    char *printed = NULL;
    size_t n;
    struct error err = {{0}};
    FILE *out = open_memstream(&printed, &n);
    CHECK_THAT(tokenize_print(out, t, text, strlen(text), flags, as_json, &err) == 0, "%s", err.text);
    fclose(out);
    CHECK_TEXT(printed, expected);
    free(printed);
}

int main(void)
{
    static struct gguf_bytes bytes;
    struct gguf file;
    struct tokenizer *t;
    struct error err = {{0}};
    small_bpe(&bytes, "llama-bpe");
    CHECK_THAT(gguf_open_memory(&file, bytes.data, bytes.n, &err) == 0, "%s", err.text);
    CHECK_THAT(tokenizer_open(&t, &file, &err) == 0, "%s", err.text);
    check_print(t, " hell", 0, 0, "258 257\n");
    check_print(t, " hell", TOKENIZER_ADD_SPECIAL, 0, "260 258 257\n");
    check_print(t, "", 0, 0, "\n");
    check_print(t, " hell", 0, 1, "{\"ids\":[258,257]}\n");
    check_print(t, "\xc3\xa9\n", TOKENIZE_PIECES, 0, "195\t\"\xef\xbf\xbd\"\n169\t\"\xef\xbf\xbd\"\n10\t\"\\n\"\n");
    check_print(t, "he", TOKENIZE_PIECES, 1, "{\"ids\":[256],\"pieces\":[\"he\"]}\n");
    FILE *full = fopen("/dev/full", "w");
    CHECK_INT(full ? tokenize_print(full, t, "he", 2, 0, 0, &err) : -1, -1);
    if (full) {
        fclose(full);
    }
    tokenizer_close(t);
    gguf_close(&file);
    return check_result();
}
