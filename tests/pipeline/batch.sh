#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# llm batch: the same results as runs of one prompt each, whatever the number of ranks, slots and chunks; in order, or as they come;
# bad lines; a program at the other end of the pipes; signals; files that cannot be written; memory that does not grow.
#   batch.sh MODEL CHAT_MODEL    CHAT_MODEL: one with ChatML as its template
. "$(dirname "$0")/common.sh"
[ $# -eq 2 ] || { sed -n '3,5s/^# \{0,1\}//p' "$0"; exit 2; }
model=$(realpath "$1")
chat_model=$(realpath "$2")
look=(timeout -k 5 200 python3 "$(dirname "$0")/batch.py")
ranks=(mpirun -q)
options=(-m "$model" -t 1 -c 256 -s 5)

# check LABEL command...: the command must succeed.
check()
{
    local label=$1
    shift
    if "$@" >"$work/check.out" 2>&1; then
        passed
    else
        failed "$label: $(tail -n 5 "$work/check.out")"
    fi
}

# batch NP OUT options...: the 64 requests on NP ranks.
batch()
{
    run_ranks "$1" "$LLM" batch "${options[@]}" -q -i "$work/requests" -o "$2" "${@:3}"
}

"${look[@]}" requests "$work/requests"
check "64 requests, one rank" batch 1 "$work/1" -np 8
check "against a run each" "${look[@]}" one-by-one "$work/1" "$work/requests" "$LLM" "${options[@]}"
for np in 2 3 4; do
    check "64 requests, $np ranks" batch $np "$work/$np" -np 8
    check "results of $np ranks" cmp "$work/1" "$work/$np"
done
for way in "-np 1" "-np 3 -ub 16" "-np 64 -b 32 --depth 1" "-np 64 --kv-memory 1M"; do
    # shellcheck disable=SC2086
    check "64 requests, $way" batch 2 "$work/way" $way
    check "results of $way" cmp "$work/1" "$work/way"
done
check "unordered" batch 2 "$work/unordered" -np 8 --unordered
check "results of --unordered" cmp <(sort "$work/1") <(sort "$work/unordered")
if cmp -s "$work/1" "$work/unordered"; then
    failed "--unordered gave the order of the requests, so it was not tried"
fi

for np in 1 2; do
    check "OpenAI's form, $np ranks" "${look[@]}" chat "${ranks[@]}" -np $np "$LLM" -m "$chat_model" -t 1 -c 256
    check "bad lines, $np ranks" "${look[@]}" bad-lines "${ranks[@]}" -np $np "$LLM" -m "$model" -t 1 -c 64
    check "a program at the other end, $np ranks" "${look[@]}" interactive "${ranks[@]}" -np $np "$LLM" "${options[@]}"
done
check "a program at the other end, without mpirun" "${look[@]}" interactive "$LLM" "${options[@]}"
check "nobody reads the results" "${look[@]}" stalled "$LLM" -m "$model" -t 1 -c 32000 --kv-memory 40M
check "the reader of the results has gone" "${look[@]}" gone "$LLM" -m "$model" -t 1 -c 32000

# Refused before the model is loaded, with one line.
for wrong in "-o /no/such/folder/x" "-i /no/such/file" "-i $work/requests -o $work/requests" "-o /dev/full"; do
    # shellcheck disable=SC2086
    timeout -k 5 60 "$LLM" batch "${options[@]}" -q -i "$work/requests" $wrong >"$work/out" 2>"$work/err"
    status=$?
    # The disk is found to be full when there is something to write.
    if [ $status != 2 ] || ! grep -q -E 'cannot be (written|opened)|requests are read from' "$work/err" ||
        { [ "$wrong" != "-o /dev/full" ] && [ "$(wc -l <"$work/err")" != 1 ]; }; then
        failed "$wrong: exit status $status, expected 2; stderr: $(head -n 5 "$work/err")"
    else
        passed
    fi
done
[ "$("${look[@]}" whole "$work/requests")" = 64 ] || failed "the requests were overwritten"

# A signal in the middle: what is done is there, in whole lines, and the exit status says so. The requests end only by their length.
awk 'BEGIN { for (i = 0; i < 200; i++) printf "{\"ids\":[3,4,%d],\"max_tokens\":%d,\"ignore_eos\":true}\n", i + 5, i < 20 ? 5 : 30000 }' >"$work/long"
for np in 0 2; do
    start=(mpirun -q -np "$np")
    [ $np = 0 ] && start=()
    : >"$work/cut"
    # bash lets programs in the background ignore Ctrl-C, so it is SIGTERM here.
    ${start[@]+"${start[@]}"} "$LLM" batch -m "$model" -t 1 -c 32000 -np 4 -q -i "$work/long" -o "$work/cut" </dev/null 2>"$work/err" &
    job=$!
    for _ in $(seq 600); do
        [ "$(wc -l <"$work/cut")" -ge 20 ] && break
        sleep 0.05
    done
    kill -TERM $job
    for _ in $(seq 600); do
        kill -0 $job 2>/dev/null || break
        sleep 0.05
    done
    kill -9 $job 2>/dev/null
    wait $job
    status=$?
    n=$("${look[@]}" whole "$work/cut")
    if [ $status = 0 ] || { [ $np = 0 ] && [ $status != 130 ]; }; then
        failed "signal, np $np: exit status $status"
    elif [ "${n:-0}" -lt 20 ] || [ "$n" -gt 28 ]; then
        failed "signal, np $np: $n results, expected the 20 short ones and the few that were at work"
    elif ! grep -q 'ended early' "$work/err"; then
        failed "signal, np $np: stderr: $(head -n 5 "$work/err")"
    else
        passed
    fi
done

# Thousands of requests take no more memory than hundreds (MB of the summary).
peak()
{
    "${look[@]}" many "$1" "$work/many"
    # A sanitized build keeps what was freed, unless it is told not to.
    ASAN_OPTIONS="${ASAN_OPTIONS:-}:quarantine_size_mb=1" timeout -k 5 200 "$LLM" batch "${options[@]}" -np 32 -i "$work/many" -o "$work/many.out" 2>"$work/err" || return
    [ "$("${look[@]}" whole "$work/many.out")" = "$1" ] || return
    grep -q '^llm: batches  [1-9][0-9]* of [1-9][0-9.]* rows' "$work/err" || return
    sed -n 's/.* \([0-9]*\) MB memory.*/\1/p' "$work/err"
}
few=$(peak 2000)
many=$(peak 8000)
if [ -z "$few" ] || [ -z "$many" ] || [ "$many" -gt $((few + 8)) ]; then
    failed "memory: ${few:-?} MB with 2000 requests, ${many:-?} MB with 8000"
else
    passed
fi
finish
