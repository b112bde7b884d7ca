#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Goes through every state of a model with spin: tests/models/run.sh pages|ring
# Then makes mistakes in the model on purpose: each must be found.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
model=${1:?"which model: pages or ring"}
for tool in spin cc; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: no $tool (package $([ "$tool" = cc ] && echo build-essential || echo spin))"
        exit 77
    fi
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# check ERRORS FILE DEFINES...: explores FILE, which must have so many errors (0 or 1: the first one ends the search).
check() {
    local expected=$1 file=$2
    shift 2
    rm -f pan* ./*.trail
    spin -a "$@" "$file" >spin.txt || { cat spin.txt; exit 1; }
    cc -w -O2 -DSAFETY -DCOLLAPSE -DVECTORSZ=4096 -o pan pan.c
    ./pan -n -m1000000 -w22 >pan.txt
    local found states
    found=$(sed -n 's/.*errors: \([0-9]*\)$/\1/p' pan.txt)
    states=$(sed -n 's/ *\([0-9.e+]*\) states, stored.*/\1/p' pan.txt)
    printf '%-44s %9s states, %s error(s)\n' "$(basename "$file") $*" "$states" "$found"
    if [ "$found" != "$expected" ] || grep -q "search not completed" <(sed '/errors: 1/q' pan.txt | grep -v "^pan:"); then
        cat pan.txt
        if compgen -G '*.trail' >/dev/null; then
            spin -k ./*.trail -t -g -l "$file" | tail -n 60
        fi
        echo "FAILED: expected $expected error(s)"
        exit 1
    fi
}

# mistake PATTERN REPLACEMENT DEFINES...: the model with this change (fixed strings) must have an error.
mistake() {
    PATTERN=$1 REPLACEMENT=$2 perl -pe 's/\Q$ENV{PATTERN}\E/$ENV{REPLACEMENT}/' "$here/$model.pml" >wrong.pml
    if cmp -s wrong.pml "$here/$model.pml"; then
        echo "FAILED: nothing to change: $1"
        exit 1
    fi
    echo "with \"$2\" for \"$1\":"
    shift 2
    check 1 wrong.pml "$@"
}

if [ "$model" = pages ]; then
    for sizes in "-DG=3" "-DG=2" "-DG=4" "-DG=3 -DM=3" "-DG=4 -DM=3 -DS=2 -DD=3"; do
        # shellcheck disable=SC2086 # words
        check 0 "$here/pages.pml" $sizes
    done
    mistake '&& n_flying[other] == 0 -> give_all' '-> give_all'          # pages taken from under a batch
    mistake 'stopped[q] && n_flying[q] == 0 -> give' 'stopped[q] -> give' # the same at a sequence's end
    mistake ':: page < G && holders[page] == 0 -> break' ':: page < G -> break' # a page in use is taken
    mistake 'holders[page]--;' 'skip;'                                   # a page is lost
else
    for p in 2 3 4; do
        for d in 1 2 3; do
            check 0 "$here/ring.pml" "-DP=$p" "-DD=$d" "-DN=$((p * d > 9 ? d : d + 2))"
            check 0 "$here/ring.pml" "-DP=$p" "-DD=$d" -DHEAD=1
        done
    done
    check 0 "$here/ring.pml" -DP=3 -DD=1 -DHEAD=1 -DQUICK=0
    mistake 'posted[r] = D + 1;' 'posted[r] = D - 1;' -DD=1             # nothing can be received
    mistake 'posted[0] = D + 1;' 'posted[0] = D - 1;' -DD=1             # nothing can come home
    mistake 'held[batch] = 1;' 'held[batch] = 0;' -DHEAD=1              # a buffer is used while it is read
    check 0 "$here/ring.pml" -DP=2 -DD=1 -DHEAD=1 -DLATE=1 -DN=4
    check 0 "$here/ring.pml" -DP=3 -DD=1 -DHEAD=1 -DLATE=1 -DN=3
    mistake 'nempty(asked) && n_parts[r] < PARTS' 'nempty(asked)' -DP=2 -DD=1 -DHEAD=1 -DLATE=1 -DN=4 # a part is begun with none free
fi
echo "$model: all as expected"
