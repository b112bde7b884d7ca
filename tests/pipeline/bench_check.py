"""What `llm bench` wrote in bench.sh. SPDX-License-Identifier: MIT

bench_check.py md|csv|json RANKS FILE
"""
import csv
import json
import math
import re
import statistics
import sys

TESTS = ["%s%s" % (t, d) for d in ("", " @ d70") for t in ("pp40", "tg8", "pp20+tg4")]
TOKENS = {"pp40": 40, "tg8": 8, "pp20+tg4": 24}
REPETITIONS = 3


def check(condition, what):
    if not condition:
        sys.exit(what)


def from_json(path):
    with open(path) as f:
        return json.load(f)


def from_csv(path):
    """Records as -o json has them."""
    with open(path, newline="") as f:
        rows = list(csv.DictReader(f))
    for r in rows:
        check(None not in r and None not in r.values(), "a row has not as many fields as the heading: %s" % r)
        for name in ("samples_s", "samples_ts", "rank_busy", "rank_wait"):
            r[name] = [float(x) for x in r[name].split()]
        for name in ("rank_hosts", "rank_layers"):
            r[name] = r[name].split()
        for name in ("avg_ts", "stddev_ts", "median_ts", "min_ts", "max_ts", "hop_us", "avg_ns"):
            r[name] = float(r[name])
        for name in ("n_ranks", "n_streams"):
            r[name] = int(r[name])
    return rows


def check_records(rows, ranks):
    check([r["test"] for r in rows] == TESTS * 2, "tests are %s" % [r["test"] for r in rows])
    check([r["n_streams"] for r in rows] == [1] * 6 + [3] * 6, "streams are %s" % [r["n_streams"] for r in rows])
    for r in rows:
        name = "%s x %d" % (r["test"], r["n_streams"])
        close = lambda a, b: math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-3)
        s = r["samples_ts"]
        check(len(s) == len(r["samples_s"]) == REPETITIONS, "%s: %d samples" % (name, len(s)))
        for rate, seconds in zip(s, r["samples_s"]):
            check(close(rate * seconds, TOKENS[r["test"].split(" @")[0]] * r["n_streams"]), "%s: %g/s in %g s" % (name, rate, seconds))
        check(close(r["avg_ts"], statistics.mean(s)) and close(r["stddev_ts"], statistics.stdev(s)), "%s: mean %s" % (name, r))
        check(close(r["median_ts"], statistics.median(s)), "%s: median %g of %s" % (name, r["median_ts"], s))
        check(close(r["min_ts"], min(s)) and close(r["max_ts"], max(s)), "%s: range of %s" % (name, s))
        check(r["n_ranks"] == ranks, "%s: %d ranks" % (name, r["n_ranks"]))
        check(len(r["rank_hosts"]) == len(r["rank_busy"]) == len(r["rank_layers"]) == ranks, "%s: ranks %s" % (name, r))
        check(all(0 < b <= 1.001 for b in r["rank_busy"]), "%s: busy %s" % (name, r["rank_busy"]))
        check((r["hop_us"] > 0) == (ranks > 1), "%s: %g us between ranks" % (name, r["hop_us"]))


def check_table(path, ranks):
    with open(path, encoding="utf-8") as f:
        lines = f.read().split("\n")
    table = [line for line in lines if line.startswith("|")]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in table]
    check(cells[0] == ["model", "size", "params", "ranks", "threads", "device", "streams", "test", "t/s"], "heading %s" % cells[0])
    check(len({len(line) for line in table}) == 1, "columns are not straight: %s" % [len(line) for line in table])
    check(all(re.fullmatch("-+:?", c) for c in cells[1]), "second line %s" % cells[1])
    check([c[7] for c in cells[2:]] == TESTS * 2, "tests are %s" % [c[7] for c in cells[2:]])
    for c in cells[2:]:
        check(c[3] == str(ranks) and re.fullmatch(r"[0-9.]+ ± [0-9.]+", c[8]), "row %s" % c)


def main():
    kind, ranks, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if kind == "md":
        check_table(path, ranks)
    else:
        check_records(from_json(path) if kind == "json" else from_csv(path), ranks)


if __name__ == "__main__":
    main()
