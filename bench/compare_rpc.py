"""Speed of llm and of llama.cpp's RPC mode with the same model over the same hosts, interleaved. SPDX-License-Identifier: MIT

Without --hostfile two network namespaces of this machine are the hosts, a core and a thread each (needs root). llama.cpp: a
ggml-rpc-server on every host with -t threads, its client on the first host (it may use all cores here: a favour to it); all layers
on the servers. llm: a rank on every host, started by mpirun.

Inside the timed windows, as each program reports them: start = from the program's start (mpirun included) until one prompt token
has been computed and the process has ended, weights from a warm file cache; prefill = a prompt's forward pass (llama.cpp: the better
of micro-batches of 128 and 512); decode = the tokens after the prompt, all streams together. Busy = processor time of the servers
(or what the ranks measure themselves) over the time of the last decode row. A repetition is one process of each
program for each row, in turn (A B A B ...); medians and (min..max).
"""
import argparse
import csv
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time

from machine import commit, machine
from pretend_hosts import Hosts, Namespaces

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = ("ggml-rpc-server", "llama-bench", "llama-batched-bench")


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", help="GGUF file, on every host under the same path")
    p.add_argument("--peer", help="folder with %s (default: PATH)" % ", ".join(TOOLS))
    p.add_argument("--llm", default=os.path.join(HERE, "..", "llm"))
    p.add_argument("--hostfile", help="the hosts, this one first (default: namespaces)")
    p.add_argument("--network", help="CIDR of the hosts' network, for mpirun")
    p.add_argument("--hosts", type=int, default=2, help="how many namespaces (default 2)")
    p.add_argument("-t", "--threads", type=int, default=1, help="of each server and each rank (default 1)")
    p.add_argument("--port", type=int, default=50052, help="of the servers")
    p.add_argument("--streams", default="1,8,32", help="of the decode rows (default 1,8,32)")
    p.add_argument("--prompt", type=int, default=512, help="tokens of the prefill row")
    p.add_argument("--answer", type=int, default=32, help="tokens of each stream in the decode rows (default 32)")
    p.add_argument("--reps", type=int, default=5)
    p.add_argument("--csv", help="append the rows to this file")
    a = p.parse_args()
    a.streams = [int(x) for x in a.streams.split(",")]
    for tool in TOOLS:
        path = os.path.join(a.peer, tool) if a.peer else shutil.which(tool)
        if not path or not os.access(path, os.X_OK):
            p.error("no %s in %s; bench/README.md says how to build it" % (tool, a.peer or "PATH"))
        setattr(a, tool.replace("-", "_"), os.path.abspath(path))
    a.llm, a.model = os.path.abspath(a.llm), os.path.abspath(a.model)
    return a


def run(command):
    """(stdout, seconds)"""
    begin = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, timeout=3600)
    if done.returncode:
        sys.exit("%s\nfailed with %d: %s" % (" ".join(command), done.returncode, done.stderr[-2000:]))
    return done.stdout, time.monotonic() - begin


# -- llm --

def ours(a, hosts):
    """{row: value} of one repetition."""
    def bench(*options):
        return run(hosts.mpirun([a.llm, "bench", "-m", a.model, "-t", str(a.threads), "-r", "1", "-q", "-o", "json", *options]))
    rows = {"start, s": bench("-p", "1", "-n", "0", "--no-warmup")[1]}
    for r in json.loads(bench("-p", str(a.prompt), "-n", "0")[0]):
        rows["prefill %d, tokens/s" % a.prompt] = r["avg_ts"]
    for r in json.loads(bench("-p", "0", "-n", str(a.answer), "-ns", ",".join(map(str, a.streams)))[0]):
        rows["decode x %d, tokens/s" % r["n_streams"]] = r["avg_ts"]
        busy = statistics.mean(r["rank_busy"])
    rows["busy share, decode x %d" % a.streams[-1]] = busy
    return rows


# -- llama.cpp --

def processor_s(pids):
    total = 0
    for pid in pids:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


class Sampler(threading.Thread):
    """Processor time of some processes over time."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids, self.samples, self.stop = pids, [], threading.Event()

    def run(self):
        while not self.stop.wait(0.02):
            self.samples.append((time.monotonic(), processor_s(self.pids)))

    def share(self, seconds, threads):
        """Of the processes' threads over the last so many seconds in which they worked; None when that is too short."""
        self.stop.set()
        self.join()
        end = next((t for t, s in reversed(self.samples) if s < self.samples[-1][1]), 0)
        window = [x for x in self.samples if end - seconds <= x[0] <= end]
        if len(window) < 2:
            return None
        (t0, s0), (t1, s1) = window[0], window[-1]
        return (s1 - s0) / (t1 - t0) / len(self.pids) / threads


