#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Format, cppcheck, clang-tidy and shellcheck over the sources.
#   lint.sh BUILD    BUILD: a configured build folder (for compile_commands.json)
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${1:?usage: lint.sh BUILD}
failed=0

mapfile -t c_files < <(git ls-files '*.c' '*.h' '*.cu' '*.cpp')
mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
mapfile -t compiled < <(python3 -c 'import json, sys; print(*sorted({e["file"] for e in json.load(open(sys.argv[1]))}), sep="\n")' \
    "$build/compile_commands.json" | grep -v -e "/tests/" -e "^$PWD/build")

step()
{
    echo "== $1"
    shift
    "$@" || { failed=1; echo "FAILED: $1" >&2; }
}

# Other versions of clang-format set some lines otherwise; 14 is Debian 12's and Ubuntu 22.04's.
if clang-format --version | grep -q 'version 14'; then
    step format clang-format --dry-run -Werror "${c_files[@]}"
else
    echo "== format: skipped, this is $(clang-format --version), not version 14"
fi

cppcheck_all()
{
    cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 --enable=warning,performance,portability \
        --suppressions-list=tests/sources/cppcheck.txt -j "$(nproc)" -I . -D_GNU_SOURCE src io kernels
}
step cppcheck cppcheck_all

clang_tidy_all()
{
    printf '%s\0' "${compiled[@]}" | xargs -0 -n 4 -P "$(nproc)" clang-tidy --quiet --extra-arg=-Wno-unknown-warning-option -p "$build" 2>/dev/null
}
step clang-tidy clang_tidy_all

step shellcheck shellcheck -S warning -x -e SC1091,SC2054,SC2100,SC2154 "${scripts[@]}"
exit $failed
