#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The program on 64-bit Arm without Arm hardware: cross build, every unit test through qemu, and the same ids and logits as this
# machine's own ./llm, alone, over ranks, and in a job of both kinds of machine.
#   run.sh [--build DIR] [--tests-only] [--programs-only] [--ids 3,4,5] [MODEL [PROMPT]]
#   --build DIR       build folder of the cross build (default build-aarch64)
#   --tests-only      no comparison of programs; --programs-only: no unit tests; --ids: instead of a prompt
#   MODEL, PROMPT     default: the demo's model where it was fetched (tests/fetch_model.sh), and a short text
# LLM: this machine's program (default ./llm). LLM_SYSROOT: see setup.sh. N_GENERATED: ids a run (default 16; qemu is slow).
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root" || exit 1

build=build-aarch64
unit_tests=1
programs=1
ids=
while [ $# -gt 0 ]; do
    case $1 in
    --build)
        build=$2
        shift
        ;;
    --tests-only) programs=0 ;;
    --programs-only) unit_tests=0 ;;
    --ids)
        ids=$2
        shift
        ;;
    -*)
        sed -n '3,9s/^# \{0,1\}//p' "$0"
        [ "$1" = --help ] && exit 0 || exit 2
        ;;
    *) break ;;
    esac
    shift
done
model=${1:-}
prompt=${2:-The three laws of robotics are}

LLM_SYSROOT=$(tests/aarch64/setup.sh | tail -n 1) || exit 1
export LLM_SYSROOT OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mkdir -p "$build"
if ! { cmake -S . -B "$build" -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64.cmake -DLLM_SYSROOT="$LLM_SYSROOT" &&
    cmake --build "$build" --parallel "$(nproc)"; } >"$build/log" 2>&1; then
    grep -n -A12 -E 'error|Error|FAILED' "$build/log" >&2 || tail -n 40 "$build/log" >&2
    exit 1
fi
grep -A4 'warning:' "$build/log" >&2

n_failed=0
if [ $unit_tests = 1 ]; then
    # The others are scripts and mpirun tests, which start the program without qemu; the comparison below stands for them.
    ctest --test-dir "$build" --output-on-failure -L '^(aarch64|cluster|core|engine|io|kernels|tokenizer)$' -E '^test_cluster_' ||
        n_failed=1
fi
[ $programs = 1 ] || exit $n_failed

if [ -z "$model" ]; then
    model=$(tests/fetch_model.sh --cached) || exit $((n_failed ? n_failed : 77))
fi
native=$(realpath "${LLM:-$root/llm}")
arm=(qemu-aarch64-static -L "$LLM_SYSROOT" "$build/src/llm")
if [ ! -x "$native" ]; then
    echo "no $native: build this machine's program first (cmake -B build && cmake --build build), or set LLM" >&2
    exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
input=(-p "$prompt")
[ -z "$ids" ] || input=(--ids "$ids")
options=(-m "$model" "${input[@]}" -n "${N_GENERATED:-16}" -s 1 -t 1 --json)
# Both kinds of machine in one job speak TCP; more ranks than cores is expected.
ranks=(mpirun -q --mca btl self,tcp --mca pml ob1 --oversubscribe --bind-to none)

# compare LABEL command...: the command prints the JSON object of a run; its ids and logits are compared with the first case's.
compare()
{
    local label=$1 name
    shift
    name=$work/${label//[^a-zA-Z0-9]/_}
    if ! timeout -k 5 "${RUN_LIMIT_S:-900}" "$@" </dev/null >"$name.json" 2>"$name.err"; then
        echo "FAILED: $label: $(tail -n 5 "$name.err")" >&2
        n_failed=1
        return
    fi
    if ! python3 -c 'import json, sys; ids = json.load(open(sys.argv[1]))["ids"]; print(*ids); sys.exit(not ids)' \
        "$name.json" >"$name.ids"; then
        echo "FAILED: $label: no ids" >&2
        n_failed=1
        return
    fi
    mv "$work/logits" "$name.logits"
    if [ -z "${first:-}" ]; then
        first=$name
        echo "$label: ids $(cat "$name.ids"), logits $(cksum <"$name.logits")"
    elif ! cmp "$first.ids" "$name.ids" >&2 || ! cmp "$first.logits" "$name.logits" >&2; then
        echo "FAILED: $label: ids $(cat "$name.ids"), expected $(cat "$first.ids"); logits $(cksum <"$name.logits")," \
            "expected $(cksum <"$first.logits")" >&2
        n_failed=1
    else
        echo "$label: the same ids and logits"
    fi
}

options+=(--logits-out "$work/logits")
compare "native, scalar" "$native" "${options[@]}" --isa scalar
compare "native" "$native" "${options[@]}"
compare "aarch64, scalar" "${arm[@]}" "${options[@]}" --isa scalar
compare "aarch64" "${arm[@]}" "${options[@]}"
compare "aarch64, -np 2" "${ranks[@]}" -np 2 "${arm[@]}" "${options[@]}"
compare "native and aarch64" "${ranks[@]}" -np 1 "$native" "${options[@]}" : -np 1 "${arm[@]}" "${options[@]}"
compare "aarch64 and native" "${ranks[@]}" -np 1 "${arm[@]}" "${options[@]}" : -np 1 "$native" "${options[@]}"
exit $n_failed
