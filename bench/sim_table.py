#!/usr/bin/env python3
"""Simulated clusters against the theory of their boards: a table, one function a row. SPDX-License-Identifier: MIT

    sim_table.py [--llm PROGRAM] [--repeat N] [ROW ...]      rows: names of the functions below that begin with row_, without it

Every figure is simulated: real ranks, scheduler and messages on this machine, times of the boards in kernels/sim/boards. What is
measured is what the program adds to its boards: waking up, handing over, polling, scheduling. Inside the timed window: prefill from
the first batch to the first token, decode from the first token to the last. The theory is computed here from the profile and the
model's shape, apart from the program. Busy machines disturb the clock of ranks that sleep: where it is allowed, ranks run with
real-time priority (chrt), and the head of the table says so.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here)
sys.dont_write_bytecode = True

import make_shape  # noqa: E402

boards_folder = os.path.join(here, "..", "kernels", "sim")


def profile(kind, name):
    values = {}
    with open(os.path.join(boards_folder, f"{kind}s", f"{name}.{kind}")) as f:
        for line in f:
            line = line.split("#")[0]
            if "=" in line:
                key, value = line.split("=")
                values[key.strip()] = float(value)
    return values


class Board:
    def __init__(self, name):
        p = profile("board", name)
        self.name = name
        self.rate = p["bandwidth_bytes_per_s"] * p["bandwidth_share"]
        self.ops = p["int8_ops_per_s"] * p["int8_share"]
        self.step = p["step_us"] * 1e-6
        self.launch = p["launch_us"] * 1e-6

    def operation(self, size, ops):
        return self.launch + max(size / self.rate, ops / self.ops)


class Link:
    """None: messages cost nothing."""

    def __init__(self, name):
        p = profile("link", name) if name else {"latency_us": 0, "bytes_per_s": float("inf")}
        self.latency, self.rate = p["latency_us"] * 1e-6, p["bytes_per_s"]

    def message(self, size):
        return self.latency + size / self.rate


class Model:
    """What a step costs on a board: each operation reads weights and activations, and computes."""

    def __init__(self, shape, kind):
        self.name, self.kind = shape, kind
        self.shape = s = make_shape.SHAPES[shape]
        self.width = s["dim"] // s["heads"]
        self.matrices = {}
        for name, dims, (_, block, block_bytes) in make_shape.tensors(s, kind):
            if len(dims) == 2:
                self.matrices[name] = (dims[0] * dims[1] // block * block_bytes, 2 * dims[0] * dims[1] * (2 if block == 1 else 1))
        self.head = self.matrices["token_embd.weight" if s["tied"] else "output.weight"]

    def product(self, board, layer, names, rows, columns, outputs):
        pairs = [self.matrices[f"blk.{layer}.{n}.weight"] for n in names]
        return board.operation(sum(p[0] for p in pairs) + rows * (columns + 4 * outputs), rows * sum(p[1] for p in pairs))

    def layers_s(self, board, rows, first, streams=False):
        """All layers, for `rows` positions of one sequence from `first` on, or for position `first` of `rows` streams."""
        s = self.shape
        dim, ffn, kv = s["dim"], s["ffn"], s["kv_heads"] * self.width
        visited = rows * (first + 1) if streams else rows * first + rows * (rows + 1) / 2
        cached = visited if streams else first + rows
        total = 0
        for layer in range(s["layers"]):
            total += 2 * board.operation(rows * dim * 5, 0)  # norms: floats in, int8 out
            total += self.product(board, layer, ("attn_q", "attn_k", "attn_v"), rows, dim, dim + 2 * kv)
            total += board.operation(rows * (8 * dim + 12 * kv), 0)  # rope, and keys and values as halves
            total += board.operation(4 * kv * cached + rows * dim * 8, 8 * visited * dim)
            total += self.product(board, layer, ("attn_output",), rows, dim, dim)
            total += self.product(board, layer, ("ffn_gate", "ffn_up"), rows, dim, 2 * ffn)
            total += board.operation(rows * ffn * 9, 0)
            total += self.product(board, layer, ("ffn_down",), rows, ffn, dim)
        return total

    def head_s(self, board, share=1.0, rows=1):
        """A step with this share of the head."""
        size = self.head[0] * share + rows * (5 * self.shape["dim"] + 8 * self.shape["vocab"] * share)
        return board.step + board.launch + board.operation(size, rows * self.head[1] * share)

    def hidden_bytes(self, rows):
        return rows * (4 * self.shape["dim"] + 16) + 128

    def packed_bytes(self, rows):
        """Rows on their way to a quantised head: int8, and a float for each 32."""
        return rows * (9 * self.shape["dim"] // 8 + 16) + 128

    def token_s(self, board, position, ranks=1, link=None, divided=False):
        """One token of one stream: all stages, the messages between them, the head."""
        seconds = self.layers_s(board, 1, position) + ranks * (board.step + 2 * self.hidden_bytes(1) / board.rate)
        if ranks > 1:
            seconds += (ranks - 1) * link.message(self.hidden_bytes(1)) + link.message(self.packed_bytes(1))
        if divided:
            return seconds + self.head_s(board, 1 / ranks) + link.message(1000)
        return seconds + self.head_s(board)

    def prefill_s(self, board, n, chunk, ranks, link):
        """Equal stages: each chunk passes them in turn, behind the one before it in every stage and on every wire."""
        stage_free, wire_free = [0.0] * ranks, [0.0] * ranks
        for first in range(0, n, chunk):
            rows = min(chunk, n - first)
            stage = self.layers_s(board, rows, first) / ranks + board.step + 2 * self.hidden_bytes(rows) / board.rate
            wire, at = link.message(self.hidden_bytes(rows)), 0.0
            for rank in range(ranks):
                if rank > 0:
                    at = wire_free[rank] = max(at, wire_free[rank]) + wire
                at = stage_free[rank] = max(at, stage_free[rank]) + stage
        return at + self.head_s(board, 1 / ranks)

    def best_prefill(self, board, n, ranks, link):
        """(seconds, rows) with the best number of equal chunks."""
        chunks = {-(-n // parts) for parts in range(max(1, n // 512), n // 16 + 1)}
        return min((self.prefill_s(board, n, c, ranks, link), c) for c in chunks)


    def best_round(self, boards, link, rows, position, groups):
        """(seconds, layers by rank) of a round of `groups` groups with the best contiguous split and the best division of the
        head: as long as the most loaded rank computes for all groups, or a group needs round the ring."""
        n, layers, ranks = self.shape["layers"], [self.layers_s(b, rows, position, True) for b in boards], len(boards)
        once = [b.step + 2 * self.hidden_bytes(rows) / b.rate for b in boards]
        head = [(self.head_s(b, 0, rows), self.head_s(b, 1, rows) - self.head_s(b, 0, rows)) for b in boards]
        best = (float("inf"), None)
        for cuts in itertools.combinations(range(1, n), ranks - 1):
            counts = [b - a for a, b in zip((0,) + cuts, cuts + (n,))]
            stages = [o + s * k / n for o, s, k in zip(once, layers, counts)]
            if groups * max(stages) >= best[0]:
                continue
            low, high = max(stages), max(stages) + max(sum(h) for h in head)
            for _ in range(30):  # the least load with which all shares of the head together are a whole one
                load = (low + high) / 2
                share = sum(max(0.0, load - s - h[0]) / h[1] for s, h in zip(stages, head))
                low, high = (low, load) if share >= 1 else (load, high)
            way = sum(stages) + max(high - s for s in stages) + (ranks - 1) * link.message(self.hidden_bytes(rows))
            way += 2 * link.message(self.packed_bytes(rows))
            best = min(best, (max(groups * high, way), counts))
        return best

    def best_streams(self, boards, link, n_streams, position):
        """(tokens/s, layers by rank, groups) of the best split and number of groups."""
        found = []
        for groups in range(len(boards), 2 * len(boards) + 1):
            seconds, counts = self.best_round(boards, link, -(-n_streams // groups), position, groups)
            found.append((n_streams / seconds, counts, groups))
        return max(found)


class Runs:
    def __init__(self, program, repeat, folder):
        self.program, self.repeat, self.folder = os.path.abspath(program), repeat, folder
        self.real_time = subprocess.run(["chrt", "-f", "10", "true"], stderr=subprocess.DEVNULL).returncode == 0

    def model_file(self, model):
        path = os.path.join(self.folder, f"{model.name}-{model.kind}.gguf")
        if not os.path.exists(path):
            make_shape.write(model.name, model.kind, path)
        return path

    def command(self, ranks):
        priority = ["chrt", "-f", "10"] if self.real_time else []
        start = ["mpirun", "-q", "--oversubscribe", "--bind-to", "none", "-np", str(ranks)] if ranks > 1 else []
        return start + priority + [self.program]

    def start(self, ranks, link, args):
        """The program's output; it must succeed."""
        if ranks > 1 and link:
            args = args + ["--sim-link", link]
        environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        done = subprocess.run(self.command(ranks) + args, env=environment, capture_output=True, text=True, timeout=600)
        if done.returncode:
            sys.exit(done.stderr.strip() or f"the program ended with {done.returncode}")
        return done.stdout

    def run(self, model, ranks, device, link, n_prompt, n_answer, *more):
        """Medians over the repeated runs: (prefill_s, seconds a token, hop_s)."""
        ids = ",".join(str(1 + i % 1000) for i in range(n_prompt))
        args = ["run", "-m", self.model_file(model), "--ids", ids, "-n", str(n_answer), "-c", str(n_prompt + n_answer), "-s", "1",
                "--json", "-q", "--device", device, *more]
        results = []
        for _ in range(self.repeat):
            t = json.loads(self.start(ranks, link, args))["timings"]
            results.append((t["prefill_s"], t["decode_s"] / max(t["decode_tokens"], 1), t["hop_s"]))
        return tuple(statistics.median(r[i] for r in results) for i in range(3))

    def streams(self, model, ranks, device, link, n_streams, n_answer, *more):
        """One run of llm bench: (tokens/s of all streams together, busy share by rank)."""
        args = ["bench", "-m", self.model_file(model), "-p", "0", "-n", str(n_answer), "-ns", str(n_streams), "-r",
                str(self.repeat), "-o", "json", "-q", "--device", device, *more]
        test = json.loads(self.start(ranks, link, args))[0]
        return test["median_ts"], test["rank_busy"]

    def trace(self, model, ranks, device, link, requests, n_ctx, *more):
        """Events of a run of llm batch on these requests."""
        paths = [os.path.join(self.folder, name) for name in ("requests.jsonl", "results.jsonl", "trace.json")]
        with open(paths[0], "w") as f:
            f.writelines(json.dumps(r) + "\n" for r in requests)
        args = ["batch", "-m", self.model_file(model), "-i", paths[0], "-o", paths[1], "--trace", paths[2], "-c", str(n_ctx), "-q",
                "-np", "16", "-s", "1", "--device", device, *more]
        self.start(ranks, link, args)
        with open(paths[2]) as f:
            return json.load(f)["traceEvents"]


