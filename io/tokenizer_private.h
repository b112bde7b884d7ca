/* What the files of the tokenizer share: the vocabulary in memory, its tables, and one encoding in progress.
 * SPDX-License-Identifier: MIT */
#ifndef IO_TOKENIZER_PRIVATE_H
#define IO_TOKENIZER_PRIVATE_H

#define PCRE2_CODE_UNIT_WIDTH 8

#include "io/tokenizer.h"

#include <pcre2.h>
#include <stddef.h>
#include <stdint.h>

enum { TOKENIZER_MAX_PATTERNS = 8 };
/* A table of ids holds no entry where this stands. */
enum { TOKENIZER_NO_ID = -1 };

/* What a token is, as bits: overriding by text may set a second one. */
enum token_trait {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 4,
    TOKEN_USER_DEFINED = 8,
    TOKEN_UNUSED = 16,
    TOKEN_BYTE = 32,
    TOKEN_STRIP_RIGHT = 64 /* swallows white space that follows it */
};

struct span {
    const char *data; /* [n] in the arena or the text that is encoded; borrowed */
    size_t n;
};

/* Memory that is only freed as a whole. */
struct arena_block;
struct arena {
    struct arena_block *blocks;
    size_t used;
};
char *arena_take(struct arena *a, size_t n_bytes); /* NULL: out of memory */
void arena_free(struct arena *a);

/* Strings to ids; open addressing, the strings live elsewhere. */
struct string_table {
    int32_t *slots;   /* [mask + 1] owned; TOKENIZER_NO_ID = free */
    uint32_t *hashes; /* [mask + 1] owned */
    uint32_t mask;
};
uint64_t string_hash(const char *bytes, size_t n);
int string_table_init(struct string_table *table, size_t n_strings); /* room for n_strings; -1: out of memory */
void string_table_free(struct string_table *table);
int32_t string_table_find(const struct string_table *table, const struct span *strings, const char *bytes, size_t n);
/* Puts strings[id] in; an equal string that is there gives way. */
void string_table_put(struct string_table *table, const struct span *strings, int32_t id);

/* A merge of byte-level BPE: keys left and right become key result. */
struct pair_entry {
    uint64_t pair; /* left << 32 | right; UINT64_MAX = free */
    uint32_t rank;
    int32_t result;
};
struct pair_table {
    struct pair_entry *slots; /* [mask + 1] owned */
    uint32_t mask;
};
int pair_table_init(struct pair_table *table, size_t n_pairs);
void pair_table_free(struct pair_table *table);
const struct pair_entry *pair_table_find(const struct pair_table *table, int32_t left, int32_t right); /* NULL: no such merge */
void pair_table_put(struct pair_table *table, struct pair_entry entry); /* an equal pair that is there stays */

/* Tokens that are looked for in the text before it is split into words. */
struct special_tokens {
    struct string_table table; /* of texts */
    uint32_t *lengths;         /* [n_lengths] of the texts, descending, owned */
    size_t n_lengths;
    uint8_t *starts; /* [65536] owned: by the first two bytes, SPECIAL_...: may a token begin so? */
};
enum { SPECIAL_ALWAYS = 1, SPECIAL_ON_REQUEST = 2 };

/* A stretch of text: a special token, or (id = TOKENIZER_NO_ID) what lies between two. */
struct segment {
    size_t start, n;
    int32_t id;
};

struct pre_tokenizer {
    const char *names[12];                        /* values of tokenizer.ggml.pre, NULL after the last */
    const char *patterns[TOKENIZER_MAX_PATTERNS]; /* applied in order to what the ones before have cut, NULL after the last */
    int whole_words;                              /* a word that is a token is taken at once, without merges */
    int add_bos;                                  /* when the file does not say */
};

struct tokenizer {
    enum tokenizer_kind kind;
    char model[32]; /* tokenizer.ggml.model, cut short */
    int32_t n_tokens;
    int32_t bos, eos, unknown;
    int add_bos, add_eos, add_space_prefix;
    size_t max_piece;
    struct arena arena;  /* holds all strings */
    struct span *texts;  /* [n_tokens] owned: as in the file */
    struct span *pieces; /* [n_tokens] owned: bytes in a generated text */
    uint8_t *traits;     /* [n_tokens] owned: enum token_trait */
    uint8_t *ends;       /* [n_tokens] owned: 1 = ends a generation */
    /* Keys are what merging works on: SPM: texts; BPE: the bytes that a text stands for. The first n_tokens are those of the
     * tokens (empty when no text can give them), the others are parts of merges that are no tokens themselves. */
    struct span *keys; /* [n_keys] owned */
    int32_t n_keys, max_keys;
    struct string_table key_ids;
    int32_t byte_ids[256]; /* SPM: the token of <0xXX>; BPE: the key of that one byte */
    struct special_tokens special;
    /* SPM */
    uint32_t *orders;         /* [n_tokens] owned: ascending = descending score */
    uint8_t joins_space[256]; /* 1: some token holds this byte and then the space mark, so no word ends between them */
    /* BPE */
    struct pair_table merges;
    const struct pre_tokenizer *pre;
    pcre2_code *patterns[TOKENIZER_MAX_PATTERNS]; /* owned */
    int32_t n_patterns;
};

