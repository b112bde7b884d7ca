"""Compares the program with values computed by llama.cpp. SPDX-License-Identifier: MIT

    python3 tests/golden/golden.py --llm ./llm [--data ../shared/data]

The data's README says how the values were made. Unquantised files: the same greedy ids and every logit within a bound: F32 2e-3
(two orders of summation in f32); F16 2e-2 and BF16 1e-1, because llama.cpp rounds the activations to the weights' type and this
program does not. A file whose logits are not stored is compared where the table has values: the largest logit and the first
four. Quantised files: the most likely token wherever the margin is clear, 0.5 or more: this program's own margins, as
llama.cpp's are not stored, or with --llama-cpp those of llama-cpp-python. Exit 77 without data.
"""

import argparse
import os
import sys

import numpy

import kl
from program import ProgramError, greedy

F32_BOUND, F16_BOUND, BF16_BOUND = 2e-3, 2e-2, 0.1
CLEAR_MARGIN = 0.5
# Quantised stories260K: both programs round activations to int8, llama.cpp with scales in half precision (and F16 rows to F16).
# Logits of up to 19 with a spread of 7, and int8 costs 2 to 4 % of the spread (check_logits.py).
QUANTISED_BOUND = 0.5


class Table:
    """The rows of one .tsv: per prompt the ids (prompt and greedy), most likely ids and printed logits."""

    def __init__(self, path, n_greedy):
        self.prompts = {}
        with open(path, encoding="utf-8") as f:
            for line in f:
                if not line.startswith("#"):
                    fields = line.split("\t")
                    row = (int(fields[2]), int(fields[3]), [float(x) for x in (fields[4], *fields[6:10])])
                    self.prompts.setdefault(int(fields[0]), []).append(row)
        self.n_greedy = n_greedy

    def prompt(self, rows):
        return [row[0] for row in rows[:len(rows) - self.n_greedy]]

    def greedy(self, rows):
        """What follows the prompt: the most likely id of its last row and of all but the last greedy row."""
        return [row[1] for row in rows[len(rows) - self.n_greedy - 1:-1]]


def difference_from_rows(logits, rows):
    """Against the printed values: largest logit, logits 0 to 3."""
    found = numpy.concatenate([logits.max(axis=1, keepdims=True), logits[:, :4]], axis=1)
    return float(numpy.abs(found - numpy.array([row[2] for row in rows[:len(logits)]])).max())


def first_difference(a, b):
    for i, (x, y) in enumerate(zip(a, b)):
        if x != y:
            return i
    return min(len(a), len(b)) if len(a) != len(b) else -1


def check_exact(options, name, model, table, logits_path, bound):
    """Greedy ids equal and logits within the bound."""
    good, worst, at = True, 0.0, 0
    for number, rows in table.prompts.items():
        ids = table.prompt(rows)
        result, logits = greedy(options.llm, model, ids, table.n_greedy)
        worst = max(worst, difference_from_rows(logits, rows))
        if logits_path:
            stored = numpy.fromfile(logits_path, "<f4").reshape(-1, logits.shape[1])[at:at + len(ids)]
            worst = max(worst, float(numpy.abs(stored - logits).max()))
            at += len(ids)
        expected = table.greedy(rows)
        place = first_difference(result["ids"], expected)
        if place >= 0:
            print(f"     prompt {number}: greedy id {place} differs: found {result['ids'][place:place + 4]}, "
                  f"expected {expected[place:place + 4]}")
            good = False
    good &= worst <= bound
    print(f"{'ok  ' if good else 'FAIL'} {name}: largest difference {worst:.2e} (bound {bound:.0e})", flush=True)
    return good


def check_quantised(options, name, model, table):
    """Most likely ids where llama.cpp's own margin is clear, and values near its own."""
    wrong, rows_seen, worst, divergence, llama = 0, 0, 0.0, 0.0, None
    if options.llama_cpp:
        from llama_logits import Llama
        llama = Llama(model, 256)
    for rows in table.prompts.values():
        ids = [row[0] for row in rows]
        _, logits = greedy(options.llm, model, ids, 1)
        worst = max(worst, difference_from_rows(logits, rows))
        expected = numpy.array([row[1] for row in rows])
        # Without llama.cpp's full logits a row counts if our own margin is clear: a swap across it takes an error of half of it.
        theirs = llama.prompt_logits(ids) if llama else logits
        divergence = max(divergence, kl.compare(theirs, logits).kl)
        clear = kl.margins(theirs) >= CLEAR_MARGIN
        wrong += int((clear & (logits.argmax(axis=1) != expected)).sum())
        rows_seen += int(clear.sum())
    if llama:
        llama.close()
    compared = f", largest mean KL of a prompt {divergence:.1e}" if llama else ""
    good = wrong == 0 and rows_seen > 0 and worst <= QUANTISED_BOUND
    print(f"{'ok  ' if good else 'FAIL'} {name}: {wrong} of {rows_seen} clear rows differ, largest difference {worst:.2e} "
          f"(bound {QUANTISED_BOUND}){compared}", flush=True)
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--llm", default="./llm", help="the program, also with mpirun before it")
    parser.add_argument("--data", default=os.environ.get("LLM_SHARED_DATA", "../shared/data"))
    parser.add_argument("--llama-cpp", action="store_true", help="margins of quantised files from llama-cpp-python")
    options = parser.parse_args()
    folder = os.path.join(options.data, "golden")
    if not os.path.exists(os.path.join(folder, "stories260K.tsv")):
        print(f"skipped: no golden values in {folder}")
        return 77

    def data(*parts):
        return os.path.join(options.data, *parts)

    try:
        good = check_exact(options, "stories260K F32", data("models", "stories260K.gguf"),
                           Table(data("golden", "stories260K.tsv"), 40), data("golden", "stories260K.logits.f32"), F32_BOUND)
        for model in ("llama-dense", "qwen2-dense"):
            good &= check_exact(options, model, data("tiny-models", model + ".gguf"),
                                Table(data("golden", "tiny-models", model + ".tsv"), 16),
                                data("golden", "tiny-models", model + ".logits.f32"), F32_BOUND)
        for kind, bound in (("F16", F16_BOUND), ("BF16", BF16_BOUND)):
            good &= check_exact(options, f"stories260K {kind}", data("golden", "quantised", f"stories260K.{kind}.gguf"),
                                Table(data("golden", f"stories260K.{kind}.tsv"), 40), None, bound)
        for kind in ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"):
            good &= check_quantised(options, f"stories260K {kind}", data("golden", "quantised", f"stories260K.{kind}.gguf"),
                                    Table(data("golden", f"stories260K.{kind}.tsv"), 40))
    except ProgramError as problem:
        print(f"FAIL {problem}")
        return 1
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
