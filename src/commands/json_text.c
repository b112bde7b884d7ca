/* SPDX-License-Identifier: MIT */
#include "src/commands/json_text.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Length of the valid UTF-8 sequence at text, or 0. */
static size_t utf8_length(const uint8_t *s, size_t n)
{
    if (s[0] < 0x80) {
        return 1;
    }
    size_t length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (s[0] < 0xc2 || s[0] > 0xf4 || length > n) {
        return 0;
    }
    uint32_t code = s[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (s[i] & 0x3f);
    }
    return code < lowest[length] || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff ? 0 : length;
}

json_t *json_text(const char *text, size_t n)
{
    char *clean = malloc(3 * n + 1);
    size_t used = 0;
    if (!clean) {
        return NULL;
    }
    for (size_t i = 0; i < n;) {
        size_t length = utf8_length((const uint8_t *)text + i, n - i);
        memcpy(clean + used, length ? text + i : "\xef\xbf\xbd", length ? length : 3);
        used += length ? length : 3;
        i += length ? length : 1;
    }
    json_t *string = json_stringn(clean, used);
    free(clean);
    return string;
}

int json_text_is_valid(const char *text, size_t n)
{
    size_t length = 1;
    for (size_t i = 0; i < n && length; i += length) {
        length = utf8_length((const uint8_t *)text + i, n - i);
    }
    return length > 0;
}

json_t *json_number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}
