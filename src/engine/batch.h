/* The unit of work that travels the ring, and the wire message itself. SPDX-License-Identifier: MIT
 *
 * One block of memory: struct batch_header, then rows, then page changes, then hidden. Both machines are little-endian with
 * 4-byte floats (checked at start), so the block is sent as it stands. */
#ifndef SRC_ENGINE_BATCH_H
#define SRC_ENGINE_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "src/core/error.h"

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

enum batch_flags { BATCH_STOP = 1 /* last message of the job: forward it and leave */ };

/* What each stage adds as the batch passes. */
struct batch_stage_times {
    float busy_s;  /* computing this batch */
    float wait_s;  /* the compute thread had nothing to do before it */
    float hop_s;   /* from the sender's send call to the receive seen here; meaningful on one host only, else 0 */
    float reserved;
};

enum { BATCH_MAX_RANKS = 256 };

struct batch_header {
    uint32_t magic;       /* BATCH_MAGIC: also the wire version */
    uint32_t flags;
    uint64_t sequence;    /* number of the batch in the job, from 0 */
    int32_t n_rows;
    int32_t n_pages;
    int32_t n_hidden;     /* rows of hidden that follow: n_rows on the way down, the rows that want a token on the way home */
    int32_t dim;
    int32_t n_stages;
    int32_t reserved;
    double sent_s;        /* the sender's clock at the send call */
};
#define BATCH_MAGIC 0x314d4c4cu /* "LLM1" */

/* A buffer that can hold any batch of the job. Pointers go into `memory`. */
struct batch {
    struct batch_header *header;
    struct batch_stage_times *times; /* [n_stages] */
    struct batch_row *rows;          /* [max_rows] */
    struct batch_page *pages;        /* [max_pages] */
    float *hidden;                   /* [max_rows, dim] 64-byte aligned */
    void *memory;                    /* owned, `capacity` bytes */
    size_t capacity;
    int32_t max_rows, max_pages;
};

struct batch_shape {
    int32_t max_rows, max_pages, dim, n_stages;
};
int batch_init(struct batch *b, const struct batch_shape *shape, struct error *err);
void batch_free(struct batch *b);
/* Bytes from the start of memory to the end of the last hidden row: what is sent. */
size_t batch_bytes(const struct batch *b);
/* Empties header, rows, pages and times. */
void batch_clear(struct batch *b);
/* Checks a received block of n bytes: magic, counts within the capacities, length equal to what the counts say. */
int batch_check(const struct batch *b, size_t n_bytes, struct error *err);

#endif
