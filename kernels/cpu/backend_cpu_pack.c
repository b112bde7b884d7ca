/* Packed weights of the CPU backend: where they are kept, and the copying. SPDX-License-Identifier: MIT */
#include <sys/mman.h>

#include "kernels/cpu/backend_cpu.h"
#include "kernels/cpu/pack.h"
#include "kernels/file_pages.h"

enum {
    HUGE_PAGE = 2 << 20,
    ARENA_BYTES = 64 << 20, /* taken at a time; what is not used is never touched */
    PIECE_BYTES = 8 << 20   /* of a matrix that is in memory twice */
};

/* Memory for a packed matrix, at a multiple of 64 bytes. Matrices stand close together, so that huge pages are full. */
static char *take_weights(struct backend_cpu *self, size_t bytes, struct error *err)
{
    bytes = cpu_round_up(bytes);
    if (bytes > self->weight_left) {
        size_t n = (bytes > ARENA_BYTES ? bytes : ARENA_BYTES) + HUGE_PAGE;
        char *data = cpu_alloc(self, n, 1, "packed weights", err);
        if (!data) {
            return NULL;
        }
        size_t before = (HUGE_PAGE - (uintptr_t)data % HUGE_PAGE) % HUGE_PAGE;
        self->weights = data + before;
        self->weight_left = n - before;
        madvise(self->weights, self->weight_left, MADV_HUGEPAGE); /* a kernel without them says no */
    }
    char *at = self->weights;
    self->weights += bytes;
    self->weight_left -= bytes;
    return at;
}

struct pack_job {
    const struct tensor *from;
    int64_t first_panel;
    char *to;
};

static void pack_task(void *context, int32_t item, int32_t thread)
{
    const struct pack_job *job = context;
    const struct tensor *t = job->from;
    size_t at = (size_t)(job->first_panel + item) * PACK_ROWS * t->row_bytes;
    (void)thread;
    pack_panel(t->dtype, (const char *)t->data + at, t->row_bytes, t->cols, job->to + at);
}

/* Asks for panels [first, first + n) of a file before they are read. */
static void read_ahead(const struct tensor *t, int64_t first, int64_t n)
{
    int64_t n_panels = t->rows / PACK_ROWS, end = first + n < n_panels ? first + n : n_panels;
    size_t panel_bytes = PACK_ROWS * t->row_bytes;
    if (t->may_drop && first < end) {
        file_pages_want((const char *)t->data + (size_t)first * panel_bytes, (size_t)(end - first) * panel_bytes);
    }
}

int cpu_pack(struct backend_cpu *self, struct tensor *t, struct error *err)
{
    struct pack_job job = {.from = t, .to = take_weights(self, (size_t)t->rows * t->row_bytes, err)};
    if (!job.to) {
        return -1;
    }
    size_t panel_bytes = PACK_ROWS * t->row_bytes;
    int64_t n_panels = t->rows / PACK_ROWS, piece = (int64_t)(PIECE_BYTES / panel_bytes) + 1;
    read_ahead(t, 0, piece);
    for (; job.first_panel < n_panels; job.first_panel += piece) {
        int64_t n = n_panels - job.first_panel < piece ? n_panels - job.first_panel : piece;
        read_ahead(t, job.first_panel + piece, piece);
        thread_pool_run(self->pool, (int32_t)n, pack_task, &job);
        if (t->may_drop) {
            file_pages_drop((const char *)t->data + (size_t)job.first_panel * panel_bytes, (size_t)n * panel_bytes);
        }
    }
    t->data = job.to;
    t->layout = PACK_LAYOUT;
    t->may_drop = 0;
    return 0;
}
