/* How long the waiting policy sleeps as silence grows. SPDX-License-Identifier: MIT */
#include "src/cluster/wait.h"

#include "src/core/clock.h"
#include "tests/check.h"

/* The sleep after so much silence. */
static double after(struct wait_policy *w, double silence_s)
{
    w->last_s = clock_now_s() - silence_s;
    return wait_next_us(w);
}

int main(void)
{
    struct wait_policy w;
    wait_init(&w);
    static const struct {
        double silence_s, least_us, most_us;
    } cases[] = {{0, 0, 0}, {100e-6, 50, 50}, {0.9, 50, 50}, {1.1, 1400, 1700}, {1.3, 3000, 3000}, {3600, 3000, 3000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double us = after(&w, cases[i].silence_s);
        for (int again = 0; cases[i].silence_s == 0 && us > 0 && again < 100; again++) {
            us = after(&w, 0); /* the spin is shorter than a turn of another process */
        }
        CHECK_THAT(us >= cases[i].least_us && us <= cases[i].most_us, "after %g s: %g us, expected %g to %g", cases[i].silence_s,
                   us, cases[i].least_us, cases[i].most_us);
    }
    w.busy_s = 0.1;
    w.longest_us = 1000;
    CHECK_INT(after(&w, 0.5), 1000);
    CHECK_INT(after(&w, 0.05), 50);

    /* Sleeping really takes that long, and an event starts the policy anew. */
    w.last_s = clock_now_s() - 10;
    double start_s = clock_now_s();
    wait_idle(&w);
    double slept_s = clock_now_s() - start_s;
    CHECK_THAT(slept_s >= 0.9e-3, "slept %g s, expected at least 0.001", slept_s);
    wait_reset(&w);
    double us = wait_next_us(&w);
    CHECK_THAT(us <= 50, "after an event: %g us, expected 0 (50 when disturbed)", us);
    return check_result();
}
