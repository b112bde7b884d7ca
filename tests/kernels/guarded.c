/* SPDX-License-Identifier: MIT */
#include "tests/kernels/guarded.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE_BYTES = 65536 /* of the largest page size in use */, LEAD_BYTES = 256, PATTERN = 0xff };

struct guarded guarded_alloc(size_t bytes, size_t align)
{
    struct guarded buffer = {.bytes = bytes};
    buffer.map_bytes = (bytes + align + LEAD_BYTES + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    buffer.map = mmap(NULL, buffer.map_bytes + PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer.map == MAP_FAILED || mprotect(buffer.map + buffer.map_bytes, PAGE_BYTES, PROT_NONE) != 0) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    size_t offset = (buffer.map_bytes - bytes) / align * align;
    buffer.data = buffer.map + offset;
    size_t lead = offset < LEAD_BYTES ? offset : LEAD_BYTES;
    memset((char *)buffer.data - lead, PATTERN, lead + buffer.map_bytes - offset);
    return buffer;
}

void guarded_free(struct guarded *buffer)
{
    if (buffer->map) {
        munmap(buffer->map, buffer->map_bytes + PAGE_BYTES);
    }
    *buffer = (struct guarded){0};
}

void guarded_reset(struct guarded *buffer)
{
    memset(buffer->data, PATTERN, buffer->bytes);
}

int guarded_intact(const struct guarded *buffer)
{
    const uint8_t *data = buffer->data, *end = (const uint8_t *)buffer->map + buffer->map_bytes;
    for (const uint8_t *p = data - LEAD_BYTES; p < end; p = p + 1 == data ? data + buffer->bytes : p + 1) {
        if (*p != PATTERN) {
            return 0;
        }
    }
    return 1;
}
