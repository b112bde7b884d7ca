#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Simulated boards: files without weights run on 1 and 4 ranks with equal ids, nobody is faster than its board, and what cannot be
# simulated is refused with one line.
#   sim.sh
. "$(dirname "$0")/common.sh"
export RUN_LIMIT_S=60

shape=$work/8b.gguf
python3 "$root/bench/make_shape.py" llama-3.1-8b q4_k_m "$shape" >/dev/null || { failed "make_shape.py"; finish; }
job=("$LLM" run -m "$shape" --ids 1,2,3 -n 8 -s 7 -q)
board=sim:agx-thor-128

# refused LABEL PATTERN command...: exit status 2 and one line that matches the pattern (grep -E).
refused()
{
    local label=$1 pattern=$2 status
    shift 2
    "$@" >"$work/out" 2>"$work/err" </dev/null
    status=$?
    if [ $status != 2 ] || [ "$(wc -l <"$work/err")" != 1 ] || ! grep -q -E -- "$pattern" "$work/err"; then
        failed "$label: exit status $status (expected 2), stderr (expected one line with \"$pattern\"): $(head -n 5 "$work/err")"
    else
        passed
    fi
}

# same_ids LABEL command...: what the command writes is what one rank wrote.
same_ids()
{
    local label=$1
    shift
    if "$@" >"$work/ids" 2>"$work/err" </dev/null && cmp -s "$work/ids" "$work/one"; then
        passed
    else
        failed "$label: \"$(cat "$work/ids")\", expected \"$(cat "$work/one")\"; stderr: $(head -n 5 "$work/err")"
    fi
}

if "$LLM" info -m "$shape" >"$work/info" 2>&1 && grep -q "without the tensors' data" "$work/info"; then
    passed
else
    failed "llm info: $(head -n 3 "$work/info")"
fi

"${job[@]}" --device $board >"$work/one" 2>"$work/err" </dev/null || failed "one rank: $(head -n 5 "$work/err")"
[ "$(wc -w <"$work/one")" = 8 ] && passed || failed "one rank wrote \"$(cat "$work/one")\", expected 8 ids"
same_ids "again" "${job[@]}" --device $board
same_ids "another board, a smaller context" "${job[@]}" --device sim:orin-nano-8 -c 512
same_ids "4 ranks" run_ranks 4 "${job[@]}" --device $board --split-head off
same_ids "4 ranks, network, divided head" run_ranks 4 "${job[@]}" --device $board --sim-link 1gbe --split-head on
same_ids "4 unequal ranks" run_ranks 4 "${job[@]}" --device $board,sim:agx-orin-32,sim:orin-nx-16,sim:orin-nano-8 --sim-link 10gbe
"${job[@]}" -s 8 --device $board >"$work/ids" 2>/dev/null </dev/null
cmp -s "$work/ids" "$work/one" && failed "another seed gives the same ids" || passed

# Nobody is faster than its board and its wire: 4.6 GB of weights a token at 273 GB/s x 0.85; 60 us and 16 kB at 117 MB/s a hop.
for np in 1 4; do
    args=(--json --split-head off --device "$board")
    [ $np = 4 ] && args+=(--sim-link 1gbe)
    run_ranks $np "${job[@]}" "${args[@]}" >"$work/json" 2>"$work/err"
    python3 - "$work/json" $np <<'END' && passed || failed "np $np: $(head -n 5 "$work/err")"
import json, sys
t = json.load(open(sys.argv[1]))["timings"]
token_s, hop_s = t["decode_s"] / t["decode_tokens"], t["hop_s"]
least_s, least_hop_s = 4.6e9 / (273e9 * 0.85), 60e-6 + 16384 / 117e6 if sys.argv[2] == "4" else 0
print(f"{token_s:.6f} s a token, at least {least_s:.6f}; {hop_s:.6f} s a hop, at least {least_hop_s:.6f}", file=sys.stderr)
sys.exit(token_s < least_s or hop_s < least_hop_s)
END
done

# A board of one's own.
cp "$root/kernels/sim/boards/agx-thor-128.board" "$work/mine.board"
same_ids "a board from a file" "${job[@]}" --device "sim:$work/mine.board"
echo "fast = 1" >>"$work/mine.board"
refused "bad board file" 'mine.board:[0-9]+: unknown key "fast"' "${job[@]}" --device "sim:$work/mine.board"

refused "unknown board" '"jetson".*orin-nano-4.*agx-thor-128' "${job[@]}" --device sim:jetson
refused "unknown device" '"tpu", expected auto, cpu, cuda or sim:BOARD' "${job[@]}" --device tpu
refused "unknown link" '"modem", known: 1gbe' "${job[@]}" --device $board --sim-link modem
refused "link without boards" 'sim-link 1gbe was given without' "${job[@]}" --sim-link 1gbe
refused "model too large" 'the ranks have .* MB are missing' "${job[@]}" --device sim:orin-nano-8 -c 8192
refused "one of four too small" 'rank 3.*MB are needed.*board orin-nano-4' run_ranks 4 "${job[@]}" \
    --device $board,$board,$board,sim:orin-nano-4 --split 2,2,2,26
refused "mixed devices" 'mixes simulated ranks' run_ranks 2 "${job[@]}" --device $board,cpu
refused "too few devices" 'names 2 devices for 4 ranks' run_ranks 4 "${job[@]}" --device $board,$board
refused "other boards on another rank" 'one of its options' timeout -k 5 60 mpirun -q -np 1 "${job[@]}" --device $board : \
    -np 1 "${job[@]}" --device sim:orin-nx-16
refused "logits" 'no logits' "${job[@]}" --device $board --logits-out "$work/logits"
refused "no weights on a real device" 'has no data' "${job[@]}"
finish
