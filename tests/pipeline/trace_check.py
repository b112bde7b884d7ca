"""A timeline against the result of the same run. SPDX-License-Identifier: MIT

trace_check.py TRACE RESULT    RESULT: what --json wrote
"""
import collections
import json
import math
import sys


def check(condition, what):
    if not condition:
        sys.exit(what)


def main():
    with open(sys.argv[1]) as f:
        events = json.load(f)["traceEvents"]
    with open(sys.argv[2]) as f:
        result = json.load(f)
    ranks = result["ranks"]
    n = len(ranks)

    names = {e["pid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "process_name"}
    check(names == {r["rank"]: "rank %d (%s)" % (r["rank"], r["host"]) for r in ranks}, "processes are %s" % names)

    slices = collections.defaultdict(list)
    for e in events:
        if e["ph"] == "X":
            slices[e["pid"], e["tid"]].append(e)
    batches = {e["args"]["batch"] for e in slices[0, 0] if e["name"] == "forward"}
    rows = len(result["prompt_ids"]) + len(result["ids"]) - 1
    for rank in range(n):
        work = [e for e in slices[rank, 0] if e["name"] != "wait"]
        forward = [e for e in work if e["name"] == "forward"]
        busy, said = sum(e["dur"] for e in work) * 1e-6, ranks[rank]["busy_s"]
        check(math.isclose(busy, said, rel_tol=1e-3), "rank %d: slices of %g s, it says %g s" % (rank, busy, said))
        check({e["args"]["batch"] for e in forward} == batches and len(forward) == len(batches), "rank %d: other batches" % rank)
        check(sum(e["args"]["rows"] for e in forward) == rows, "rank %d: other rows than %d" % (rank, rows))
        for tid in (0, 1):
            line = slices[rank, tid]
            check(all(a["ts"] + a["dur"] <= b["ts"] + 0.002 for a, b in zip(line, line[1:])), "rank %d: slices overlap" % rank)
        heads = {e["args"]["batch"] for e in work if e["name"] == "head"}
        check(heads <= batches and (heads or not ranks[rank]["head"]), "rank %d: heads of batches %s" % (rank, heads))

    # Clocks agree to half of a round trip on one machine, so arrows may point back a little; a slow machine may stretch both.
    starts = {e["id"]: e["ts"] for e in events if e["ph"] == "s"}
    ends = {e["id"]: e["ts"] for e in events if e["ph"] == "f"}
    hops = sum(i.startswith("hop ") for i in starts)
    check(hops == (n * len(batches) if n > 1 else 0) and starts.keys() == ends.keys(), "arrows without an end")
    divided = any(r["head"] for r in ranks[1:])
    check((len(starts) > hops) == divided, "%d arrows of a divided head" % (len(starts) - hops))
    late = [ends[i] - starts[i] for i in starts]
    check(all(-1e5 < x < 1e7 for x in late), "hops take %s us" % late)

    in_flight = [e["args"]["batches"] for e in events if e["ph"] == "C"]
    check(in_flight and in_flight[-1] <= 1 and max(in_flight) <= n + 1, "in flight: %s" % in_flight)


if __name__ == "__main__":
    main()
