#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# llm bench on one and two ranks: all three forms of output hold the same tests, with numbers that fit together.
#   bench.sh MODEL
. "$(dirname "$0")/common.sh"
[ $# -eq 1 ] || { sed -n '3,4s/^# \{0,1\}//p' "$0"; exit 2; }
model=$(realpath "$1")
check=$(dirname "$0")/bench_check.py

options=(bench -m "$model" -p 40 -n 8 -pg 20,4 -d 0,70 -ns 1,3 -r 3 -ub 16 -t 1)
for n in 1 2; do
    for format in md csv json; do
        name="$n ranks, -o $format"
        if ! run_ranks $n "$LLM" "${options[@]}" -o $format >"$work/out" 2>"$work/err"; then
            failed "$name: $(cat "$work/err")"
        elif ! python3 "$check" $format $n "$work/out" >"$work/why" 2>&1; then
            failed "$name: $(cat "$work/why")"
        else
            passed
        fi
    done
done

refuse()
{
    local expected=$1
    shift
    "$LLM" bench -m "$model" "$@" >"$work/out" 2>"$work/err"
    local status=$?
    if [ $status != 2 ] || [ "$(cat "$work/err")" != "llm: $expected" ]; then
        failed "$*: exit status $status, expected 2; said \"$(cat "$work/err")\", expected \"llm: $expected\""
    else
        passed
    fi
}
refuse 'nothing to measure: -p, -n, -pg and --streams leave no test' -p 0 -n 0
refuse '-pg is "512", expected PROMPT,TOKENS such as 512,128' -pg 512
refuse '-r is "0", expected a whole number from 1 to 100000' -r 0
refuse '--mix has 1 numbers, expected two: tokens of a prompt and of an answer' --mix 512
refuse '-o is "xml", expected one of: md csv json' -o xml
finish