def line(what, measured, theory, share, goal):
    print(f"{what:<58} {measured:>14} {theory:>14} {share:>9} {goal:>8}", flush=True)


def decode_rows(runs, shape, board_name, link, goal, splits=("off", "on"), ranks=4):
    model, board = Model(shape, "q4_k_m"), Board(board_name)
    _, one_s, _ = runs.run(model, 1, f"sim:{board_name}", None, 4, 40)
    one_theory_s = model.token_s(board, 24)
    print(f"{shape} q4_k_m on {board_name}, one stream; share = of one such board")
    line("  1 rank", f"{1 / one_s:.2f} tok/s", f"{1 / one_theory_s:.2f}", f"{one_theory_s / one_s:.3f}", "")
    for split in splits:
        many_s, hop_s = runs.run(model, ranks, f"sim:{board_name}", link, 4, 40, "--split-head", split)[1:]
        theory_s = model.token_s(board, 24, ranks, Link(link), split == "on")
        head = "divided head" if split == "on" else "head on rank 0"
        line(f"  {ranks} ranks, {link}, {head} (a hop takes {hop_s * 1e6:.0f} us)", f"{1 / many_s:.2f} tok/s",
             f"{1 / theory_s:.2f}", f"{one_s / many_s:.3f}", goal)


def row_decode_nx(runs):
    decode_rows(runs, "llama-3.1-8b", "orin-nx-16", "1gbe", ">=0.98")


