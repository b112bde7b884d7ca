/* The pool of KV pages, as rank 0 hands them out, with what they hold. Pure bookkeeping. SPDX-License-Identifier: MIT
 *
 * A page is free, held by one or more sequences, or kept: held by nobody, but its content is known and may be wanted again. The
 * content of a full page is all tokens from the sequence's start to the page's end. Contents are numbered: (number of the page
 * before, 64 tokens) -> number, compared in full, so two texts never share a number, and a number is never used twice. Kept pages
 * are taken for something else when no free ones are left, the one that was given back first (a sequence gives back its last page
 * first, so a beginning that others may share outlives its ends).
 *
 * Layers with a sliding window will have a second pool and page table each: a page is then given back when the window has passed
 * it, and a content is only worth finding together with its full-attention page. */
#ifndef SRC_ENGINE_PAGES_H
#define SRC_ENGINE_PAGES_H

#include <stdint.h>

#include "kernels/backend.h"
#include "src/core/error.h"

enum { PAGE_NOTHING = 0 /* content before the first page; also: content not known */ };

struct page {
    int32_t n_holders;
    int32_t next_in_bucket, earlier, later; /* page numbers, -1 = none: hash chain; kept pages by the time they were given back */
    uint64_t content, parent;               /* numbers of contents; content PAGE_NOTHING = not known */
    uint64_t batch;                         /* that writes its last row */
    int32_t ids[KV_PAGE];
};

struct page_pool {
    struct page *pages;  /* [n_pages] owned */
    int32_t *free_pages; /* [n_pages] owned; the first n_free are free, taken from the end */
    int32_t *buckets;    /* [n_buckets] owned: first page of each hash chain */
    int32_t n_pages, n_free, n_kept;
    int32_t first_kept, last_kept;
    uint32_t n_buckets; /* a power of two */
    uint64_t n_contents;
    uint64_t n_given; /* times a page lost its last holder */
    uint64_t n_evicted;
};
int page_pool_init(struct page_pool *pool, int32_t n_pages, struct error *err);
void page_pool_free(struct page_pool *pool);

/* Pages that page_pool_take can give: free and kept ones. */
int32_t page_pool_available(const struct page_pool *pool);
/* A page with one holder and no content, or -1. */
int32_t page_pool_take(struct page_pool *pool);
/* One more holder, one fewer. */
void page_pool_hold(struct page_pool *pool, int32_t page);
void page_pool_give(struct page_pool *pool, int32_t page);

/* The page is full with these ids [KV_PAGE] after `parent`, once the batch is computed. Returns the number of its content; when
 * another page has it already, this one stays without. */
uint64_t page_pool_publish(struct page_pool *pool, int32_t page, uint64_t parent, const int32_t *ids, uint64_t batch);
/* The page that has these ids [KV_PAGE] after `parent`, or -1. */
int32_t page_pool_find(const struct page_pool *pool, uint64_t parent, const int32_t *ids);

/* Pages that hold n positions. */
int32_t pages_for(int32_t n_positions);

#endif
