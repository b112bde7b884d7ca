#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# --trace: the timeline of one and three ranks is JSON, holds every batch on every rank, and its slices add up to what the ranks say
# of themselves; also when one rank's clock is far ahead (a time namespace; where there are none, without it).
#   trace.sh MODEL
. "$(dirname "$0")/common.sh"
[ $# -eq 1 ] || { sed -n '3,5s/^# \{0,1\}//p' "$0"; exit 2; }
model=$(realpath "$1")
check=$(dirname "$0")/trace_check.py

cat >"$work/ahead" <<'AHEAD'
#!/bin/sh
[ "$OMPI_COMM_WORLD_RANK" = 1 ] || exec "$@"
exec unshare --time --monotonic 5000 --fork "$@"
AHEAD
chmod +x "$work/ahead"

options=(-m "$model" --ids "$(seq -s, 3 60)" -n 12 -ub 16 -t 1 --temp 0 --json --trace "$work/trace.json")
check_run()
{
    local name=$1 ranks=$2
    shift 2
    rm -f "$work/trace.json"
    if ! run_ranks "$ranks" "$@" "$LLM" "${options[@]}" >"$work/out" 2>"$work/err"; then
        failed "$name: $(cat "$work/err")"
    elif ! python3 "$check" "$work/trace.json" "$work/out" >"$work/why" 2>&1; then
        failed "$name: $(cat "$work/why")"
    else
        passed
    fi
}
check_run "1 rank" 1
check_run "3 ranks" 3
options+=(--split-head on)
check_run "3 ranks, the head divided" 3
if unshare --time --monotonic 5000 --fork true 2>"$work/why"; then
    check_run "3 ranks, a clock ahead" 3 "$work/ahead"
else
    echo "without a clock that is ahead: $(cat "$work/why")"
fi

"$LLM" -m "$model" --ids 3 -n 1 -q --trace "$work/no/such/folder" >"$work/out" 2>"$work/err"
status=$?
if [ $status != 2 ] || ! grep -q "no/such/folder: cannot be written: No such file or directory" "$work/err"; then
    failed "a file that cannot be written: exit status $status: $(cat "$work/err")"
else
    passed
fi
finish
