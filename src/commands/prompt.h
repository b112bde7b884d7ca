/* The prompt of a command: from the command line, a file, standard input or ids. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_PROMPT_H
#define SRC_COMMANDS_PROMPT_H

#include "io/tokenizer.h"
#include "src/commands/options.h"

struct prompt_source {
    const char *text, *path;       /* -p, -f; both NULL = standard input */
    const struct option_ints *ids; /* --ids, when given */
    int no_bos, no_special;
};

/* All bytes of a file ("-": standard input) less one newline at the very end, which editors and echo put there. Owned by the
 * caller; *n without the terminating 0 that follows. Says on a terminal how to end the text. */
int prompt_read_text(const char *path, char **text, size_t *n, struct error *err);

/* The ids that the model gets. n_vocab bounds --ids. */
int prompt_ids(const struct prompt_source *source, const struct tokenizer *tokenizer, int32_t n_vocab, struct tokenizer_ids *out,
               struct error *err);

#endif
