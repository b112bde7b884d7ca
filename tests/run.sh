#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what is missing, builds, runs every test.
#   --quick      unit tests and checks of the sources only (no mpirun)
#   --clang      build with clang instead of gcc, without nvcc
#   --sanitize   build with AddressSanitizer and UndefinedBehaviorSanitizer, without nvcc
#   --werror     warnings are errors
#   --build DIR  build folder; default build, build-clang, build-sanitize or build-clang-sanitize
#   -- ...       the rest goes to ctest, e.g.  -- -L kernels
# Tests that need ../shared/data or the demo's model are shown as skipped where those are not there.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build
sets=(build test)
configure=()
ctest_options=(--output-on-failure)
suffix=
while [ $# -gt 0 ]; do
    case $1 in
    --quick) ctest_options+=(-LE pipeline) ;;
    --clang)
        sets+=(clang)
        suffix=-clang$suffix
        configure+=(-DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DENABLE_CUDA=OFF)
        ;;
    --sanitize)
        suffix=$suffix-sanitize
        configure+=("-DENABLE_SANITIZERS=address,undefined" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DENABLE_CUDA=OFF)
        export LLM_TEST_LIMIT_S=30
        ;;
    --werror) configure+=(-DENABLE_WERROR=ON) ;;
    --build)
        build=$2
        suffix=
        shift
        ;;
    --)
        shift
        ctest_options+=("$@")
        break
        ;;
    *)
        sed -n '3,10s/^# \{0,1\}//p' "$0"
        [ "$1" = --help ] && exit 0 || exit 2
        ;;
    esac
    shift
done
if [ -n "$suffix" ]; then
    configure+=(-DENABLE_TOP_LEVEL_PROGRAM=OFF)
fi
build=$build$suffix

tests/packages.sh "${sets[@]}"
mkdir -p "$build"
if ! { cmake -S . -B "$build" "${configure[@]}" && cmake --build "$build" --parallel "$(nproc)"; } >"$build/log" 2>&1; then
    grep -n -A12 -E 'error|Error' "$build/log" >&2 || tail -n 40 "$build/log" >&2
    exit 1
fi
if grep -q 'warning:' "$build/log"; then
    grep -A4 'warning:' "$build/log" >&2
fi
ctest --test-dir "$build" --parallel "$(nproc)" "${ctest_options[@]}"
