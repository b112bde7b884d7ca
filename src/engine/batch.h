/* The unit of work that travels the ring, and the wire message itself. SPDX-License-Identifier: MIT
 *
 * One block of memory: struct batch_header, then rows, then page changes, then needs, then hidden. Both machines are
 * little-endian with 4-byte floats (checked at start), so the block is sent as it stands. */
#ifndef SRC_ENGINE_BATCH_H
#define SRC_ENGINE_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "src/core/error.h"
#include "src/engine/shortlist.h"

enum batch_row_flags { BATCH_ROW_WANTS_TOKEN = 1 /* its hidden comes home and gets logits */ };

/* One token of one sequence. */
struct batch_row {
    int32_t token;
    int32_t position; /* 0-based place in the sequence */
    int32_t slot;     /* the sequence's row in the page tables */
    uint32_t flags;
};

/* A change of the page tables that takes effect before the batch's rows are worked on. */
struct batch_page {
    int32_t slot;
    int32_t index; /* page `index` of the slot holds positions [64*index, 64*index+64) */
    int32_t page;  /* in the KV pool; -1 = the slot gives it back */
};

enum batch_flags {
    BATCH_STOP = 1,  /* last message of the job: forward it and leave */
    BATCH_PACKED = 2 /* hidden is packed for the head (src/model/head.h): dim bytes and dim / 32 floats a row */
};

/* What each stage adds as the batch passes; durations, so no clocks of two hosts are compared. */
struct batch_stage_times {
    float busy_s;     /* computing this batch */
    float resident_s; /* from the receive (rank 0: the start) to the send */
};

struct batch_header {
    uint32_t magic; /* BATCH_MAGIC: also the wire version */
    uint32_t flags;
    uint64_t number; /* of the batch in the job, from 0 */
    int32_t n_rows;
    int32_t n_pages;
    int32_t n_hidden; /* rows of hidden that follow: n_rows on the way down, the rows that want a token on the way home */
    int32_t dim;
    int32_t n_stages;
    int32_t n_need_words; /* what the sampler needs of the rows that want a token, in order; 0 when the head is not divided */
    double started_s;     /* rank 0's clock when it began; read by rank 0 only */
};
#define BATCH_MAGIC 0x334d4c4cu /* "LLM3" */

struct batch_shape {
    int32_t max_rows, max_pages, dim, n_stages;
    int32_t max_need_words; /* at least BATCH_NEED_WORDS a row when the head is divided */
};
enum { BATCH_NEED_WORDS = 3 /* of a need without listed tokens */ };

/* A buffer that can hold any batch of the job. `times` and `rows` stand at fixed places of `memory`; `pages`, `needs` and
 * `hidden` follow what is there, so they move when the counts change (batch_set_counts, batch_set_needs, batch_check). */
struct batch {
    struct batch_header *header;
    struct batch_stage_times *times; /* [n_stages] */
    struct batch_row *rows;          /* [n_rows] */
    struct batch_page *pages;        /* [n_pages] */
    int32_t *needs;                  /* [n_need_words] one struct logit_need after the other, each with its listed ids */
    float *hidden;                   /* [n_hidden, dim] 64-byte aligned; with BATCH_PACKED [n_hidden, batch_row_bytes] */
    void *memory;                    /* `capacity` bytes, owned unless the batch is a view */
    size_t capacity;
    struct batch_shape shape;
};

int batch_init(struct batch *b, const struct batch_shape *shape, struct error *err);
void batch_free(struct batch *b);
size_t batch_capacity(const struct batch_shape *shape);

/* A batch in memory of somebody else (64-byte aligned): to be checked with batch_check. */
void batch_view(struct batch *b, const struct batch_shape *shape, void *memory, size_t n_bytes);

/* Empties rows, pages, needs, times and flags. */
void batch_clear(struct batch *b, uint64_t number);
/* Sets the counts (each within its capacity) and moves `pages` and `hidden` to their places; no needs. Rows stay; pages and
 * hidden must be written (again) after it. */
void batch_set_counts(struct batch *b, int32_t n_rows, int32_t n_pages, int32_t n_hidden);
/* Sets the number of words of needs and moves `hidden`; rows, pages and needs stay, hidden must be written after it. */
void batch_set_needs(struct batch *b, int32_t n_words);
/* The need at word `at` of the batch: fills *need and *listed (in the batch) and returns where the next one begins. */
int32_t batch_need(const struct batch *b, int32_t at, struct logit_need *need, const int32_t **listed);
/* 1 when hidden is that of the rows that want a token and nothing else, and, with needs = 1, each has its need: what a head may
 * be given. After batch_check. */
int batch_is_for_head(const struct batch *b, int needs);
/* Keeps the hidden of the rows that want a token, in order, and drops the rest: what the last stage sends home. */
void batch_keep_wanted(struct batch *b);
/* Bytes of a row of hidden, and where one begins. */
size_t batch_row_bytes(const struct batch_header *h);
void *batch_hidden_row(const struct batch *b, int32_t row);
/* Bytes from the start of memory to the end of the last hidden row: what is sent. */
size_t batch_bytes(const struct batch *b);
/* Checks a received block of n bytes: magic, counts within the capacities, length equal to what the counts say, needs for all
 * rows that want a token or for none; then sets the pointers. */
int batch_check(struct batch *b, size_t n_bytes, struct error *err);

#endif
