#!/usr/bin/env bash
# Everything that needs a real GPU, in one run, with a report. SPDX-License-Identifier: MIT
#   gpu.sh [--build DIR] [--peer LLAMA_BENCH] [--out REPORT.md] [--shapes "q4_k_m q8_0 q4_0"] [--model FILE ...]
# Builds in DIR (build-gpu) unless a program is there, checks results against the CPU's, then measures. Exit status: 1 when a check failed.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build-gpu
for ((i = 1; i < $#; i++)); do
    [ "${!i}" = --build ] && { next=$((i + 1)); build=${!next}; }
done
if [ ! -x "$build/src/llm" ]; then
    mpi=ON
    command -v mpicc >/dev/null || mpi=OFF
    cmake -B "$build" -DENABLE_CUDA=ON -DENABLE_MPI=$mpi >&2
    cmake --build "$build" --parallel "$(nproc)" >&2
fi
exec python3 tests/gpu/run.py --build "$build" "$@"
