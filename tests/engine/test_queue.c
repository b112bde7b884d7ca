/* Two threads, one queue and one bell: nothing is lost, doubled or reordered, and nobody sleeps for ever.
 * SPDX-License-Identifier: MIT */
#include "src/engine/queue.h"
#include "src/core/clock.h"
#include "tests/check.h"

enum { N_ITEMS = 20000, CAPACITY = 5 };

struct pair {
    struct queue there, back;
    struct bell there_bell, back_bell;
};

static void *echo(void *argument)
{
    struct pair *p = argument;
    for (int i = 0; i < N_ITEMS; i++) {
        void *item;
        while (!(item = queue_take(&p->there))) {
            bell_wait(&p->there_bell, -1);
        }
        queue_put(&p->back, item);
        bell_ring(&p->back_bell);
    }
    return NULL;
}

static void test_echo(void)
{
    struct pair p;
    struct error err;
    static int items[N_ITEMS];
    CHECK_INT(queue_init(&p.there, CAPACITY, &err), 0);
    CHECK_INT(queue_init(&p.back, CAPACITY, &err), 0);
    bell_init(&p.there_bell);
    bell_init(&p.back_bell);
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, echo, &p), 0);
    int sent = 0, received = 0;
    while (received < N_ITEMS) {
        if (sent < N_ITEMS && sent - received < CAPACITY) {
            items[sent] = sent;
            queue_put(&p.there, &items[sent++]);
            bell_ring(&p.there_bell);
            continue;
        }
        int *item = queue_take(&p.back);
        if (!item) {
            bell_wait(&p.back_bell, -1);
            continue;
        }
        CHECK_INT(*item, received);
        received++;
    }
    pthread_join(thread, NULL);
    queue_free(&p.there);
    queue_free(&p.back);
    bell_free(&p.there_bell);
    bell_free(&p.back_bell);
}

static void test_bell(void)
{
    struct bell b;
    bell_init(&b);
    double start = clock_now_s();
    bell_wait(&b, 20000);
    CHECK_THAT(clock_now_s() - start >= 0.019, "slept %g s, expected 0.02", clock_now_s() - start);
    bell_ring(&b);
    bell_wait(&b, -1); /* rung before: must not sleep */
    start = clock_now_s();
    bell_wait(&b, 5000);
    CHECK_THAT(clock_now_s() - start >= 0.004, "a ring counts once, slept %g s", clock_now_s() - start);
    bell_free(&b);
}

int main(void)
{
    test_bell();
    test_echo();
    return check_result();
}
