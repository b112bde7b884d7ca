#!/usr/bin/env python3
"""Checks and measures the program on a real GPU; writes a report in Markdown. SPDX-License-Identifier: MIT

Called by tests/gpu.sh, which builds first. Each check is a function whose name begins with check_, each measurement one with measure_;
a check returns a line about what was seen, or raises Failed; Skipped says why it could not be run. Speeds are taken with weights
of zero (bench/make_shape.py --zeros): kernels do the same work whatever the numbers are.
"""

import argparse
import array
import datetime
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(root, "bench"))
sys.dont_write_bytecode = True

import make_shape  # noqa: E402


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


class Gpu:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.build = os.path.abspath(options.build)
        self.llm = os.path.join(self.build, "src", "llm")
        self.read_gb_s = None
        self.rows = []  # of the table of speeds

    def run(self, command, limit_s=900, **more):
        environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", **more)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit_s)

    def must(self, command, **more):
        done = self.run(command, **more)
        if done.returncode:
            raise Failed(f"{' '.join(command)}: exit status {done.returncode}: {(done.stderr or done.stdout).strip()[-600:]}")
        return done.stdout

    def answer(self, model, *more, ranks=1, prompt=None):
        """(ids, bytes of the prompt's logits, the whole JSON) of a greedy answer."""
        logits = os.path.join(self.folder, "logits")
        start = ["mpirun", "-q", "--oversubscribe", "-np", str(ranks)] if ranks > 1 else []
        text = prompt or ["--ids", ",".join(str(3 + i * 7 % 90) for i in range(70))]
        out = self.must(start + [self.llm, "-m", model, *text, "-n", "48", "--ignore-eos", "--temp", "0", "-c", "256", "--json", "-q",
                                 "--logits-out", logits, *more])
        with open(logits, "rb") as f:
            return json.loads(out)["ids"], f.read(), json.loads(out)

    def models(self):
        found = list(self.options.model)
        cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "llm")
        shared = os.environ.get("LLM_SHARED_DATA") or os.path.join(root, "..", "shared", "data")
        for pattern in (os.path.join(cache, "*.gguf"), os.path.join(shared, "models", "*.gguf"),
                        os.path.join(shared, "tiny-models", "llama-dense.gguf")):
            found += sorted(glob.glob(pattern))
        if not found:
            raise Skipped("no model: tests/fetch_model.sh fetches one, --model FILE names one")
        return found


def check_devices(gpu):
    """what the program sees"""
    return gpu.must([gpu.llm, "info", "--devices"]).strip().replace("\n", "; ")


def check_kernels(gpu):
    """every operation against the CPU's reference"""
    return gpu.must([os.path.join(gpu.build, "tests", "kernels", "check_kernels"), "--device", "cuda"]).strip().splitlines()[-1]


def same(gpu, what, model, expected, *more, **how):
    ids, logits, whole = gpu.answer(model, *more, **how)
    if ids != expected[0]:
        first = next(i for i, (a, b) in enumerate(zip(ids, expected[0])) if a != b)
        raise Failed(f"{os.path.basename(model)}, {what}: token {first} is {ids[first]}, expected {expected[0][first]}")
    if logits != expected[1]:
        raise Failed(f"{os.path.basename(model)}, {what}: the ids are the same, the prompt's logits are not to the bit")
    return whole


def check_ids(gpu):
    """ids and logits of the GPU are those of the CPU, to the bit"""
    n = 0
    for model in gpu.models():
        for kv in ("f16", "q8_0"):
            cache = ("-ctk", kv, "-ctv", kv)
            expected = gpu.answer(model, "--device", "cpu", *cache)
            for what in ((), ("--no-gpu-graphs",), ("-ub", "7"), ("-ngl", "3")):
                whole = same(gpu, " ".join(("cuda", *cache, *what)), model, expected, "--device", "cuda", *cache, *what)
                if "cuda" not in whole["ranks"][0]["device"]:
                    raise Failed(f"{model}: ran on {whole['ranks'][0]['device']}")
                n += 1
    return f"{n} answers of {len(gpu.models())} models, ids and logits equal"


