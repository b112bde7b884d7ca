/* When messages over a simulated network are there. SPDX-License-Identifier: MIT */
#include "src/cluster/link_delay.h"

#include "tests/check.h"

static void expect(struct link_delay *d, double arrival_s, size_t bytes, double due_s)
{
    double found_s = link_delay_due_s(d, arrival_s, bytes);
    CHECK_THAT(found_s > due_s - 1e-12 && found_s < due_s + 1e-12, "%zu bytes at %g s: due at %.9g s, expected %.9g", bytes,
               arrival_s, found_s, due_s);
}

int main(void)
{
    struct link_delay d;
    link_delay_init(&d, 0, 0);
    expect(&d, 5, 1000000, 5); /* no network to simulate */

    link_delay_init(&d, 100e-6, 1e6);
    expect(&d, 1, 1000, 1 + 1e-3 + 100e-6);
    expect(&d, 2, 0, 2 + 100e-6);
    /* The wire is busy until 3.002: the next two wait for it, but not for each other's latency. */
    expect(&d, 3, 2000, 3.002 + 100e-6);
    expect(&d, 3.0005, 1000, 3.003 + 100e-6);
    expect(&d, 3.001, 0, 3.003 + 100e-6);
    /* Bytes of the last are through at 3.003; the latency does not hold up the wire. */
    expect(&d, 3.00305, 1000, 3.00405 + 100e-6);
    return check_result();
}
