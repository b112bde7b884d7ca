#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The headline guarantee: the generated ids and the prompt's logits do not depend on the number of ranks, threads, the chunk, the
# instruction set or the division of the head.
#   equivalence.sh [--full] [--min-ranks N] [--shared] [--cached] MODEL...
# The first run (no mpirun, one thread, whole prompt in one chunk, scalar) is the yardstick; every other must give the same ids and
# the same bytes of logits. --full runs the whole matrix, else a part in which every value and the risky pairs occur. A model with few
# layers gets ranks without any by --split, so that 1, 2, 3 and 4 ranks always run; N (2) must work without that. --shared adds models of the shared test data,
# --cached the demo's model; exit status 77 where they are not there.
. "$(dirname "$0")/common.sh"

full=0
min_ranks=2
most_ranks=4
n_layers=0
models=()
while [ $# -gt 0 ]; do
    case $1 in
    --full) full=1 ;;
    --min-ranks)
        min_ranks=$2
        shift
        ;;
    --shared)
        shared=${LLM_SHARED_DATA:-$root/../shared/data}
        [ -f "$shared/README.md" ] || skip "no test data in $shared"
        models+=("$shared/models/stories260K.gguf" "$shared/tiny-models/llama-dense.gguf")
        ;;
    --cached)
        # Exit status 77 where it was not fetched.
        models+=("$(XDG_CACHE_HOME=$user_cache "$root/tests/fetch_model.sh" --cached)") || exit 77
        ;;
    *) models+=("$1") ;;
    esac
    shift
done
if [ ${#models[@]} -eq 0 ]; then
    sed -n '3,9s/^# \{0,1\}//p' "$0"
    exit 2
fi

# 75 ids below 128, so that every vocabulary has them: more than a page of 64, no multiple of any chunk.
prompt=$(awk 'BEGIN { for (i = 0; i < 75; i++) printf "%s%d", i ? "," : "", (i * 37 + 11) % 100 + 3 }')
n_generated=24

ids_of()
{
    python3 -c 'import json, sys; print(*json.load(open(sys.argv[1]))["ids"])' "$1"
}

# run OUT NP THREADS CHUNK ISA options...: leaves OUT.json and OUT.logits. NP 0: without mpirun.
run()
{
    local out=$1 np=$2 threads=$3 chunk=$4 isa=$5
    shift 5
    local split=()
    if [ "$np" -gt "$most_ranks" ]; then
        split=(--split "$(awk -v n="$np" -v layers="$n_layers" 'BEGIN { for (i = 0; i < n; i++) printf "%s%d", i ? "," : "", (i >= 1 && i <= layers) }')")
    fi
    local command=("$LLM" -m "$model" ${split[@]+"${split[@]}"} --ids "$prompt" -n "$n_generated" -t "$threads" -ub "$chunk" --isa "$isa" --json
        --logits-out "$out.logits" "$@")
    if [ "$np" = 0 ]; then
        timeout -k 5 120 "${command[@]}" </dev/null >"$out.json" 2>"$out.err"
    else
        run_ranks "$np" "${command[@]}" >"$out.json" 2>"$out.err"
    fi
}

# compare NP THREADS CHUNK ISA options...: one run against the yardstick of the same sampling options.
compare()
{
    local label="${model##*/}: -np $1 -t $2 -ub $3 --isa $4 ${*:5}"
    local out=$work/out reference
    reference=$work/reference.$(cksum <<<"$model ${*:5}" | cut -d' ' -f1)
    if [ ! -e "$reference.json" ]; then
        if ! run "$reference" 0 1 512 scalar "${@:5}"; then
            failed "$label: the first run failed: $(cat "$reference.err")"
            return
        fi
        if [ ! -s "$reference.logits" ] || [ -z "$(ids_of "$reference.json")" ]; then
            failed "$label: the first run gave no ids or no logits"
            return
        fi
    fi
    rm -f "$out".*
    if ! run "$out" "$@"; then
        failed "$label: $(tail -n 3 "$out.err")"
    elif [ "$(ids_of "$out.json")" != "$(ids_of "$reference.json")" ]; then
        failed "$label: ids $(ids_of "$out.json"), expected $(ids_of "$reference.json")"
    elif ! cmp "$out.logits" "$reference.logits" >&2; then
        failed "$label: other logits"
    else
        passed
    fi
}

sampled=(--temp 0.9 --top-k 40 --top-p 0.95 -s 7)
greedy=(--temp 0)
listed=(--temp 1.1 --repeat-penalty 1.2 --presence-penalty 0.3 -l 5+2 -l 9-inf --logprobs 4 -s 3)
every=(--temp 0.7 --top-k 0 --typical 0.9 -s 11)
for model in "${models[@]}"; do
    # Asking for an instruction set that the machine lacks, or for more ranks than there are layers, is the user's error: exit status 2.
    isas=
    for isa in scalar avx2 avx512novnni avx512 neon; do
        run "$work/probe" 0 1 512 $isa "${greedy[@]}"
        case $? in
        0) isas="$isas $isa" ;;
        2) ;;
        *) failed "${model##*/}: --isa $isa: $(cat "$work/probe.err")" ;;
        esac
    done
    nps="1 2 3 4"
    n_layers=$(n_layers_of "$model")
    most_ranks=$((n_layers + 1 > min_ranks ? n_layers + 1 : min_ranks)) # rank 0 may own none
    echo "${model##*/}: $n_layers layers, instruction sets$isas"
    if [ $full = 1 ]; then
        for np in $nps; do
            for threads in 1 2; do
                for chunk in 1 7 64 512; do
                    for isa in $isas; do
                        compare $np $threads $chunk $isa "${greedy[@]}"
                        compare $np $threads $chunk $isa --temp 0.8 -s 7
                    done
                done
            done
            compare $np 2 64 auto "${sampled[@]}"
            for chunk in 1 64; do # the divided head, in its three ways: best tokens, listed ones as well, every logit
                compare $np 1 $chunk auto "${sampled[@]}" --split-head on
                compare $np 1 $chunk auto "${listed[@]}" --split-head on
                compare $np 1 $chunk auto "${every[@]}" --split-head on
            done
        done
    else
        for isa in $isas; do
            compare 2 2 64 $isa "${greedy[@]}"
        done
        compare 1 1 1 auto "${greedy[@]}"
        compare 1 2 7 auto "${greedy[@]}"
        compare 3 1 7 auto "${listed[@]}" --split-head on
        compare 2 1 64 auto "${every[@]}" --split-head on
        compare 4 2 512 auto "${sampled[@]}" --split-head on
        for np in $nps; do
            compare $np 1 512 auto "${greedy[@]}"
            compare $np 2 7 auto "${sampled[@]}"
        done
    fi
done
finish
