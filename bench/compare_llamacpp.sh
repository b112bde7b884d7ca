#!/usr/bin/env bash
# Speed of llm and of llama.cpp's llama-bench on the same file, interleaved. SPDX-License-Identifier: MIT
# Usage: bench/compare_llamacpp.sh MODEL [--llama-bench PATH] [--threads 1,2] [--reps 5] [--csv FILE]   (--help for all)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/compare_llamacpp.py" "$@"
