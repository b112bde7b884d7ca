# shellcheck shell=bash
# What the scripts of this folder share; sourced by them. SPDX-License-Identifier: MIT
#
# LLM: the program, default ./llm at the top of the source folder. Every process that a test starts carries LLM_TEST_ID in its
# environment, so that what is left of it can be found afterwards.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LLM=$(realpath "${LLM:-$root/llm}")
export LLM_TEST_ID=$$
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# More ranks than cores is what these tests are about on small machines.
export OMPI_MCA_rmaps_base_oversubscribe=1

work=$(mktemp -d)
# shellcheck disable=SC2034 # of scripts that look for a model there
user_cache=${XDG_CACHE_HOME:-$HOME/.cache}
export XDG_CACHE_HOME=$work/cache # measured speeds are not left behind
n_failed=0
n_passed=0

# Processes of this test that run the program, by their ids.
ranks_left()
{
    local environ pid
    for environ in /proc/[0-9]*/environ; do
        pid=${environ#/proc/}
        pid=${pid%/environ}
        if [ "$(readlink "/proc/$pid/exe" 2>/dev/null)" = "$LLM" ] &&
            tr '\0' '\n' <"$environ" 2>/dev/null | grep -qx "LLM_TEST_ID=$LLM_TEST_ID"; then
            echo "$pid"
        fi
    done
}

clean_up()
{
    local pid
    for pid in $(ranks_left); do
        kill -9 "$pid" 2>/dev/null
    done
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

skip()
{
    echo "skipped: $*" >&2
    exit 77
}

failed()
{
    n_failed=$((n_failed + 1))
    echo "FAILED: $*" >&2
}

passed()
{
    n_passed=$((n_passed + 1))
}

# Ends the script; with its count of cases, so that a run that tested nothing is seen.
finish()
{
    echo "$n_passed passed, $n_failed failed"
    [ $n_failed -eq 0 ] && [ $n_passed -gt 0 ]
    exit
}

# Seconds since the machine started, with hundredths.
now()
{
    cut -d' ' -f1 /proc/uptime
}

# elapsed_below START LIMIT
elapsed_below()
{
    awk -v start="$1" -v limit="$2" -v now="$(now)" 'BEGIN { exit !(now - start < limit) }'
}

# n_layers_of MODEL
n_layers_of()
{
    "$LLM" info -m "$1" --json |
        python3 -c 'import json, sys; m = json.load(sys.stdin)["metadata"]; print(m[m["general.architecture"] + ".block_count"])'
}

# A hang must not eat the whole test's time.
run_ranks()
{
    local n=$1
    shift
    timeout -k 5 "${RUN_LIMIT_S:-120}" mpirun -q -np "$n" "$@" </dev/null
}