def check_ranks(gpu):
    """1, 2 and 4 ranks that share the GPU, and ranks on either device"""
    if not shutil.which("mpirun"):
        raise Skipped("no mpirun here")
    n = 0
    for model in gpu.models():
        expected = gpu.answer(model, "--device", "cpu")
        for ranks, more in ((2, ("--device", "cuda")), (4, ("--device", "cuda")), (2, ("--device", "cpu,cuda")), (2, ("-ngl", "3"))):
            try:
                same(gpu, f"{ranks} ranks {' '.join(more)}", model, expected, *more, ranks=ranks)
            except Failed as failure:
                if "more ranks than" in str(failure) or "layers" in str(failure) and "ranks" in str(failure):
                    continue  # a model with too few layers
                raise
            n += 1
    return f"{n} answers equal"


def check_fast(gpu):
    """--gpu-math fast: logits near the exact ones"""
    far = 0
    for model in gpu.models():
        prompt = ["--ids", ",".join(str(3 + i * 7 % 90) for i in range(300))]
        both = []
        for math in ("exact", "fast"):
            _, logits, _ = gpu.answer(model, "--device", "cuda", "-ub", "300", "-c", "384", "--gpu-math", math, prompt=prompt)
            both.append(array.array("f", logits))
        part = (sum((a - b) ** 2 for a, b in zip(*both)) / sum(a * a for a in both[0])) ** 0.5
        if not part < 0.1:
            raise Failed(f"{os.path.basename(model)}: logits are {part:.3g} of their size apart")
        far = max(far, part)
    return f"{len(gpu.models())} models, at most {far:.2g} of their size apart"


def sanitizer(gpu, tool):
    program = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not os.path.exists(program):
        raise Skipped("no compute-sanitizer here")
    check = os.path.join(gpu.build, "tests", "kernels", "check_kernels")
    gpu.must([program, "--tool", tool, "--error-exitcode", "9", check, "--device", "cuda"], limit_s=3000)
    model = gpu.models()[-1]
    gpu.must([program, "--tool", tool, "--error-exitcode", "9", gpu.llm, "-m", model, "--ids", "3,4,5,6,7", "-n", "6", "--temp", "0",
              "-q", "--device", "cuda"], limit_s=3000)
    return "no errors in check_kernels and in a run of the program"


def check_memcheck(gpu):
    """compute-sanitizer memcheck"""
    return sanitizer(gpu, "memcheck")


def check_racecheck(gpu):
    """compute-sanitizer racecheck"""
    return sanitizer(gpu, "racecheck")


def check_graphs(gpu):
    """one graph launch for each decode step"""
    _, _, whole = gpu.answer(gpu.models()[0], "--device", "cuda")
    g = whole["ranks"][0].get("gpu")
    if not g:
        raise Failed("the program says nothing about its GPU")
    steps = whole["timings"]["decode_tokens"]
    if g["replays"] < 2 * steps - 12:  # each kind of step is seen and recorded before it is replayed
        raise Failed(f"{g['replays']} replays for {steps} decode steps of layers and head")
    return f"{steps} decode steps of layers and head: {g['short_steps']} steps, {g['replays']} of them one graph launch"


def measure_read(gpu):
    """how fast the GPU reads its memory"""
    found = json.loads(gpu.must([os.path.join(gpu.build, "bench", "bench_gpu_read")]))
    gpu.read_gb_s = found["read_gb_s"]
    return f"{found['gpu']} sm_{found['sm']}: {found['read_gb_s']} GB/s ({found['least']} to {found['most']})"


def peer(gpu, path):
    """llama-bench's tokens/s: (prefill, decode), or None."""
    if not gpu.options.peer:
        return None
    out = json.loads(gpu.must([gpu.options.peer, "-m", path, "-ngl", "99", "-p", "512", "-n", "64", "-r", "5", "-o", "json"]))
    rates = {(t["n_prompt"] > 0): t["avg_ts"] for t in out}
    return rates[True], rates[False]


