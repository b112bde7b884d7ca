/* SPDX-License-Identifier: MIT */
#include "io/gguf_names.h"

#include <stdlib.h>
#include <string.h>

/* Source: FNV-1a, 64 bits (Fowler, Noll, Vo), folded because the low bits pick the slot. */
static uint64_t hash(struct gguf_string name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < name.length; i++) {
        h = (h ^ (uint8_t)name.data[i]) * 0x100000001b3u;
    }
    return h ^ (h >> 32);
}

/* The slot that holds the name, or the free one where it belongs. */
static struct gguf_names_slot *slot_of(const struct gguf_names *names, struct gguf_string name)
{
    uint64_t i = hash(name) & (names->n_slots - 1);
    for (;;) {
        struct gguf_names_slot *slot = &names->slots[i];
        if (!slot->name.data || (slot->name.length == name.length && memcmp(slot->name.data, name.data, name.length) == 0)) {
            return slot;
        }
        i = (i + 1) & (names->n_slots - 1);
    }
}

int gguf_names_init(struct gguf_names *names, uint64_t n)
{
    *names = (struct gguf_names){0};
    uint64_t n_slots = 8;
    while (n_slots / 2 < n) {
        if (n_slots > SIZE_MAX / 2 / sizeof *names->slots) {
            return -1;
        }
        n_slots *= 2;
    }
    names->slots = calloc((size_t)n_slots, sizeof *names->slots);
    if (!names->slots) {
        return -1;
    }
    names->n_slots = n_slots;
    return 0;
}

void gguf_names_free(struct gguf_names *names)
{
    free(names->slots);
    *names = (struct gguf_names){0};
}

int gguf_names_add(struct gguf_names *names, struct gguf_string name, uint64_t place)
{
    struct gguf_names_slot *slot = slot_of(names, name);
    if (slot->name.data) {
        return -1;
    }
    slot->name = name;
    slot->place = place;
    return 0;
}

int gguf_names_find(const struct gguf_names *names, struct gguf_string name, uint64_t *place)
{
    if (!names->slots) {
        return 0;
    }
    const struct gguf_names_slot *slot = slot_of(names, name);
    if (!slot->name.data) {
        return 0;
    }
    *place = slot->place;
    return 1;
}
