/* SPDX-License-Identifier: MIT */
#include "src/engine/pages.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int page_pool_init(struct page_pool *pool, int32_t n_pages, struct error *err)
{
    memset(pool, 0, sizeof *pool);
    pool->n_buckets = 16;
    while (pool->n_buckets < (uint32_t)n_pages) {
        pool->n_buckets *= 2;
    }
    pool->pages = calloc((size_t)n_pages, sizeof *pool->pages);
    pool->free_pages = malloc(sizeof *pool->free_pages * (size_t)n_pages);
    pool->buckets = malloc(sizeof *pool->buckets * pool->n_buckets);
    if (!pool->pages || !pool->free_pages || !pool->buckets) {
        page_pool_free(pool);
        return error_set(err, "out of memory for a table of %d KV pages", n_pages);
    }
    memset(pool->buckets, 0xff, sizeof *pool->buckets * pool->n_buckets);
    pool->n_pages = pool->n_free = n_pages;
    pool->first_kept = pool->last_kept = -1;
    for (int32_t i = 0; i < n_pages; i++) {
        pool->free_pages[i] = n_pages - 1 - i; /* low pages first: memory is touched from its start */
    }
    return 0;
}

void page_pool_free(struct page_pool *pool)
{
    free(pool->pages);
    free(pool->free_pages);
    free(pool->buckets);
    memset(pool, 0, sizeof *pool);
}

int32_t pages_for(int32_t n_positions)
{
    return (n_positions + KV_PAGE - 1) / KV_PAGE;
}

int32_t page_pool_available(const struct page_pool *pool)
{
    return pool->n_free + pool->n_kept;
}

/* Which bucket; equal contents are told by comparing. */
static uint32_t bucket_of(const struct page_pool *pool, uint64_t parent, const int32_t *ids)
{
    uint64_t hash = parent * 0x9e3779b97f4a7c15u;
    for (int32_t i = 0; i < KV_PAGE; i++) {
        hash = (hash ^ (uint32_t)ids[i]) * 0x100000001b3u; /* FNV-1a, a token at a time */
    }
    return (uint32_t)(hash ^ hash >> 32) & (pool->n_buckets - 1);
}

static void keep(struct page_pool *pool, int32_t page)
{
    struct page *p = &pool->pages[page];
    p->earlier = pool->last_kept;
    p->later = -1;
    *(p->earlier < 0 ? &pool->first_kept : &pool->pages[p->earlier].later) = page;
    pool->last_kept = page;
    pool->n_kept++;
}

static void unkeep(struct page_pool *pool, int32_t page)
{
    const struct page *p = &pool->pages[page];
    *(p->earlier < 0 ? &pool->first_kept : &pool->pages[p->earlier].later) = p->later;
    *(p->later < 0 ? &pool->last_kept : &pool->pages[p->later].earlier) = p->earlier;
    pool->n_kept--;
}

/* The kept page that was given back first loses its content. */
static int32_t evict(struct page_pool *pool)
{
    int32_t page = pool->first_kept;
    struct page *p = &pool->pages[page];
    int32_t *link = &pool->buckets[bucket_of(pool, p->parent, p->ids)];
    while (*link != page) {
        link = &pool->pages[*link].next_in_bucket;
    }
    *link = p->next_in_bucket;
    p->content = PAGE_NOTHING;
    unkeep(pool, page);
    pool->n_evicted++;
    return page;
}

int32_t page_pool_take(struct page_pool *pool)
{
    if (page_pool_available(pool) == 0) {
        return -1;
    }
    int32_t page = pool->n_free > 0 ? pool->free_pages[--pool->n_free] : evict(pool);
    pool->pages[page].n_holders = 1;
    return page;
}

void page_pool_hold(struct page_pool *pool, int32_t page)
{
    struct page *p = &pool->pages[page];
    assert(p->n_holders > 0 || p->content != PAGE_NOTHING);
    if (p->n_holders++ == 0) {
        unkeep(pool, page);
    }
}

void page_pool_give(struct page_pool *pool, int32_t page)
{
    assert(page >= 0 && page < pool->n_pages && pool->pages[page].n_holders > 0);
    struct page *p = &pool->pages[page];
    if (--p->n_holders > 0) {
        return;
    }
    pool->n_given++;
    if (p->content != PAGE_NOTHING) {
        keep(pool, page);
    } else {
        pool->free_pages[pool->n_free++] = page;
    }
}

int32_t page_pool_find(const struct page_pool *pool, uint64_t parent, const int32_t *ids)
{
    int32_t page = pool->buckets[bucket_of(pool, parent, ids)];
    for (; page >= 0; page = pool->pages[page].next_in_bucket) {
        const struct page *p = &pool->pages[page];
        if (p->parent == parent && memcmp(p->ids, ids, sizeof p->ids) == 0) {
            break;
        }
    }
    return page;
}

uint64_t page_pool_publish(struct page_pool *pool, int32_t page, uint64_t parent, const int32_t *ids, uint64_t batch)
{
    struct page *p = &pool->pages[page];
    if (p->content != PAGE_NOTHING) {
        return p->content; /* found by its holder, not written */
    }
    int32_t same = page_pool_find(pool, parent, ids);
    if (same >= 0) {
        return pool->pages[same].content;
    }
    int32_t *bucket = &pool->buckets[bucket_of(pool, parent, ids)];
    p->next_in_bucket = *bucket;
    *bucket = page;
    p->content = ++pool->n_contents;
    p->parent = parent;
    p->batch = batch;
    memcpy(p->ids, ids, sizeof p->ids);
    return p->content;
}
