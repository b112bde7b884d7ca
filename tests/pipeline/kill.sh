#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# kill -9 of any rank while it generates: the job ends non-zero within 5 s, one line names the rank, and no process is left.
#   kill.sh MODEL
. "$(dirname "$0")/common.sh"
[ $# -eq 1 ] || { sed -n '3,4s/^# \{0,1\}//p' "$0"; exit 2; }
model=$(realpath "$1")
n_ranks=3

# The process of a rank, by the variable that Open MPI gives it.
pid_of_rank()
{
    local pid
    for pid in $(ranks_left); do
        if tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qx "OMPI_COMM_WORLD_RANK=$1"; then
            echo "$pid"
        fi
    done
}

for victim in $(seq 0 $((n_ranks - 1))); do
    label="rank $victim of $n_ranks killed"
    : >"$work/err"
    mpirun -q -np $n_ranks "$LLM" -q -m "$model" --ids 3,4,5 -n 19000 -c 20000 --ignore-eos --temp 0 </dev/null >"$work/out" 2>"$work/err" &
    job=$!
    pid=
    for _ in $(seq 200); do
        pid=$(pid_of_rank "$victim")
        # Its threads are there once the model is loaded and the ring runs.
        [ -n "$pid" ] && [ "$(ls "/proc/$pid/task" 2>/dev/null | wc -l)" -gt 1 ] && [ -s "$work/out" ] && break
        kill -0 $job 2>/dev/null || break
        sleep 0.05
    done
    if [ -z "$pid" ] || ! kill -0 $job 2>/dev/null; then
        wait $job
        failed "$label: the job ended before the kill, status $?: $(tail -n 3 "$work/err")"
        continue
    fi
    start=$(now)
    kill -9 "$pid"
    ( sleep 10; kill -9 $job ) 2>/dev/null &
    watchdog=$!
    wait $job 2>/dev/null
    status=$?
    kill $watchdog 2>/dev/null
    left=
    for _ in $(seq 20); do
        left=$(ranks_left)
        [ -z "$left" ] && break
        sleep 0.05
    done
    if [ $status = 0 ]; then
        failed "$label: exit status 0, expected another"
    elif ! elapsed_below "$start" 5; then
        failed "$label: the job ended at $(now), killed at $start, expected within 5 s"
    elif [ "$(grep -c '^llm: rank .* has died$' "$work/err")" != 1 ] || ! grep -q "^llm: rank $victim (.*) has died\$" "$work/err"; then
        failed "$label: no line names it: $(tail -n 5 "$work/err")"
    elif [ -n "$left" ]; then
        failed "$label: processes left: $left"
    else
        passed
    fi
done
finish