def row_decode_agx(runs):
    decode_rows(runs, "llama-3.1-8b", "agx-orin-64", "1gbe", ">=0.965")


def row_decode_small(runs):
    decode_rows(runs, "llama-3.2-1b", "orin-nx-16", "1gbe", ">=1.10", splits=("on",))
    decode_rows(runs, "llama-3.2-1b", "agx-orin-64", "10gbe", ">=1.10", splits=("on",))


def prefill_rows(runs, board_name, link, n, ranks=4):
    model, board = Model("llama-3.1-8b", "q4_k_m"), Board(board_name)
    alone_s = model.best_prefill(board, n, 1, Link(None))[0]
    best_s, chunk = model.best_prefill(board, n, ranks, Link(link))
    free_s = model.best_prefill(board, n, ranks, Link(None))[0]
    print(f"{model.name} {model.kind} on {board_name}, {link}, prompt of {n}, {ranks} ranks, divided head; share = of the optimum:")
    print(f"  chunks of {chunk}, {alone_s / best_s:.2f} times one board ({alone_s / free_s:.2f} were the network infinitely fast)")
    for more in ((), ("-ub", str(chunk))):
        s = runs.run(model, ranks, f"sim:{board_name}", link, n, 1, "--split-head", "on", *more)[0]
        line(f"  {' '.join(more) or 'default chunk'}", f"{n / s:.0f} tok/s", f"{n / best_s:.0f}", f"{best_s / s:.3f}", "")


def row_prefill_nx(runs):
    prefill_rows(runs, "orin-nx-16", "1gbe", 2048)
    prefill_rows(runs, "orin-nx-16", "1gbe", 8192)