def theirs(a, hosts, servers):
    """{row: value} of one repetition."""
    where = ",".join("%s:%d" % (hosts.address(i), a.port) for i in range(len(hosts)))
    def client(tool, *options):
        return run(hosts.on(0, [tool, "-m", a.model, "--rpc", where, "-ngl", "99", *options], bound=False))
    bench = lambda *options: client(a.llama_bench, "-r", "1", "-o", "json", *options)
    rows = {"start, s": bench("-p", "1", "-n", "0", "--no-warmup")[1]}
    out, _ = bench("-p", str(a.prompt), "-n", "0", "-ub", "128,512")
    rows["prefill %d, tokens/s" % a.prompt] = max(r["avg_ts"] for r in json.loads(out))
    sampler = Sampler([s.pid for s in servers]) if isinstance(hosts, Namespaces) else None
    if sampler:
        sampler.start()
    first = 16
    out, _ = client(a.llama_batched_bench, "-c", str(max(a.streams) * (first + a.answer)), "-npp", str(first), "-ntg", str(a.answer),
                    "-npl", ",".join(map(str, a.streams)), "--output-format", "jsonl")
    for r in (json.loads(line) for line in out.splitlines() if line.startswith("{")):
        rows["decode x %d, tokens/s" % r["pl"]] = r["speed_tg"]
        last_s = r["t_tg"]
    if sampler:
        rows["busy share, decode x %d" % a.streams[-1]] = sampler.share(last_s, a.threads)
    return rows


def start_servers(a, hosts):
    servers = [subprocess.Popen(hosts.on(i, [a.ggml_rpc_server, "-H", hosts.address(i), "-p", str(a.port), "-t", str(a.threads)]),
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
               for i in range(len(hosts))]
    time.sleep(2)
    for i, s in enumerate(servers):
        if s.poll() is not None:
            stop_servers(servers)
            sys.exit("the server on %s ended with %d" % (hosts.address(i), s.returncode))
    return servers


def stop_servers(servers):
    for s in servers:
        s.terminate()
    for s in servers:
        try:
            s.wait(timeout=5)
        except subprocess.TimeoutExpired:
            s.kill()


# -- both --

def measure(a, hosts):
    """(ours, theirs): {row: [value, ...]}"""
    all_ours, all_theirs = {}, {}
    for i in range(a.reps):
        for name, value in ours(a, hosts).items():
            all_ours.setdefault(name, []).append(value)
        servers = start_servers(a, hosts)
        try:
            for name, value in theirs(a, hosts, servers).items():
                all_theirs.setdefault(name, []).append(value)
        finally:
            stop_servers(servers)
        print("repetition %d of %d done" % (i + 1, a.reps), file=sys.stderr, flush=True)
    return all_ours, all_theirs


def spread(values):
    return "%.2f (%.2f..%.2f)" % (statistics.median(values), min(values), max(values))


def report(a, hosts, left, right):
    print("machine  %s\nhosts    %s, %d thread(s) each\nmodel    %s\ncommit   %s\npeer     %s\ncommand  %s\n" %
          (machine(), hosts.where, a.threads, os.path.basename(a.model), commit(), a.llama_bench, " ".join(sys.argv)))
    print("| %-26s | %28s | %28s | %6s |\n|%s|%s|%s|%s|" % ("median of %d (min..max)" % a.reps, "llm", "llama.cpp RPC", "ratio",
                                                         "-" * 28, "-" * 29 + ":", "-" * 29 + ":", "-" * 7 + ":"))
    rows = []
    for name, ours_ in left.items():
        theirs_ = [x for x in right.get(name, []) if x is not None]
        ratio = statistics.median(ours_) / statistics.median(theirs_) if theirs_ else float("nan")
        print("| %-26s | %28s | %28s | %6.2f |" % (name, spread(ours_), spread(theirs_) if theirs_ else "", ratio))
        rows.append([machine(), hosts.where, os.path.basename(a.model), commit(), name, a.threads, a.reps] +
                    ["%.4f" % f(v) if v else "" for v in (ours_, theirs_) for f in (statistics.median, min, max)] + ["%.3f" % ratio])
    if a.csv:
        new = not os.path.exists(a.csv)
        with open(a.csv, "a", newline="") as f:
            w = csv.writer(f)
            if new:
                w.writerow(["machine", "hosts", "model", "commit", "row", "threads", "reps", "llm", "llm_min", "llm_max", "llamacpp",
                            "llamacpp_min", "llamacpp_max", "ratio"])
            w.writerows(rows)


def main():
    a = arguments()
    os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    hosts = Hosts(a.hostfile, a.network, a.threads) if a.hostfile else Namespaces(a.hosts, a.threads)
    try:
        try:
            hosts.open()
        except (OSError, subprocess.CalledProcessError) as e:
            sys.exit("no network namespaces here (they need root and the package iproute2); --hostfile measures on real hosts: %s" % e)
        report(a, hosts, *measure(a, hosts))
    finally:
        hosts.close()


if __name__ == "__main__":
    main()
