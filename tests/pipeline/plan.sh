#!/usr/bin/env bash
# llm plan on several ranks: the split, its memory, the cache of measured speeds, boards. SPDX-License-Identifier: MIT
#
#   tests/pipeline/plan.sh MODEL.gguf [MODEL.gguf ...]
# shellcheck source=tests/pipeline/common.sh
. "$(dirname "$0")/common.sh"
[ $# -ge 1 ] || skip "usage: plan.sh MODEL.gguf ..."
python=$(command -v python3) || skip "no python3"

# expect LABEL EXPRESSION FILE: a Python expression over the plan `p`, its ranks `r`, their totals `total`.
expect()
{
    if "$python" - "$2" "$3" <<'PYTHON'
import json, sys
p = json.load(open(sys.argv[2]))
r = p["ranks"]
total = [x["weight_bytes"] + x["kv_bytes"] + x["buffer_bytes"] for x in r]
sys.exit(0 if eval(sys.argv[1]) else 1)
PYTHON
    then
        passed
    else
        failed "$1: not true: $2: $(head -c 2000 "$3") $(head -n 3 "$work/err")"
    fi
}

# refused LABEL PATTERN COMMAND...: exit status 2 and one line that matches.
refused()
{
    local label=$1 pattern=$2
    shift 2
    "$@" >"$work/out" 2>"$work/err"
    local status=$?
    if [ $status = 2 ] && [ "$(wc -l <"$work/err")" = 1 ] && grep -q -E -- "$pattern" "$work/err"; then
        passed
    else
        failed "$label: exit status $status, stderr: $(head -n 3 "$work/err")"
    fi
}

contiguous="all(a[k][1] == b[k][0] for k in ('layers', 'vocab') for a, b in zip(r, r[1:])) and r[0]['layers'][0] == 0"
for model in "$@"; do
    name=$(basename "$model")
    for np in 1 2 3 4; do
        run_ranks $np "$LLM" plan -m "$model" -t 1 --json >"$work/$np.json" 2>"$work/err"
        expect "$name, np $np: the split" "len(r) == $np and $contiguous" "$work/$np.json"
        expect "$name, np $np: predictions" "min(p['predicted']['split']['tokens_per_s']) > 0 and p['verdict']" "$work/$np.json"
        expect "$name, np $np: memory" "all(t <= x['memory_bytes'] for t, x in zip(total, r))" "$work/$np.json"
    done
    expect "$name: all layers" "r[-1]['layers'][1] == $("$python" -c "
import json; print(json.load(open('$work/1.json'))['ranks'][0]['layers'][1])")" "$work/4.json"

    # Half the memory of one rank is enough for four, and none takes more; a thousandth is enough for nobody.
    one=$("$python" -c "
import json; x = json.load(open('$work/1.json'))['ranks'][0]; print(x['weight_bytes'] + x['kv_bytes'] + x['buffer_bytes'])")
    for head in on off; do
        run_ranks 4 "$LLM" plan -m "$model" -t 1 --json --split-head $head --memory-limit $((one * 6 / 10)) >"$work/limit.json" 2>"$work/err"
        expect "$name: within a limit, head $head" "$contiguous and max(total) <= $((one * 6 / 10))" "$work/limit.json"
    done
    refused "$name: fits nowhere" 'MB are missing' run_ranks 2 "$LLM" plan -m "$model" -t 1 --memory-limit $((one / 1000))
    refused "$name: runs nowhere" 'MB are missing' run_ranks 2 "$LLM" -m "$model" --ids 3,4 -n 2 --temp 0 --memory-limit $((one / 1000))

    refused "$name: too many ranks" '8 ranks are too many for [56] layers' run_ranks 8 "$LLM" -m "$model" --ids 3,4,5 -n 2 --temp 0
done
model=$1

# One measurement for all ranks of a machine, remembered until --calibrate; a damaged file counts as none.
measured()
{
    run_ranks 2 "$LLM" plan -m "$model" -t 1 -v "${@:3}" 2>&1 >/dev/null | grep -c "a head tile, $1" >"$work/count"
    if [ "$(cat "$work/count")" = 1 ]; then
        passed
    else
        failed "$2: $(cat "$work/count") ranks say \"$1\", expected 1"
    fi
}
rm -rf "$XDG_CACHE_HOME"
measured measured "the first time"
measured known "the second time"
measured measured "asked for" --calibrate
measured measured "another number of rows" -ub 32 -b 32
for file in "$XDG_CACHE_HOME"/llm/speed/*.json; do
    echo "{" >"$file"
done
measured measured "a damaged cache"

# Unequal boards: the fast one gets more, and is better alone for one stream.
boards=sim:orin-nano-8,sim:agx-orin-64
run_ranks 2 "$LLM" plan -m "$model" --device $boards --sim-link 1gbe --json >"$work/sim.json" 2>"$work/err"
expect "unequal boards" "r[1]['layers'][1] - r[1]['layers'][0] >= r[0]['layers'][1]" "$work/sim.json"
expect "unequal boards, one stream" "'rank 1 alone is faster' in p['verdict']" "$work/sim.json"

"$LLM" plan --boards orin-nano-8,2xorin-nx-16 --json >"$work/boards.json" 2>"$work/err"
if "$python" - "$work/boards.json" <<'PYTHON'
import json, sys
lines = {(x["model"], x["types"]): x for x in json.load(open(sys.argv[1]))}
small, large = lines["llama-3.2-1b", "q4_0"], lines["llama-3.3-70b", "q8_0"]
sys.exit(0 if small["fits"] and small["one_stream"] > 10 and small["longest_context"] == 131072 and not large["fits"]
         and "missing" in large["why"] else 1)
PYTHON
then
    passed
else
    failed "boards: $(head -c 1000 "$work/boards.json")"
fi
refused "unknown board" 'no-such-board' "$LLM" plan --boards orin-nano-8,no-such-board
# What info shows is no plan, and says so.
said=$("$LLM" info -m "$model" --ranks 2 | grep -c 'llm plan')/$("$LLM" info -m "$model" | grep -c 'llm plan')/$("$LLM" info -m "$model" --split 1,5 | grep -c 'llm plan')
if [ "$said" = 1/0/0 ]; then passed; else failed "info says so $said times, expected 1/0/0"; fi

refused "no boards" '--boards has "", expected .*known: orin-nano-4, ' "$LLM" plan --boards ''
refused "boards of no kind" '--boards has "2x", expected .*known: orin-nano-4, ' "$LLM" plan --boards orin-nano-8,2x
refused "none of a board" '--boards has "0xorin-nano-8", expected .*known: orin-nano-4, ' "$LLM" plan --boards 0xorin-nano-8
refused "too many boards" 'more than the 64 boards' "$LLM" plan --boards 65xorin-nano-8
refused "unknown link" 'no-such-link' "$LLM" plan --boards orin-nano-8 --link no-such-link
refused "link without boards" '--boards' "$LLM" plan -m "$model" --link 1gbe
refused "a mix of one" '--mix' "$LLM" plan -m "$model" --mix 3
finish
