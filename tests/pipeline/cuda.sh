#!/usr/bin/env bash
# Layers on a GPU: the CPU's ids and logits to the bit, for every division over ranks and devices. SPDX-License-Identifier: MIT
#   [LLM=PROGRAM] cuda.sh MODEL.gguf ...    skips where the program finds no GPU
#   --shared instead of a model: stories260K and llama-dense of ../shared/data
# shellcheck source=tests/pipeline/common.sh
. "$(dirname "$0")/common.sh"
[ $# -ge 1 ] || skip "usage: cuda.sh MODEL.gguf ..."
if [ "$1" = --shared ]; then
    shared=${LLM_SHARED_DATA:-$root/../shared/data}
    [ -f "$shared/README.md" ] || skip "no test data in $shared"
    set -- "$shared/models/stories260K.gguf" "$shared/tiny-models/llama-dense.gguf"
fi
"$LLM" info --devices 2>/dev/null | grep -q '^  GPU ' || skip "no GPU here, or a program without CUDA"
export RUN_LIMIT_S=300

prompt=$(awk 'BEGIN { for (i = 0; i < 69; i++) printf "%s%d", i ? "," : "", (i * 37 + 11) % 100 + 3 }') # more than a page of 64

# run OUT NP options...
run()
{
    local out=$1 np=$2
    shift 2
    local command=("$LLM" -m "$model" --ids "$prompt" -n 6 -t 1 -c 96 -ub 48 --json --ignore-eos --logits-out "$out.logits" "$@")
    if [ "$np" = 1 ]; then
        timeout -k 5 "$RUN_LIMIT_S" "${command[@]}" </dev/null >"$out.json" 2>"$out.err"
    else
        run_ranks "$np" "${command[@]}" >"$out.json" 2>"$out.err"
    fi
}

# field FILE EXPRESSION: of the result `r`
field()
{
    python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"
}

# compare REFERENCE DEVICES GPU_LAYERS NP options...: DEVICES and GPU_LAYERS as the ranks should report them.
compare()
{
    local reference=$1 devices=$2 layers=$3 label="${model##*/}: -np ${*:4}" out=$work/out
    rm -f "$out".*
    if ! run "$out" "${@:4}"; then
        failed "$label: $(tail -n 3 "$out.err")"
    elif [ "$(field "$out.json" 'r["ids"]')" != "$(field "$reference.json" 'r["ids"]')" ]; then
        failed "$label: ids $(field "$out.json" 'r["ids"]'), expected $(field "$reference.json" 'r["ids"]')"
    elif ! cmp "$out.logits" "$reference.logits" >&2; then
        failed "$label: other logits"
    elif [ "$(field "$out.json" '",".join(x["device"] for x in r["ranks"])')" != "$devices" ]; then
        failed "$label: ran on $(field "$out.json" '",".join(x["device"] for x in r["ranks"])'), expected $devices"
    elif [ "$(field "$out.json" 'sum(x["gpu_layers"] for x in r["ranks"])')" != "$layers" ]; then
        failed "$label: $(field "$out.json" '[x["gpu_layers"] for x in r["ranks"]]') layers on the GPU, expected $layers"
    else
        passed
    fi
}

# --gpu-math fast: a prompt of 260 in one step gives other logits than the CPU, but near ones. Random weights and int8 activations make much of
# little: keys and values in f32 instead of f16 are 3 % apart too (mean square).
near()
{
    local ids status least=0 # F32 weights stay F32
    local -x CUDA_HOST_SM=90 # GPUs before that multiply quantised weights exactly
    "$LLM" info --devices | grep -q sm_8 || least=1e-9
    ids=$(awk 'BEGIN { for (i = 0; i < 260; i++) printf "%s%d", i ? "," : "", (i * 31 + 5) % 100 + 3 }')
    run "$work/cpu" 1 --ids "$ids" -c 320 -ub 260 -n 1 --temp 0 --device cpu || failed "${model##*/}: on the CPU: $(cat "$work/cpu.err")"
    if ! run "$work/fast" 1 --ids "$ids" -c 320 -ub 260 -n 1 --temp 0 --device cuda --gpu-math fast; then
        grep -q 'needs cuBLAS: no lib' "$work/fast.err" && echo "no cuBLAS here" && return
        failed "${model##*/}: --gpu-math fast: $(cat "$work/fast.err")"
    fi
    status=$(python3 -c 'import array, sys
exact, fast = (array.array("f", open(name, "rb").read()) for name in sys.argv[1:3])
far = (sum((a - b) ** 2 for a, b in zip(exact, fast)) / sum(a * a for a in exact)) ** 0.5
print("near" if len(exact) == len(fast) and float(sys.argv[3]) <= far < 0.1 else f"{far:.3g} of their size apart")' "$work/cpu.logits" "$work/fast.logits" $least)
    if [ "$status" = near ]; then
        passed
    else
        failed "${model##*/}: --gpu-math fast: logits $status"
    fi
}

# refused PATTERN options...
refused()
{
    local pattern=$1 status
    shift
    run "$work/out" 1 "$@"
    status=$?
    if [ $status = 2 ] && [ "$(wc -l <"$work/out.err")" = 1 ] && grep -q -E -- "$pattern" "$work/out.err"; then
        passed
    else
        failed "$*: exit status $status, \"$(cat "$work/out.err")\" instead of one line with \"$pattern\""
    fi
}

# Eight requests of different lengths and samplers at once, as `llm batch` answers them.
batch_of_eight()
{
    local device
    awk 'BEGIN { for (i = 0; i < 8; i++) {
        printf "{\"ids\": ["; for (j = 0; j <= 9 * i; j++) printf "%s%d", j ? "," : "", (j * 29 + 7 * i) % 100 + 3
        printf "], \"max_tokens\": %d, \"temperature\": %s, \"seed\": %d}\n", 3 + i, i % 2 ? "0.9" : "0", i } }' >"$work/requests"
    for device in cpu cuda; do
        timeout -k 5 "$RUN_LIMIT_S" "$LLM" batch -m "$model" -i "$work/requests" -o "$work/$device.jsonl" -c 96 -q --ignore-eos --device $device \
            </dev/null 2>"$work/out.err" || failed "${model##*/}: batch on $device: $(cat "$work/out.err")"
        python3 -c 'import json, sys
for line in open(sys.argv[1]): print(json.loads(line)["ids"])' "$work/$device.jsonl" >"$work/$device.ids"
    done
    if [ "$(wc -l <"$work/cuda.ids")" = 8 ] && cmp "$work/cpu.ids" "$work/cuda.ids" >&2; then
        passed
    else
        failed "${model##*/}: batch of eight: other ids"
    fi
}

