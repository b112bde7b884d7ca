/* The arena and the hash tables of a vocabulary. SPDX-License-Identifier: MIT */
#include "io/tokenizer_private.h"

#include <stdlib.h>
#include <string.h>

struct arena_block {
    struct arena_block *next;
    size_t capacity;
    char bytes[];
};

char *arena_take(struct arena *a, size_t n_bytes)
{
    if (!a->blocks || a->blocks->capacity - a->used < n_bytes) {
        size_t capacity = n_bytes > 1 << 18 ? n_bytes : 1 << 18;
        struct arena_block *block = malloc(sizeof *block + capacity);
        if (!block) {
            return NULL;
        }
        block->next = a->blocks;
        block->capacity = capacity;
        a->blocks = block;
        a->used = 0;
    }
    char *bytes = a->blocks->bytes + a->used;
    a->used += n_bytes;
    return bytes;
}

void arena_free(struct arena *a)
{
    while (a->blocks) {
        struct arena_block *next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
    a->used = 0;
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0x9e3779b97f4a7c15u;
    x ^= x >> 29;
    return x;
}

uint64_t string_hash(const char *bytes, size_t n)
{
    uint64_t h = n * 0x9e3779b97f4a7c15u;
    while (n >= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        h = mix(h ^ word) * 0xd6e8feb86659fd93u;
        bytes += 8;
        n -= 8;
    }
    uint64_t tail = 0;
    for (size_t i = 0; i < n; i++) {
        tail = tail << 8 | (uint8_t)bytes[i];
    }
    return mix(mix(h ^ tail) * 0xd6e8feb86659fd93u);
}

/* Power of two with at most half of the slots in use; 0 when it does not fit 31 bits. */
static size_t table_slots(size_t n_entries)
{
    if (n_entries >= (size_t)1 << 30) {
        return 0;
    }
    size_t n = 16;
    while (n < 2 * n_entries) {
        n *= 2;
    }
    return n;
}

int string_table_init(struct string_table *table, size_t n_strings)
{
    size_t n = table_slots(n_strings);
    table->slots = n ? malloc(n * sizeof *table->slots) : NULL;
    table->hashes = n ? malloc(n * sizeof *table->hashes) : NULL;
    if (!table->slots || !table->hashes) {
        string_table_free(table);
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        table->slots[i] = TOKENIZER_NO_ID;
    }
    table->mask = (uint32_t)(n - 1);
    return 0;
}

void string_table_free(struct string_table *table)
{
    free(table->slots);
    free(table->hashes);
    *table = (struct string_table){0};
}

/* The slot that holds the string, or the free one where it would go. */
static uint32_t string_slot(const struct string_table *table, const struct span *strings, const char *bytes, size_t n,
                            uint32_t hash)
{
    uint32_t slot = hash & table->mask;
    while (table->slots[slot] != TOKENIZER_NO_ID) {
        const struct span *s = &strings[table->slots[slot]];
        if (table->hashes[slot] == hash && s->n == n && memcmp(s->data, bytes, n) == 0) {
            break;
        }
        slot = (slot + 1) & table->mask;
    }
    return slot;
}

int32_t string_table_find(const struct string_table *table, const struct span *strings, const char *bytes, size_t n)
{
    return table->slots[string_slot(table, strings, bytes, n, (uint32_t)string_hash(bytes, n))];
}

void string_table_put(struct string_table *table, const struct span *strings, int32_t id)
{
    uint32_t hash = (uint32_t)string_hash(strings[id].data, strings[id].n);
    uint32_t slot = string_slot(table, strings, strings[id].data, strings[id].n, hash);
    table->slots[slot] = id;
    table->hashes[slot] = hash;
}

int pair_table_init(struct pair_table *table, size_t n_pairs)
{
    size_t n = table_slots(n_pairs);
    table->slots = n ? malloc(n * sizeof *table->slots) : NULL;
    if (!table->slots) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        table->slots[i].pair = UINT64_MAX;
    }
    table->mask = (uint32_t)(n - 1);
    return 0;
}

void pair_table_free(struct pair_table *table)
{
    free(table->slots);
    *table = (struct pair_table){0};
}

static struct pair_entry *pair_slot(const struct pair_table *table, uint64_t pair)
{
    uint32_t slot = (uint32_t)mix(pair * 0xd6e8feb86659fd93u) & table->mask;
    while (table->slots[slot].pair != UINT64_MAX && table->slots[slot].pair != pair) {
        slot = (slot + 1) & table->mask;
    }
    return &table->slots[slot];
}

const struct pair_entry *pair_table_find(const struct pair_table *table, int32_t left, int32_t right)
{
    const struct pair_entry *entry = pair_slot(table, (uint64_t)(uint32_t)left << 32 | (uint32_t)right);
    return entry->pair == UINT64_MAX ? NULL : entry;
}

void pair_table_put(struct pair_table *table, struct pair_entry entry)
{
    struct pair_entry *slot = pair_slot(table, entry.pair);
    if (slot->pair == UINT64_MAX) {
        *slot = entry;
    }
}
