#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds and runs check_kernels with nothing but a C compiler: for a machine that has the instructions but not the libraries.
# Usage: tests/kernels/standalone.sh [FOLDER] [options of check_kernels]     (FOLDER: where to build, default /tmp/llm-kernels)
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:-/tmp/llm-kernels}
shift || true
mkdir -p "$folder"
flags=(-std=c11 -O3 -D_GNU_SOURCE -ffp-contract=off -I.)
avx2=(-mavx2 -mfma -mf16c)
avx512=("${avx2[@]}" -mavx512f -mavx512bw -mavx512vl -mavx512dq)
jobs=()
for source in src/core/{clock,dtype,error,math,thread_pool}.c kernels/*.c kernels/cpu/*.c kernels/cuda/no_cuda.c tests/kernels/{check_,bench_}*.c \
    tests/kernels/{guarded,machine,operands}.c; do
    extra=()
    case $(uname -m):$source in
    x86_64:*/no_x86.c | aarch64:*/no_neon.c | x86_64:*/neon*.c | aarch64:*/avx*.c) continue ;;
    *vnni.c) extra=("${avx512[@]}" -mavx512vnni) ;;
    */avx512*.c) extra=("${avx512[@]}") ;;
    */avx2*.c) extra=("${avx2[@]}") ;;
    */neon*.c) extra=(-march=armv8.2-a+dotprod) ;;
    esac
    object=$folder/$(echo "$source" | tr / _).o
    jobs+=("$object")
    "${CC:-cc}" "${flags[@]}" ${extra[@]+"${extra[@]}"} -c "$source" -o "$object" &
done
wait
"${CC:-cc}" "${jobs[@]}" -o "$folder/check_kernels" -lpthread -lm
exec "$folder/check_kernels" "$@"
