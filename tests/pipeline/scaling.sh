#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# bench/scaling makes its files and its numbers fit together: on a small model, and on simulated boards.
#   scaling.sh MODEL
. "$(dirname "$0")/common.sh"
[ $# -eq 1 ] || { sed -n '3,4s/^# \{0,1\}//p' "$0"; exit 2; }
model=$(realpath "$1")

# Files OUT.csv and OUT.md with the expected rows; every share and bound follows from the row's own numbers.
check()
{
    python3 - "$1" "$2" <<'PYTHON'
import csv, math, sys
rows = list(csv.DictReader(open(sys.argv[1] + ".csv", newline="")))
found = " ".join("%s:%s:%s" % (r["test"], r["series"].replace(" ", "-"), r["ranks"]) for r in rows)
expected = "tg4:1:1 tg4:1:2 tg4:3:1 tg4:3:2 tg4:2-a-rank:1 tg4:2-a-rank:2 pp16:1:1 pp16:1:2"
problems = [] if found == expected else ["rows %s, expected %s" % (found, expected)]
for r in rows:
    speed, bound, ranks = float(r["tokens_per_s"]), float(r["bound_tokens_per_s"]), int(r["ranks"])
    good = speed > 0 and bound > 0 and math.isclose(float(r["efficiency"]), speed / bound, rel_tol=0.01)
    good &= len(r["busy"].split()) == ranks and (float(r["hop_us"]) > 0) == (ranks > 1) and sys.argv[2] in r["devices"]
    good &= math.isclose(float(r["ms_per_token"]), 1e3 * int(r["streams"]) / speed, rel_tol=0.01)
    problems += [] if good else ["row %s" % r]
lines = [line for line in open(sys.argv[1] + ".md") if line.startswith("| ")]
problems += [] if len(lines) == len(rows) + 1 else ["%d lines in the table" % len(lines)]
sys.exit("\n".join(problems) or 0)
PYTHON
}

run_scaling()
{
    local name=$1 device=$2
    shift 2
    rm -f "$work"/out.*
    if ! timeout 100 "$root/bench/scaling" --llm "$LLM" --ranks 1,2 --streams 1,3 --streams-per-rank 2 --prompts 16 --gen 4 -r 1 -t 1 \
        -o "$work/out" "$@" >"$work/stdout" 2>"$work/err"; then
        failed "$name: $(cat "$work/err")"
    elif ! check "$work/out" "$device" 2>"$work/why"; then
        failed "$name: $(cat "$work/why")"
    elif command -v gnuplot >/dev/null && ! { grep -q '</svg>' "$work/out.svg" && [ -s "$work/out.png" ]; }; then
        failed "$name: no plots: $(cat "$work/err")"
    else
        passed
    fi
}
run_scaling "a small model" cpu -m "$model"
python3 "$root/bench/make_shape.py" llama-3.2-1b q4_k_m "$work/shape.gguf" >"$work/stdout" || failed "make_shape.py"
run_scaling "simulated boards" sim:orin-nano-8 -m "$work/shape.gguf" -- --device sim:orin-nano-8 --sim-link 1gbe
finish
