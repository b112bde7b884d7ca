/* Text to token ids and back, as the model's GGUF file says. SPDX-License-Identifier: MIT
 *
 * Kinds: SentencePiece with scores and byte fallback (tokenizer.ggml.model = "llama") and byte-level BPE ("gpt2") with the
 * pre-tokenizer named by tokenizer.ggml.pre. A file without a tokenizer that is known here ("none", "test", "no_vocab") opens
 * too: kind NONE, ids only. */
#ifndef IO_TOKENIZER_H
#define IO_TOKENIZER_H

#include "io/gguf.h"

enum tokenizer_kind { TOKENIZER_NONE, TOKENIZER_SPM, TOKENIZER_BPE };

struct tokenizer; /* all fields private; independent of the gguf once opened */

/* Copies what it needs. -1 with *err for a vocabulary that contradicts itself or a pre-tokenizer that is not known (names it and
 * the known ones). */
int tokenizer_open(struct tokenizer **out, const struct gguf *file, struct error *err);
void tokenizer_close(struct tokenizer *t); /* NULL allowed */

enum tokenizer_kind tokenizer_kind(const struct tokenizer *t);
int32_t tokenizer_n_tokens(const struct tokenizer *t);
/* -1 = the model has none. */
int32_t tokenizer_bos(const struct tokenizer *t);
int32_t tokenizer_eos(const struct tokenizer *t);
/* 1 for every token that ends a generation: eos, eot, and the end-of-turn tokens that llama.cpp finds by text (<|im_end|>,
 * <|eot_id|>, <end_of_turn>, ...). */
int tokenizer_is_end(const struct tokenizer *t, int32_t id);
/* Whether encode adds BOS / EOS by the file's wish (add_bos_token / add_eos_token, or the kind's default). */
int tokenizer_adds_bos(const struct tokenizer *t);
int tokenizer_adds_eos(const struct tokenizer *t);

struct tokenizer_ids {
    int32_t *ids; /* [n] owned; free with tokenizer_ids_free */
    size_t n, capacity;
};
void tokenizer_ids_free(struct tokenizer_ids *ids);

enum {
    TOKENIZER_ADD_SPECIAL = 1 /* BOS/EOS by the file's wish */,
    TOKENIZER_PARSE_SPECIAL = 2 /* "<|im_start|>" in the text is that token */
};
/* Appends the ids of n_bytes of text (any bytes; invalid UTF-8 is taken as llama.cpp takes it). -1 with *err: no tokenizer, out
 * of memory. */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n_bytes, int flags, struct tokenizer_ids *out,
                     struct error *err);

/* Bytes of one token as they appear in generated text (control tokens: nothing unless `special`). Returns the length; *bytes
 * points into the tokenizer. */
size_t tokenizer_piece(const struct tokenizer *t, int32_t id, int special, const char **bytes);

/* Streaming detokenizer: joins pieces, drops the leading space that SentencePiece adds at the start of a text, and holds back an
 * incomplete UTF-8 sequence until it is complete (or proves invalid). */
struct tokenizer_stream {
    const struct tokenizer *tokenizer; /* borrowed */
    char held[8];
    int n_held;
    int at_start; /* nothing was put yet */
    int special;  /* print control tokens too */
};
/* at_start: 1 where the text begins (strip the added space); 0 where it continues a prompt. */
void tokenizer_stream_init(struct tokenizer_stream *s, const struct tokenizer *t, int at_start, int special);
/* Gives out[0 .. returned) (capacity >= the piece's length + 8 is always enough; max_piece below). */
size_t tokenizer_stream_put(struct tokenizer_stream *s, int32_t id, char *out);
/* What is still held back, at the end of the text. */
size_t tokenizer_stream_flush(struct tokenizer_stream *s, char *out);
/* Length of the longest piece of the vocabulary plus 8. */
size_t tokenizer_max_piece(const struct tokenizer *t);

#endif
