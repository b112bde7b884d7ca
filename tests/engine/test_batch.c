/* The wire message: counts move the parts, wanted rows are kept in order, bad messages are refused. SPDX-License-Identifier: MIT
 */
#include "src/engine/batch.h"
#include "tests/check.h"

static const struct batch_shape shape = {.max_rows = 9, .max_pages = 4, .dim = 5, .n_stages = 3, .max_need_words = 30};

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

/* Two needs, one with listed tokens, behind the pages; the bytes that follow them move. */
static void test_needs(void)
{
    struct batch b, view;
    struct error err;
    CHECK_INT(batch_init(&b, &shape, NULL), 0);
    fill(&b, 6, 2);
    const int32_t words[] = {40, 1, 2, 17, 19, -1, 0, 0};
    enum { N = sizeof words / sizeof *words };
    batch_set_needs(&b, N);
    memcpy(b.needs, words, sizeof words);
    CHECK_INT((uintptr_t)b.hidden % 64, 0);
    CHECK_THAT(b.hidden >= (float *)(b.needs + N), "needs reach into hidden");
    batch_view(&view, &shape, b.memory, batch_bytes(&b));
    CHECK_THAT(batch_check(&view, batch_bytes(&b), &err) == 0, "%s", err.text);
    CHECK_INT(view.pages[1].page, 41);
    struct logit_need need;
    const int32_t *listed;
    int32_t at = batch_need(&view, 0, &need, &listed);
    CHECK_INT(at, 5);
    CHECK_INT(need.n_best, 40);
    CHECK_INT(need.sums, 1);
    CHECK_INT(need.n_listed, 2);
    CHECK_INT(listed[1], 19);
    CHECK_INT(batch_need(&view, at, &need, &listed), N);
    CHECK_INT(need.n_best, -1);
    const struct {
        int word;
        int32_t bad;
    } wrong[] = {{2, -1}, {2, 1}, {2, 3}, {2, 100000}, {0, -2}, {0, 100000}, {7, 1}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        b.needs[wrong[i].word] = wrong[i].bad;
        CHECK_INT(batch_check(&view, batch_bytes(&b), &err), -1);
        b.needs[wrong[i].word] = words[wrong[i].word];
    }
    b.rows[2].flags = BATCH_ROW_WANTS_TOKEN; /* three rows, two needs */
    CHECK_INT(batch_check(&view, batch_bytes(&b), &err), -1);
    batch_free(&b);
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
    CHECK_INT(batch_is_for_head(&b, 0), 1);
    CHECK_INT(batch_is_for_head(&b, 1), 0); /* no needs */
    b.rows[0].flags = BATCH_ROW_WANTS_TOKEN;
    CHECK_INT(batch_is_for_head(&b, 0), 0);
    fill(&b, 1, 0);
    batch_keep_wanted(&b);
    CHECK_INT(b.header->n_hidden, 0);
    CHECK_INT(batch_is_for_head(&b, 1), 1);
    batch_free(&b);
}

/* Rows for the head: 32 quants and a scale each. */
static void test_packed(void)
{
    struct batch b, view;
    struct error err;
    struct batch_shape wide = shape;
    wide.dim = 64;
    CHECK_INT(batch_init(&b, &wide, NULL), 0);
    batch_set_counts(&b, 3, 0, 3);
    size_t floats = batch_bytes(&b);
    b.header->flags = BATCH_PACKED;
    CHECK_INT((int)batch_row_bytes(b.header), 64 + 2 * 4);
    CHECK_INT((int)(floats - batch_bytes(&b)), 3 * (64 * 4 - 72));
    for (int32_t i = 0; i < 3; i++) {
        b.rows[i] = (struct batch_row){.flags = i == 1 ? 0 : BATCH_ROW_WANTS_TOKEN};
        memset(batch_hidden_row(&b, i), 'a' + i, batch_row_bytes(b.header));
    }
    batch_keep_wanted(&b);
    CHECK_INT(b.header->n_hidden, 2);
    const char *kept = batch_hidden_row(&b, 0);
    CHECK_THAT(kept[0] == 'a' && kept[71] == 'a' && kept[72] == 'c' && kept[143] == 'c', "other rows were kept");
    batch_view(&view, &wide, b.memory, b.capacity);
    CHECK_INT(batch_check(&view, batch_bytes(&b), &err), 0);
    batch_free(&b);
    CHECK_INT(batch_init(&b, &shape, NULL), 0); /* five columns cannot be packed */
    batch_set_counts(&b, 1, 0, 1);
    b.header->flags = BATCH_PACKED;
    CHECK_INT(batch_check(&b, batch_bytes(&b), &err), -1);
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
    int32_t *const counts[] = {&b.header->n_rows, &b.header->n_pages, &b.header->n_hidden, &b.header->n_need_words};
    for (int i = 0; i < 4; i++) {
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
    test_needs();
    test_keep_wanted();
    test_packed();
    test_refused();
    return check_result();
}
