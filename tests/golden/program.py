"""Runs the program on token ids. SPDX-License-Identifier: MIT"""

import json
import os
import shlex
import subprocess
import tempfile

import numpy

EXACT_KV = ["-ctk", "f32", "-ctv", "f32"]


class ProgramError(RuntimeError):
    pass


def run_json(command, arguments):
    """`command run arguments --json`: the object on stdout."""
    line = shlex.split(command) + ["run", *arguments, "--json"]
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise ProgramError(f"{shlex.join(line)}: exit {done.returncode}: {done.stderr.decode(errors='replace')[-1500:]}")
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError as problem:
        raise ProgramError(f"{shlex.join(line)}: {problem}: {done.stdout[:300]!r}") from problem


def greedy(command, model, ids, n, kv=EXACT_KV):
    """What --json says of n greedy ids after the prompt, end-of-text passed over, and the logits of all prompt positions."""
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "logits.f32")
        result = run_json(command, ["-m", model, "--ids", ",".join(map(str, ids)), "-n", str(n), "--temp", "0",
                                    "--ignore-eos", "--logits-out", output, *kv])
        logits = numpy.fromfile(output, "<f4").reshape(len(ids), -1)
    if result["prompt_ids"] != list(ids):
        raise ProgramError(f"prompt_ids {result['prompt_ids']}, given {list(ids)}")
    return result, logits
