/* Bytes of generated text as JSON. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_JSON_TEXT_H
#define SRC_COMMANDS_JSON_TEXT_H

#include <jansson.h>

/* A JSON string of n bytes; what is no UTF-8 becomes U+FFFD, byte by byte. NULL when out of memory. */
json_t *json_text(const char *text, size_t n);

/* 1 when the n bytes are valid UTF-8. */
int json_text_is_valid(const char *text, size_t n);

/* A JSON number, or null for infinities and NaN, which JSON lacks. */
json_t *json_number(double x);

#endif
