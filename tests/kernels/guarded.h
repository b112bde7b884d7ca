/* Buffers that end at memory that may not be touched, and remember what stood before them. SPDX-License-Identifier: MIT */
#ifndef TESTS_KERNELS_GUARDED_H
#define TESTS_KERNELS_GUARDED_H

#include <stddef.h>

struct guarded {
    char *map; /* [map_bytes + one page] owned */
    size_t map_bytes;
    void *data; /* [bytes] inside map, at its end but for the alignment */
    size_t bytes;
};

/* All of the buffer and what surrounds it is filled with a pattern that is a NaN as float and as half. Ends the test when out of
 * memory. align: power of two; the data ends at most align - 1 bytes before the forbidden page. */
struct guarded guarded_alloc(size_t bytes, size_t align);
void guarded_free(struct guarded *buffer);

/* Fills the data with the pattern again. */
void guarded_reset(struct guarded *buffer);
/* 1: the pattern around the data is untouched. */
int guarded_intact(const struct guarded *buffer);

#endif
