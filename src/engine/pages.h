/* The pool of KV pages, as rank 0 hands them out. Pure bookkeeping. SPDX-License-Identifier: MIT */
#ifndef SRC_ENGINE_PAGES_H
#define SRC_ENGINE_PAGES_H

#include <stdint.h>

#include "src/core/error.h"

struct page_pool {
    int32_t *free_pages; /* [n_pages] owned; the first n_free are free, taken from the end */
    int32_t n_pages, n_free;
};
int page_pool_init(struct page_pool *pool, int32_t n_pages, struct error *err);
void page_pool_free(struct page_pool *pool);
/* A free page, or -1. */
int32_t page_pool_take(struct page_pool *pool);
void page_pool_give(struct page_pool *pool, int32_t page);

#endif
