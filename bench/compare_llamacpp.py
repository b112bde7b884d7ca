"""Speed of llm and of llama.cpp's llama-bench on the same file, interleaved. SPDX-License-Identifier: MIT

Inside the timed window: the prompt's forward pass up to its first token (prefill), or the tokens after the first (decode), as each
program reports it; loading is outside of both. One repetition is one process of each program, in turn (A B A B ...), so that a
machine whose speed drifts changes both; what is printed is the median over the repetitions and its spread (min .. max).
"""
import argparse
import csv
import json
import os
import random
import shutil
import statistics
import subprocess
import sys

from machine import commit, machine

HERE = os.path.dirname(os.path.abspath(__file__))


def arguments():
    p = argparse.ArgumentParser(description="llm beside llama-bench on the same file")
    p.add_argument("model")
    p.add_argument("--llm", default=os.path.join(HERE, "..", "llm"))
    p.add_argument("--llama-bench", default=shutil.which("llama-bench"), help="default: the one in PATH")
    p.add_argument("--threads", default="1,2")
    p.add_argument("--reps", type=int, default=5)
    p.add_argument("--prompt", type=int, default=512, help="tokens of the prefill row")
    p.add_argument("--answer", type=int, default=64, help="tokens of the decode row")
    p.add_argument("--isa", default="auto")
    p.add_argument("--csv", help="append the rows to this file")
    a = p.parse_args()
    if not a.llama_bench:
        p.error("no llama-bench in PATH; --llama-bench PATH names one (bench/README.md says how to build it)")
    return a


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit("%s\nfailed with %d: %s" % (" ".join(command), done.returncode, done.stderr.strip()))
    return done.stdout


def ours(a, threads, prompt, answer):
    """(prefill tokens/s, decode tokens/s) of one process."""
    ids = random.Random(7)
    command = [a.llm, "-m", a.model, "--ids", ",".join(str(ids.randrange(100, 400)) for _ in range(prompt)), "-n", str(answer), "-c",
               str(prompt + answer), "--temp", "0", "--ignore-eos", "-t", str(threads), "--isa", a.isa, "-q", "--json"]
    t = json.loads(run(command))["timings"]
    return t["prefill_tokens"] / t["prefill_s"], t["decode_tokens"] / t["decode_s"] if t["decode_s"] else 0


def theirs(a, threads, prompt, answer):
    """llama-bench's average of one repetition after its own warm-up."""
    command = [a.llama_bench, "-m", a.model, "-p", str(prompt), "-n", str(answer), "-t", str(threads), "-r", "1", "-o", "json"]
    rows = json.loads(run(command))
    return rows[0]["avg_ts"]


def main():
    a = arguments()
    print("machine  %s\nmodel    %s\ncommit   %s\npeer     %s" % (machine(), os.path.basename(a.model), commit(), a.llama_bench))
    print("\n%-22s %8s %24s %24s %7s" % ("tokens/s", "threads", "llm median (min..max)", "llama.cpp", "ratio"))
    rows = []
    for threads in [int(t) for t in a.threads.split(",")]:
        for name, prompt, answer in (("prefill %d" % a.prompt, a.prompt, 0), ("decode %d" % a.answer, 0, a.answer)):
            left, right = [], []
            for _ in range(a.reps):
                if answer:
                    left.append(ours(a, threads, 1, answer + 1)[1])
                else:
                    left.append(ours(a, threads, prompt, 1)[0])
                right.append(theirs(a, threads, prompt, answer))
            m, o = statistics.median(left), statistics.median(right)
            spread = lambda v, mid: "%8.1f (%.1f..%.1f)" % (mid, min(v), max(v))
            print("%-22s %8d %24s %24s %7.2f" % (name, threads, spread(left, m), spread(right, o), m / o), flush=True)
            rows.append([machine(), os.path.basename(a.model), commit(), name, threads, a.reps, "%.2f" % m, "%.2f" % min(left),
                         "%.2f" % max(left), "%.2f" % o, "%.2f" % min(right), "%.2f" % max(right), "%.3f" % (m / o)])
    if a.csv:
        new = not os.path.exists(a.csv)
        with open(a.csv, "a", newline="") as f:
            w = csv.writer(f)
            if new:
                w.writerow(["machine", "model", "commit", "row", "threads", "reps", "llm", "llm_min", "llm_max", "llamacpp", "llamacpp_min",
                            "llamacpp_max", "ratio"])
            w.writerows(rows)


if __name__ == "__main__":
    main()
