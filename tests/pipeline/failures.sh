#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The user's errors: exactly one line from the program on stderr, nothing on stdout, exit status 2, and all ranks gone within 5 s.
#   failures.sh [--cuts N] MODEL    N: how many places the file is cut at (20)
. "$(dirname "$0")/common.sh"

limit_s=${LLM_TEST_LIMIT_S:-5} # sanitized builds start slowly

n_cuts=20
if [ "${1:-}" = --cuts ]; then
    n_cuts=$2
    shift 2
fi
[ $# -eq 1 ] || { sed -n '3,4s/^# \{0,1\}//p' "$0"; exit 2; }
model=$(realpath "$1")
export RUN_LIMIT_S=60

# refused LABEL PATTERN command...: the command must be refused with one line that matches the pattern (grep -E).
refused()
{
    local label=$1 pattern=$2 start status n_lines left attempt
    shift 2
    # The clock is the machine's, which may be busy with something else: a slow case gets a second try.
    for attempt in 1 2; do
        start=$(now)
        "$@" >"$work/out" 2>"$work/err" </dev/null
        status=$?
        elapsed_below "$start" "$limit_s" && break
    done
    # mpirun does not wait until those it killed are gone.
    left=$(ranks_left)
    while [ -n "$left" ] && elapsed_below "$start" "$limit_s"; do
        sleep 0.05
        left=$(ranks_left)
    done
    n_lines=$(wc -l <"$work/err")
    if [ $status != 2 ]; then
        failed "$label: exit status $status, expected 2; stderr: $(head -n 5 "$work/err")"
    elif [ "$n_lines" != 1 ]; then
        failed "$label: $n_lines lines on stderr, expected 1: $(head -n 5 "$work/err")"
    elif ! grep -q -E -- "$pattern" "$work/err"; then
        failed "$label: \"$(cat "$work/err")\" does not match \"$pattern\""
    elif [ -s "$work/out" ]; then
        failed "$label: $(wc -c <"$work/out") bytes on stdout, expected none"
    elif [ -n "$left" ]; then
        failed "$label: processes left: $left"
    elif [ "$attempt" = 2 ] && ! elapsed_below "$start" "$limit_s"; then
        failed "$label: took until $(now), started $start, expected less than $limit_s s"
    else
        passed
    fi
}

job=(-m "$model" --ids "3,4,5" -n 4)
long_ids=$(awk 'BEGIN { for (i = 0; i < 300; i++) printf "%s%d", i ? "," : "", i % 100 + 3 }')
here=$(cd "$(dirname "$0")" && pwd)

# The same without mpirun and under it; what is wrong is named.
for np in 0 2; do
    start=(run_ranks "$np")
    [ $np = 0 ] && start=(timeout -k 5 60)
    page_bytes=$("${start[@]}" "$LLM" "${job[@]}" --kv-memory 1 2>&1 >"$work/out" | sed -n 's/.* a page of 64 positions takes //p')
    refused "unknown option, np $np" '--no-such-option' "${start[@]}" "$LLM" "${job[@]}" --no-such-option
    refused "option of llama.cpp, np $np" 'unknown option -ts; .*--split' "${start[@]}" "$LLM" "${job[@]}" -ts 1,2
    refused "unknown command, np $np" 'no-such-command' "${start[@]}" "$LLM" no-such-command
    refused "value of -n, np $np" 'many' "${start[@]}" "$LLM" -m "$model" --ids 3,4,5 -n many
    refused "option without its value, np $np" '-n' "${start[@]}" "$LLM" -m "$model" --ids 3,4,5 -n
    refused "prompt beyond the KV cache, np $np" 'the prompt has 300 tokens, the context [0-9]+ positions .*--kv-memory' "${start[@]}" "$LLM" -m "$model" --ids "$long_ids" -n 4 --temp 0 -q --kv-memory "$((page_bytes * 2))"
    refused "no model, np $np" '-m' "${start[@]}" "$LLM" -p hello
    refused "no such file, np $np" '/no/such/file' "${start[@]}" "$LLM" -m /no/such/file --ids 3,4,5
    refused "not a model, np $np" 'common.sh' "${start[@]}" "$LLM" -m "$here/common.sh" --ids 3,4,5
    refused "a folder, np $np" "$here" "${start[@]}" "$LLM" -m "$here" --ids 3,4,5
    refused "id out of range, np $np" '999999999' "${start[@]}" "$LLM" -m "$model" --ids 3,999999999
    refused "too little memory, np $np" 'memory' "${start[@]}" "$LLM" "${job[@]}" --memory-limit 1M
    refused "instruction set, np $np" 'no-such-isa' "${start[@]}" "$LLM" "${job[@]}" --isa no-such-isa
    refused "prompt longer than the context, np $np" 'context|-c' "${start[@]}" "$LLM" "${job[@]}" -c 2
done
refused "split of other length" 'split' run_ranks 2 "$LLM" "${job[@]}" --split 1,1,1
refused "split of other sum" 'split' run_ranks 2 "$LLM" "${job[@]}" --split 1000,1

# Per-rank folders: the same command line, other files.
mkdir -p "$work/one/0" "$work/one/1" "$work/two/0" "$work/two/1"
ln -s "$model" "$work/one/0/model.gguf"
refused "file on rank 0 only" 'rank 1.*model.gguf' \
    run_ranks 2 "$here/in_rank_folder.sh" "$work/one" "$LLM" -m model.gguf --ids 3,4,5 -n 4
mv "$work/one/0/model.gguf" "$work/one/1/"
refused "file on rank 1 only" 'model.gguf' \
    run_ranks 2 "$here/in_rank_folder.sh" "$work/one" "$LLM" -m model.gguf --ids 3,4,5 -n 4
ln -s "$model" "$work/two/0/model.gguf"
# The last bytes of the key general.architecture's value or near: one byte of the header that does not stop it from loading.
python3 - "$model" "$work/two/1/model.gguf" <<'PYTHON'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
key = data.index(b"rms_epsilon")            # ...attention.layer_norm_rms_epsilon, type 6 (f32), value
value = key + len(b"rms_epsilon") + 4
data[value] ^= 1
open(sys.argv[2], "wb").write(data)
PYTHON
refused "other file on rank 1" 'rank 1|differ' \
    run_ranks 2 "$here/in_rank_folder.sh" "$work/two" "$LLM" -m model.gguf --ids 3,4,5 -n 4

# A file cut short at random places; the seed is fixed, so that a failure can be repeated.
size=$(stat -L -c %s "$model")
cuts=$(awk -v n="$n_cuts" -v size="$size" 'BEGIN { srand(1); for (i = 0; i < n; i++) printf "%d ", rand() * (size - 64) }')
i=0
for cut in 0 1 4 24 $cuts; do
    head -c "$cut" "$model" >"$work/cut.gguf"
    np=$((i % 3))
    start=(run_ranks "$np")
    [ $np = 0 ] && start=(timeout -k 5 60)
    refused "cut at byte $cut of $size, np $np" 'cut.gguf' "${start[@]}" "$LLM" -m "$work/cut.gguf" --ids 3,4,5 -n 4
    i=$((i + 1))
done
finish
