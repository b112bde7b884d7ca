/* Finds stop strings in streamed text. SPDX-License-Identifier: MIT */
#ifndef SRC_ENGINE_STOP_H
#define SRC_ENGINE_STOP_H

#include <stddef.h>

#include "src/core/error.h"

/* How far one string has come. */
struct stop_state {
    const size_t *borders; /* [length] borrowed from the matcher */
    size_t length;
    size_t matched; /* bytes of the string that the text so far ends with */
};

struct stop_matcher {
    const char *const *strings; /* [n_strings] borrowed, none empty */
    int n_strings;
    struct stop_state *states; /* [n_strings] owned */
    size_t *borders;           /* owned: of all strings, one after another */
    char *held; /* owned: n_shown bytes given out by the last call, then n_held that may be the start of a stop string */
    size_t n_shown, n_held, capacity;
    int found;
};
int stop_init(struct stop_matcher *m, const char *const *strings, int n_strings, struct error *err);
void stop_free(struct stop_matcher *m);
/* Takes n bytes of new text. What may be shown now is *out[0 .. *n_out), valid until the next call; from the first stop string on
 * nothing is shown. Returns 1 when a stop string was found (now or before). -1 with *err: out of memory. */
int stop_put(struct stop_matcher *m, const char *text, size_t n, const char **out, size_t *n_out, struct error *err);
/* What is still held back, at the end of the text. */
void stop_flush(struct stop_matcher *m, const char **out, size_t *n_out);

#endif
