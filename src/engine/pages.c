/* SPDX-License-Identifier: MIT */
#include "src/engine/pages.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int page_pool_init(struct page_pool *pool, int32_t n_pages, struct error *err)
{
    memset(pool, 0, sizeof *pool);
    pool->free_pages = malloc(sizeof *pool->free_pages * (size_t)n_pages);
    if (!pool->free_pages) {
        return error_set(err, "out of memory for a table of %d KV pages", n_pages);
    }
    pool->n_pages = pool->n_free = n_pages;
    for (int32_t i = 0; i < n_pages; i++) {
        pool->free_pages[i] = n_pages - 1 - i; /* low pages first: memory is touched from its start */
    }
    return 0;
}

void page_pool_free(struct page_pool *pool)
{
    free(pool->free_pages);
    memset(pool, 0, sizeof *pool);
}

int32_t page_pool_take(struct page_pool *pool)
{
    return pool->n_free > 0 ? pool->free_pages[--pool->n_free] : -1;
}

void page_pool_give(struct page_pool *pool, int32_t page)
{
    assert(page >= 0 && page < pool->n_pages && pool->n_free < pool->n_pages);
    pool->free_pages[pool->n_free++] = page;
}