def measure_shapes(gpu):
    """decode and prefill of models of 8B shape"""
    for kind in gpu.options.shapes.split():
        path = os.path.join(gpu.folder, f"8b-{kind}.gguf")
        size = make_shape.write(gpu.options.shape, kind, path, zeros=True)
        bench = json.loads(gpu.must([gpu.llm, "bench", "-m", path, "-p", "512,2048", "-n", "64", "-ns", "1,8", "-r", "5", "-o", "json", "-q",
                                     "--device", "cuda"]))
        rate = {(t["n_prompt"], t["n_gen"], t["n_streams"]): t["median_ts"] for t in bench}
        whole = json.loads(gpu.must([gpu.llm, "-m", path, "--ids", "1,2,3", "-n", "8", "-s", "1", "--temp", "0", "--json", "-q", "--device",
                                     "cuda"]))
        r, t = whole["ranks"][0], whole["timings"]
        one = rate[(0, 64, 1)]
        fast = json.loads(gpu.must([gpu.llm, "bench", "-m", path, "-p", "512,2048", "-n", "0", "-r", "5", "-o", "json", "-q", "--device", "cuda",
                                    "--gpu-math", "fast"]))
        fast = {t["n_prompt"]: t["median_ts"] for t in fast if t["n_gen"] == 0}
        row = {"type": kind, "decode tokens/s": f"{one:.1f}", "GB/s": f"{one * r['weight_bytes'] / 1e9:.0f}",
               "of reading": f"{one * r['weight_bytes'] / 1e9 / gpu.read_gb_s:.2f}" if gpu.read_gb_s else "",
               "8 streams": f"{rate.get((0, 64, 8), 0):.0f}", "prefill 512": f"{rate.get((512, 0, 1), 0):.0f}",
               "prefill 2048": f"{rate.get((2048, 0, 1), 0):.0f}",
               "fast prefill": f"{fast.get(512, 0):.0f}, {fast.get(2048, 0):.0f}", "load GB/s": f"{size / t['load_s'] / 1e9:.2f}",
               "memory / (weights + KV)": f"{r['gpu']['bytes'] / (r['weight_bytes'] + r['kv_bytes']):.3f}"}
        other = peer(gpu, path)
        if other:
            row["llama.cpp decode"] = f"{other[1]:.1f} ({one / other[1]:.2f} x)"
            row["llama.cpp prefill 512"] = f"{other[0]:.0f} ({rate[(512, 0, 1)] / other[0]:.2f} x)"
        gpu.rows.append(row)
        os.unlink(path)
    return f"{len(gpu.rows)} types, in the table below"


def report(gpu, lines):
    text = ["# GPU report, " + datetime.date.today().isoformat(), ""]
    commit = subprocess.run(["git", "-C", root, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    text += [f"Commit {commit or 'unknown'}, `tests/gpu.sh {' '.join(sys.argv[1:])}`.", "", "| | | s | |", "|---|---|---|---|"]
    text += [f"| {what} | {state} | {seconds:.0f} | {said} |" for what, state, seconds, said in lines]
    if gpu.rows:
        head = list(gpu.rows[-1])
        text += ["", f"{gpu.options.shape}, weights of zero, medians of `llm bench`:", "", "| " + " | ".join(head) + " |",
                 "|---" * len(head) + "|"]
        text += ["| " + " | ".join(row.get(h, "") for h in head) + " |" for row in gpu.rows]
    return "\n".join(text) + "\n"


def main():
    parser = argparse.ArgumentParser(prog="gpu.sh", description="Checks and measures on a real GPU.")
    parser.add_argument("--build", default="build-gpu")
    parser.add_argument("--peer", help="a llama-bench built with CUDA")
    parser.add_argument("--out", help="file for the report (default: standard output only)")
    parser.add_argument("--shape", default="llama-3.1-8b")
    parser.add_argument("--shapes", default="q4_k_m q8_0 q4_0", help="types that are timed")
    parser.add_argument("--model", action="append", default=[], help="a model to check with, besides those that are found")
    parser.add_argument("--only", help="names of checks and measurements, without check_ and measure_, with commas between")
    options = parser.parse_args()
    steps = [(name, f) for name, f in globals().items() if name.startswith(("check_", "measure_"))]
    wanted = options.only.split(",") if options.only else None
    lines, failed = [], False
    with tempfile.TemporaryDirectory() as folder:
        gpu = Gpu(options, folder)
        for name, step in steps:
            if wanted and name.split("_", 1)[1] not in wanted:
                continue
            begin = time.monotonic()
            try:
                state, said = "ok", step(gpu)
            except Skipped as skipped:
                state, said = "skipped", str(skipped)
            except (Failed, OSError, ValueError, KeyError, StopIteration, subprocess.TimeoutExpired) as failure:
                state, said, failed = "FAILED", f"{type(failure).__name__}: {failure}", True
            lines.append((step.__doc__.strip(), state, time.monotonic() - begin, said.replace("\n", " ").replace("|", "/")))
            print(f"{state:8} {lines[-1][2]:6.1f} s  {lines[-1][0]}: {lines[-1][3]}", file=sys.stderr, flush=True)
        text = report(gpu, lines)
    print(text, end="")
    if options.out:
        with open(options.out, "w") as f:
            f.write(text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