def row_prefill_agx(runs):
    prefill_rows(runs, "agx-orin-64", "10gbe", 2048)
    prefill_rows(runs, "agx-orin-64", "10gbe", 8192)


def streams_rows(runs, device, link, ranks, title, goal, *variants):
    model = Model("llama-3.1-8b", "q4_k_m")
    print(f"llama-3.1-8b q4_k_m on {title}, {link}, 32 streams; share = busy, of the least busy and the busiest rank")
    for more in variants:
        rate, busy = runs.streams(model, ranks, device, link, 32, 64, *more)
        line(f"  {ranks} ranks, {' '.join(more)}", f"{rate:.0f} tok/s", "", f"{min(busy):.2f}-{max(busy):.2f}", goal)


def row_streams(runs):
    for board, link in (("orin-nano-8", "1gbe"), ("orin-nx-16", "1gbe"), ("agx-orin-64", "10gbe")):
        for ranks, goal in ((4, ">=0.95"), (8, ">=0.92")):
            streams_rows(runs, f"sim:{board}", link, ranks, board, goal, ("--split-head", "on"))


def row_uneven(runs):
    """Unlike boards, the split that the program finds: share of the best contiguous split's bound."""
    boards = ("agx-orin-64", "agx-orin-32", "orin-nx-16", "orin-nano-8")
    model, link, n_streams = Model("llama-3.1-8b", "q4_k_m"), "1gbe", 32
    print(f"{model.name} {model.kind} on {'+'.join(boards)}, {link}, {n_streams} streams; share = of the best split's bound")
    rate, busy = runs.streams(model, 4, ",".join(f"sim:{b}" for b in boards), link, n_streams, 64)
    bound, counts, groups = model.best_streams([Board(b) for b in boards], Link(link), n_streams, 32)
    line(f"  the program's split (best: {' '.join(map(str, counts))} layers, {groups} groups)", f"{rate:.0f} tok/s", f"{bound:.0f}", f"{rate / bound:.3f}", ">=0.95")
    print(f"  busy by rank {' '.join(f'{b:.2f}' for b in busy)}")


def row_prompt_enters(runs):
    """A long prompt among 8 running streams: the time between two answers of the same group, with chunks in flight and after."""
    model, ranks = Model("llama-3.1-8b", "q4_k_m"), 4
    requests = [{"ids": [1 + i, 5, 6], "max_tokens": 150} for i in range(8)]
    requests.append({"ids": [1 + i % 900 for i in range(4096)], "max_tokens": 2})
    print("llama-3.1-8b q4_k_m on agx-orin-64, 10gbe, 4 ranks: 8 streams, a prompt of 4096 enters; gaps between a stream's tokens")
    events = runs.trace(model, ranks, "sim:agx-orin-64", "10gbe", requests, 4352, "--split-head", "off")
    rows = {e["args"]["batch"]: e["args"]["rows"] for e in events if e["name"] == "forward" and e["pid"] == 0}
    heads = sorted((e["ts"] + e["dur"], e["args"]["batch"]) for e in events if e["name"] == "head" and e["pid"] == 0)
    heads = [(at, batch) for at, batch in heads if rows[batch] > 0]
    gaps = {True: [], False: []}
    for (begin, _), (end, batch) in zip(heads[ranks:], heads[2 * ranks:]):  # every stream has a row in one batch of `ranks`
        gaps[rows[batch] > 8].append((end - begin) / 1e3)
    alone = statistics.median(gaps[False])
    for name, found in (("while the prompt is computed", gaps[True]), ("without it", gaps[False])):
        line(f"  {name}: median, 99th of 100", f"{statistics.median(found):.1f} ms", f"{sorted(found)[len(found) * 99 // 100]:.1f} ms",
             f"{statistics.median(found) / alone:.2f}", "<=2" if found is gaps[True] else "")


def main():
    rows = {name[4:]: f for name, f in globals().items() if name.startswith("row_")}
    parser = argparse.ArgumentParser(description="Simulated clusters against the theory of their boards.")
    parser.add_argument("--llm", default=os.path.join(here, "..", "llm"), help="the program (default: ./llm of the source folder)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of which the median is shown (default 3)")
    parser.add_argument("rows", nargs="*", help="default: all of " + " ".join(rows))
    options = parser.parse_args()
    unknown = [name for name in options.rows if name not in rows]
    if unknown:
        sys.exit(f"unknown row {unknown[0]}; known: {' '.join(rows)}")
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(options.llm, options.repeat, folder)
        print(f"simulated, median of {options.repeat}, {'with' if runs.real_time else 'WITHOUT'} real-time priority")
        line("", "measured", "theory", "share", "goal")
        for name in options.rows or rows:
            rows[name](runs)


if __name__ == "__main__":
    main()
