/* SentencePiece-style encoding of plain text. SPDX-License-Identifier: MIT */
#include "io/tokenizer_private.h"

#include <string.h>

/* Writes text with every space as the space mark U+2581. out: capacity 3 n. */
static size_t mark_spaces(const char *text, size_t n, char *out)
{
    size_t written = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == ' ') {
            memcpy(out + written, "\xe2\x96\x81", 3);
            written += 3;
        } else {
            out[written++] = text[i];
        }
    }
    return written;
}

static int encode_word(struct encoder *e, const char *word, size_t n)
{
    if (encoder_reserve_buffer(e, 3 * n)) {
        return -1;
    }
    return merge_word(e, e->buffer, mark_spaces(word, n, e->buffer));
}

static int encode_prefixed_word(struct encoder *e, const char *word, size_t n)
{
    if (encoder_reserve_buffer(e, 3 * n + 3)) {
        return -1;
    }
    size_t prefix = mark_spaces(" ", 1, e->buffer);
    return merge_word(e, e->buffer, prefix + mark_spaces(word, n, e->buffer + prefix));
}

/* No merge can cross a place where no token holds the byte before it and a space mark after that, so the words between such
 * places are independent. In ill-formed text a sequence may swallow part of a space mark: that is one word. */
static size_t word_length(const struct tokenizer *t, const char *text, size_t n)
{
    size_t length = 1;
    while (length < n) {
        uint8_t before = text[length - 1] == ' ' ? 0x81 : (uint8_t)text[length - 1];
        if (text[length] == ' ' && !t->joins_space[before]) {
            break;
        }
        length++;
    }
    return length;
}

int spm_encode(struct encoder *e, const char *text, size_t n, int add_prefix)
{
    int clean = utf8_is_clean(text, n);
    for (size_t at = 0; at < n;) {
        size_t length = clean ? word_length(e->tokenizer, text + at, n - at) : n;
        if (at == 0 && add_prefix ? encode_prefixed_word(e, text, length)
                                  : merge_cached_word(e, text + at, length, encode_word)) {
            return -1;
        }
        at += length;
    }
    return 0;
}
