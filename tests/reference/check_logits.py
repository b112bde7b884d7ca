"""Compares a program's logits with the plain forward pass. SPDX-License-Identifier: MIT

    python3 tests/reference/check_logits.py --llm ./llm [MODEL.gguf or a name of model.py ...]
    python3 tests/reference/check_logits.py --llm "mpirun -np 2 ./llm" f32 q4_k
    python3 tests/reference/check_logits.py --expect-failure --mutate swap_rope f32     # a wrong reference: every model must FAIL

Without a model, all of model.py. --self takes the pass itself in f32 for the program; it shows how tight the bounds are.

Bounds, relative to the spread (standard deviation) of the logits:
- Files without quantised matrices: the program works in f32 throughout. A dot product of K <= 512 terms in 16 lanes errs by
  about sqrt(K) * 2^-24 = 1e-6 of its spread, some 30 of them in a row by 1e-5: every logit within 1e-4.
- Quantised matrices: the reference rounds activations to int8 as the numeric contract does. A value that falls on the other
  side of a rounding edge in f32 than in f64 moves its sum by 1 / 127 of the largest of 32, and then everything behind it; rows
  before such a value agree to 1e-6. So of some prompt a tenth of the rows must agree within 1e-4 (up to four are tried; an
  error in the arithmetic shows in all), and of every prompt all rows must stay within what int8 itself costs: one rounding is
  uniform, amax / 127 / sqrt(12), 0.5 % of the activations' spread; over about 14 matrices 2 %, with heavy tails up to 4 %: root
  mean square 2 % against the reference with int8, 4 % against the one without. A difference e of logits gives a KL of about
  var(e) / 2; the bound is twice that.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile

import numpy

import blocks
import forward
import model

FLOAT_MAX, CLEAN_ROWS, INT8_RMS, EXACT_RMS = 1e-4, 1e-4, 0.02, 0.04
FLOAT_KL = 1e-8
ATTEMPTS = 4


def run_program(command, path, ids):
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "logits.f32")
        arguments = shlex.split(command) + ["run", "-m", path, "--ids", ",".join(map(str, ids)), "-n", "1", "--temp", "0",
                                            "-ctk", "f32", "-ctv", "f32", "--logits-out", output]
        done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            raise RuntimeError(f"{shlex.join(arguments)}: exit {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}")
        return numpy.fromfile(output, "<f4").astype(numpy.float64)


def mean_kl(reference, found):
    """Mean over rows of KL(reference || found), in nats."""
    a = reference - reference.max(axis=1, keepdims=True)
    b = found - found.max(axis=1, keepdims=True)
    a -= numpy.log(numpy.exp(a).sum(axis=1, keepdims=True))
    b -= numpy.log(numpy.exp(b).sum(axis=1, keepdims=True))
    return float((numpy.exp(a) * (a - b)).sum(axis=1).mean())


def program_logits(path, ids, n_vocab, quantised, options):
    if options.self:
        stand_in = forward.Model(path, forward.Options(dtype=numpy.float32, int8=quantised))
        return stand_in.logits(ids).astype(numpy.float64)
    found = run_program(options.llm, path, ids)
    if found.size != len(ids) * n_vocab:
        raise RuntimeError(f"{path}: {found.size} logits, expected {len(ids)} x {n_vocab}")
    return found.reshape(len(ids), n_vocab)


def check_float(reference, found):
    largest, kl = float(numpy.abs(found - reference).max() / reference.std()), mean_kl(reference, found)
    text = f"largest {largest:.1e} (bound {FLOAT_MAX:.0e})  KL {kl:.1e} ({FLOAT_KL:.0e})"
    return largest <= FLOAT_MAX and kl <= FLOAT_KL, True, text


def check_quantised(reference, rounded, found):
    """Whether the outer bounds hold, whether enough rows are clean, and the numbers."""
    spread = reference.std()
    rows = numpy.sort(numpy.sqrt(((found - rounded) ** 2).mean(axis=1)) / spread)
    clean, rms8 = float(rows[len(rows) // 10]), float(numpy.sqrt((rows ** 2).mean()))
    rms = float(numpy.sqrt(((found - reference) ** 2).mean()) / spread)
    kl, kl_max = mean_kl(reference, found), (EXACT_RMS * spread) ** 2
    text = (f"a tenth of the rows within {clean:.1e} (bound {CLEAN_ROWS:.0e})  rms {rms8:.1e} ({INT8_RMS})  "
            f"without int8 {rms:.1e} ({EXACT_RMS})  KL {kl:.1e} ({kl_max:.1e})")
    return rms8 <= INT8_RMS and rms <= EXACT_RMS and kl <= kl_max, clean <= CLEAN_ROWS, text


def check(name, path, options):
    mutation = forward.MUTATIONS.get(options.mutate, {})
    exact, rounded = forward.Model(path, forward.Options(**mutation)), forward.Model(path, forward.Options(int8=True, **mutation))
    quantised = any(t.type_name in blocks.DECODERS for t in exact.file.tensors.values())
    n_vocab = exact.file.tensors["token_embd.weight"].shape[0]
    n = options.n or (90 if quantised else 600)
    for attempt in range(ATTEMPTS):
        ids = numpy.random.default_rng(options.seed + attempt).integers(3, n_vocab - 1, n).tolist()
        reference, found = exact.logits(ids), program_logits(path, ids, n_vocab, quantised, options)
        if quantised:
            good, clean, text = check_quantised(reference, rounded.logits(ids), found)
        else:
            good, clean, text = check_float(reference, found)
        if clean or not good:
            break
    print(f"{'ok  ' if good and clean else 'FAIL'} {name:12s} spread {reference.std():6.2f}  {text}", flush=True)
    return bool(good and clean)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help="files, or names of model.py")
    parser.add_argument("--llm", default="./llm", help="the program, also with mpirun before it")
    parser.add_argument("--self", action="store_true")
    parser.add_argument("--mutate", choices=forward.MUTATIONS)
    parser.add_argument("--expect-failure", action="store_true", help="exit 0 when every model fails")
    parser.add_argument("-n", type=int, help="positions: 600 (more than a group of 8 pages), 90 for quantised models")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models or model.MODELS:
            path = name
            if name in model.MODELS:
                path = os.path.join(folder, name + ".gguf")
                model.make(name, path)
            results.append(check(os.path.basename(name), path, options))
    as_wanted = not any(results) if options.expect_failure else all(results)
    return 0 if as_wanted else 1


if __name__ == "__main__":
    sys.exit(main())
