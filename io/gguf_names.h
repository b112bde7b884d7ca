/* Finds a place in a list by name: a hash table with open addressing. SPDX-License-Identifier: MIT */
#ifndef IO_GGUF_NAMES_H
#define IO_GGUF_NAMES_H

#include "io/gguf.h"

struct gguf_names_slot {
    struct gguf_string name; /* borrowed; data == NULL: the slot is free */
    uint64_t place;
};

struct gguf_names {
    struct gguf_names_slot *slots; /* [n_slots] owned */
    uint64_t n_slots;              /* power of two, at least twice the names */
};

/* Room for n names. -1: out of memory. */
int gguf_names_init(struct gguf_names *names, uint64_t n);
void gguf_names_free(struct gguf_names *names);

/* Adds a name with its place; -1 (and nothing added) when the name is there already. At most the n names of init. */
int gguf_names_add(struct gguf_names *names, struct gguf_string name, uint64_t place);

/* 1 and *place when the name is there, else 0. Zeroed names hold nothing. */
int gguf_names_find(const struct gguf_names *names, struct gguf_string name, uint64_t *place);

#endif
