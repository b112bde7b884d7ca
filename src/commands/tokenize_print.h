/* What `llm tokenize` prints: the ids of a text. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_TOKENIZE_PRINT_H
#define SRC_COMMANDS_TOKENIZE_PRINT_H

#include "io/tokenizer.h"

#include <stdio.h>

/* Added to the TOKENIZER_... flags: a line "id TAB piece" for each token, the piece as a JSON string. */
enum { TOKENIZE_PIECES = 1 << 16 };

/* Ids on one line, parted by spaces; with as_json {"ids":[...]} (and with TOKENIZE_PIECES also "pieces":[...]). Bytes of a piece
 * that are no UTF-8 are shown as U+FFFD. -1 with *err: as tokenizer_encode, or the output cannot be written. */
int tokenize_print(FILE *out, const struct tokenizer *t, const char *text, size_t n, int flags, int as_json, struct error *err);

#endif
