/* The wire message: counts move the parts, wanted rows are kept in order, bad messages are refused. SPDX-License-Identifier: MIT
 */
#include "src/engine/batch.h"
#include "tests/check.h"

static const struct batch_shape shape = {.max_rows = 9, .max_pages = 4, .dim = 5, .n_stages = 3};

static void fill(struct batch *b, int32_t n_rows, int32_t n_pages)
{
    batch_clear(b, 7);
    for (int32_t i = 0; i < n_rows; i++) {
        b->rows[i] = (struct batch_row){
            .token = 100 + i, .position = i, .slot = 1, .flags = i % 3 == 1 ? BATCH_ROW_WANTS_TOKEN : 0};
    }
    batch_set_counts(b, n_rows, n_pages, n_rows);
    for (int32_t i = 0; i < n_pages; i++) {
        b->pages[i] = (struct batch_page){.slot = 1, .index = i, .page = 40 + i};
    }
    for (int32_t i = 0; i < n_rows * shape.dim; i++) {
        b->hidden[i] = (float)i;
    }
}

static void test_round_trip(void)
{
    struct batch sent, received;
    struct error err = {0};
    CHECK_INT(batch_init(&sent, &shape, &err), 0);
    CHECK_INT(batch_init(&received, &shape, &err), 0);
    for (int32_t n_rows = 0; n_rows <= shape.max_rows; n_rows++) {
        for (int32_t n_pages = 0; n_pages <= shape.max_pages; n_pages++) {
            fill(&sent, n_rows, n_pages);
            CHECK_THAT(batch_bytes(&sent) <= sent.capacity, "%zu bytes", batch_bytes(&sent));
            CHECK_INT((uintptr_t)sent.hidden % 64, 0);
            memset(received.memory, 0xee, received.capacity);
            memcpy(received.memory, sent.memory, batch_bytes(&sent));
            CHECK_THAT(batch_check(&received, batch_bytes(&sent), &err) == 0, "%s", err.text);
            CHECK_INT(received.header->n_rows, n_rows);
            CHECK_INT(memcmp(received.hidden, sent.hidden, sizeof(float) * (size_t)(n_rows * shape.dim)), 0);
            if (n_pages) {
                CHECK_INT(received.pages[n_pages - 1].page, 40 + n_pages - 1);
            }
        }
    }
    batch_free(&sent);
    batch_free(&received);
}

static void test_keep_wanted(void)
{
    struct batch b;
    CHECK_INT(batch_init(&b, &shape, NULL), 0);
    fill(&b, 9, 2);
    batch_keep_wanted(&b);
    CHECK_INT(b.header->n_hidden, 3);
    CHECK_INT(b.header->n_rows, 9);
    for (int32_t i = 0; i < 3; i++) {
        CHECK_INT((int)b.hidden[i * shape.dim], (1 + 3 * i) * shape.dim);
    }
    fill(&b, 1, 0);
    batch_keep_wanted(&b);
    CHECK_INT(b.header->n_hidden, 0);
    batch_free(&b);
}

static void test_refused(void)
{
    struct batch b;
    struct error err;
    CHECK_INT(batch_init(&b, &shape, NULL), 0);
    fill(&b, 4, 1);
    size_t n = batch_bytes(&b);
    CHECK_INT(batch_check(&b, n - 1, &err), -1);
    CHECK_INT(batch_check(&b, n + 1, &err), -1);
    CHECK_INT(batch_check(&b, 3, &err), -1);
    int32_t *const counts[] = {&b.header->n_rows, &b.header->n_pages, &b.header->n_hidden};
    for (int i = 0; i < 3; i++) {
        int32_t good = *counts[i];
        *counts[i] = -1;
        CHECK_INT(batch_check(&b, n, &err), -1);
        *counts[i] = 1000000;
        CHECK_INT(batch_check(&b, n, &err), -1);
        *counts[i] = good;
    }
    b.header->magic ^= 1;
    CHECK_INT(batch_check(&b, n, &err), -1);
    b.header->magic ^= 1;
    CHECK_INT(batch_check(&b, n, &err), 0);
    batch_free(&b);
}

int main(void)
{
    test_round_trip();
    test_keep_wanted();
    test_refused();
    return check_result();
}
