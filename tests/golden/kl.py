"""Compares two files of logits (little-endian f32 [n, n_vocab]). SPDX-License-Identifier: MIT

    python3 tests/golden/kl.py --vocab N REFERENCE.f32 FOUND.f32 [--kl 1e-3] [--top1 0.99] [--difference 2e-3] [--margin 0.5]

Prints the mean KL(reference || found) in nats, how often the most likely token agrees, the largest difference, and in how many
rows it disagrees although the reference's two best logits are at least MARGIN apart. Exit 1 when a given bound is broken or
there is such a row.
"""

import argparse
import sys
from dataclasses import dataclass

import numpy


@dataclass
class Comparison:
    rows: int
    kl: float            # mean, nats
    top1: float          # share of rows with the same most likely token
    difference: float    # largest
    clear: int           # rows whose two best reference logits are at least the margin apart
    clear_wrong: int     # of these, with another most likely token

    def __str__(self):
        return (f"{self.rows} rows  KL {self.kl:.3e}  top-1 {100 * self.top1:.2f} %  largest difference {self.difference:.3e}  "
                f"{self.clear_wrong} of {self.clear} clear rows differ")


def log_softmax(logits):
    x = logits.astype(numpy.float64)
    x -= x.max(axis=1, keepdims=True)
    return x - numpy.log(numpy.exp(x).sum(axis=1, keepdims=True))


def margins(logits):
    best = numpy.partition(logits, -2, axis=1)[:, -2:]
    return best[:, 1] - best[:, 0]


def compare(reference, found, margin=0.5):
    if reference.shape != found.shape:
        raise ValueError(f"{found.shape} logits, the reference has {reference.shape}")
    kl = 0.0
    for begin in range(0, len(reference), 256):  # large vocabularies in f64 need bounded memory
        a, b = log_softmax(reference[begin:begin + 256]), log_softmax(found[begin:begin + 256])
        kl += float((numpy.exp(a) * (a - b)).sum())
    same = reference.argmax(axis=1) == found.argmax(axis=1)
    clear = margins(reference) >= margin
    return Comparison(len(reference), kl / len(reference), float(same.mean()), float(numpy.abs(reference - found).max()),
                      int(clear.sum()), int((clear & ~same).sum()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reference")
    parser.add_argument("found")
    parser.add_argument("--vocab", type=int, required=True)
    parser.add_argument("--margin", type=float, default=0.5)
    parser.add_argument("--kl", type=float)
    parser.add_argument("--top1", type=float)
    parser.add_argument("--difference", type=float)
    options = parser.parse_args()
    reference, found = (numpy.fromfile(path, "<f4").reshape(-1, options.vocab) for path in (options.reference, options.found))
    result = compare(reference, found, options.margin)
    print(result)
    bad = (result.clear_wrong > 0 or (options.kl is not None and result.kl > options.kl)
           or (options.top1 is not None and result.top1 < options.top1)
           or (options.difference is not None and result.difference > options.difference))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
