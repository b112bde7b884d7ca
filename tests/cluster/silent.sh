#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A rank that is stopped (kill -STOP) while the job starts: one line names it, the exit status is not 0, and all ranks are gone.
#   silent.sh PROGRAM    test_silent
LLM=$1
. "$(dirname "$0")/../pipeline/common.sh"
export RUN_LIMIT_S=60

for what in ring clock agree link; do
    run_ranks 4 "$LLM" $what >"$work/out" 2>"$work/err"
    status=$?
    left=
    for _ in $(seq 200); do
        left=$(ranks_left)
        [ -z "$left" ] && break
        sleep 0.05
    done
    if [ $status = 0 ] || [ $status = 124 ]; then
        failed "$what: exit status $status"
    elif [ "$(wc -l <"$work/err")" != 1 ] || ! grep -q -E '^llm: rank 0 \(.+\): rank 1 \(.+\) has not answered for 1 s at the start' "$work/err"; then
        failed "$what: $(head -n 5 "$work/err")"
    elif [ -s "$work/out" ]; then
        failed "$what: $(head -n 5 "$work/out")"
    elif [ -n "$left" ]; then
        failed "$what: processes left: $left"
    else
        passed
    fi
done
finish