for model in "$@"; do
    n=$(n_layers_of "$model")
    echo "${model##*/}: $n layers"
    for cache in f16 q8_0; do
        kv=(--temp 0 -ctk "$cache" -ctv "$cache")
        run "$work/$cache" 1 --device cpu "${kv[@]}" || failed "${model##*/}: on the CPU: $(cat "$work/$cache.err")"
        compare "$work/$cache" cuda:0 "$n" 1 --device cuda "${kv[@]}"
    done
    kv=(--temp 0 -ctk f16 -ctv f16)
    compare "$work/f16" cuda:0 "$n" 1 "${kv[@]}" --no-gpu-graphs
    compare "$work/f16" cpu+cuda:0 0 1 "${kv[@]}" -ngl 1
    compare "$work/f16" cpu+cuda:0 1 1 "${kv[@]}" -ngl 2
    compare "$work/f16" cpu 0 1 "${kv[@]}" -ngl 0
    compare "$work/f16" cuda:0,cuda:0 "$n" 2 "${kv[@]}" --device cuda
    compare "$work/f16" cuda:0,cuda:0 "$n" 2 "${kv[@]}" -ngl all --split-head on
    compare "$work/f16" cpu,cuda:0 1 2 "${kv[@]}" --device cpu,cuda --split $((n - 1)),1
    batch_of_eight
    near
done
model=$1
refused 'no GPU 9' --gpu 9
refused '-ngl is "most"' -ngl most
refused '--gpu-math is "quick", expected one of: exact fast' --gpu-math quick
finish
