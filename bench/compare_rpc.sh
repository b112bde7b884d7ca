#!/usr/bin/env bash
# Speed of llm and of llama.cpp's RPC mode with the same model over the same hosts, interleaved. SPDX-License-Identifier: MIT
# Usage: bench/compare_rpc.sh MODEL --peer llama-build/bin [--hostfile FILE --network CIDR] [--reps 5] [--csv FILE]   (--help for all)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/compare_rpc.py" "$@"
