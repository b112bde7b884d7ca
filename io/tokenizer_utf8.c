/* UTF-8 as the tokenizers read it: by structure, never failing. SPDX-License-Identifier: MIT */
#include "io/tokenizer_private.h"

#include <string.h>

size_t utf8_length(uint8_t first)
{
    return first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* Reads one sequence; returns its length, or 0 when the first byte begins none. */
static size_t utf8_read(const uint8_t *s, size_t n, uint32_t *code)
{
    if (s[0] < 0x80) {
        *code = s[0];
        return 1;
    }
    size_t length = utf8_length(s[0]);
    if (length < 2 || length > n || s[0] >= 0xf8) {
        return 0;
    }
    *code = s[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        *code = *code << 6 | (s[i] & 0x3fu);
    }
    return *code <= 0x10ffff ? length : 0;
}

static size_t utf8_write(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    out[0] = (char)((0xf00 >> length & 0xff) | code);
    return length;
}

int utf8_is_clean(const char *text, size_t n)
{
    static const uint32_t shortest[5] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t *s = (const uint8_t *)text;
    for (size_t at = 0; at < n;) {
        uint64_t eight;
        if (n - at >= 8 && (memcpy(&eight, s + at, 8), (eight & 0x8080808080808080u) == 0)) {
            at += 8;
            continue;
        }
        uint32_t code;
        size_t length = utf8_read(s + at, n - at, &code);
        if (length == 0 || code < shortest[length]) {
            return 0;
        }
        at += length;
    }
    return 1;
}

size_t utf8_mend(const char *text, size_t n, char *out)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t written = 0;
    for (size_t at = 0; at < n;) {
        uint32_t code;
        size_t length = utf8_read(s + at, n - at, &code);
        written += utf8_write(length ? code : 0xfffd, out + written);
        at += length ? length : 1;
    }
    return written;
}
