#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# From a fresh clone to generated text: installs what is missing, builds, fetches a small model, runs it on two ranks.
#   ./demo.sh [PROMPT]
set -euo pipefail
cd "$(dirname "$0")"
prompt=${1:-"The capital of France is Paris. The capital of Italy is"}

tests/packages.sh build model

log=build/demo.log
mkdir -p build
echo "Building (log: $log)" >&2
if ! { cmake -S . -B build && cmake --build build --parallel "$(nproc)"; } >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    exit 1
fi

model=$(tests/fetch_model.sh)

options=()
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# mpirun counts a machine's cores and refuses more ranks than those.
if ! mpirun -np 2 true >/dev/null 2>&1; then
    options+=(--oversubscribe)
fi
set -x
exec mpirun "${options[@]}" -np 2 ./llm -m "$model" -p "$prompt" -n 64 --temp 0