/* A symbol is a run of bytes of the word that has been merged so far; n = 0 once the symbol before has swallowed it. */
struct merge_symbol {
    uint32_t start, n;
    int32_t previous, next; /* -1 at the ends */
    int32_t key;            /* TOKENIZER_NO_ID: not in the vocabulary (SPM) */
};
struct merge_candidate {
    uint32_t order; /* lowest first; of equals the leftmost */
    int32_t left, right;
    uint32_t n;  /* bytes of both: tells a candidate that was overtaken */
    int32_t key; /* what they become */
};

/* A word that was met before and the place of its ids in the output. */
struct word_cache_entry {
    const char *data;
    uint32_t n, n_ids;
    size_t first_id;
};

/* One call of tokenizer_encode. */
struct encoder {
    const struct tokenizer *tokenizer;
    struct tokenizer_ids *out;
    struct error *err;
    struct merge_symbol *symbols; /* [max_symbols] owned */
    size_t max_symbols;
    struct merge_candidate *candidates; /* [max_candidates] owned: binary heap */
    size_t n_candidates, max_candidates;
    char *buffer; /* [max_buffer] owned: a fragment or word in the form that is merged */
    size_t max_buffer;
    struct word_cache_entry *cache; /* [cache_mask + 1] owned; NULL = none */
    size_t cache_mask;
    pcre2_match_data *match; /* owned; BPE only */
};

/* All return -1 with err set when memory runs out. */
int encoder_push(struct encoder *e, int32_t id);
int encoder_reserve_buffer(struct encoder *e, size_t n_bytes);

/* Splits into UTF-8 sequences (SPM) or bytes (BPE), merges, and pushes the ids. n < 2^31. */
int merge_word(struct encoder *e, const char *word, size_t n);
/* merge_word that looks into the cache first; word must stay where it is until the call of tokenizer_encode ends. */
int merge_cached_word(struct encoder *e, const char *word, size_t n,
                      int (*encode)(struct encoder *e, const char *word, size_t n));

/* Text without special tokens. add_prefix: a space goes before it. */
int spm_encode(struct encoder *e, const char *text, size_t n, int add_prefix);
int bpe_encode(struct encoder *e, const char *text, size_t n);

/* Byte-level BPE writes every byte as a printable character. Gives the bytes that text stands for (capacity n) or -1 when it
 * holds another character. */
ptrdiff_t bpe_decode_text(const char *text, size_t n, char *out);
/* The row for a name; NULL when there is none: then *known lists all names. */
const struct pre_tokenizer *bpe_find_pre_tokenizer(struct gguf_string name, char *known, size_t known_bytes);
int bpe_compile_patterns(struct tokenizer *t, struct error *err);

/* Fills an empty tokenizer from the file. */
int vocabulary_load(struct tokenizer *t, const struct gguf *file, struct error *err);
/* Finds the tokens that end a generation and mends the traits of those that are known by text. */
int vocabulary_find_ends(struct tokenizer *t, const struct gguf *file, struct error *err);

int special_tokens_init(struct tokenizer *t, struct error *err);
void special_tokens_free(struct special_tokens *s);
/* Cuts text into segments, in order; white space that a token swallows belongs to its segment. *segments is owned by the caller
 * (free). */
int special_tokens_split(const struct tokenizer *t, const char *text, size_t n, int parse_special, struct segment **segments,
                         size_t *n_segments);

/* UTF-8 as llama.cpp reads it: structure only, so surrogates pass. */
size_t utf8_length(uint8_t first);
/* 1 when no byte would change in utf8_mend. */
int utf8_is_clean(const char *text, size_t n);
/* Replaces each byte that begins no sequence by U+FFFD and writes overlong ones short. out: capacity 3 n. Returns the length. */
size_t utf8_mend(const char *text, size_t n, char *out);

#endif
