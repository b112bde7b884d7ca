#!/bin/sh
# Makes what a machine needs to build and run the program for 64-bit Arm without Arm hardware: the cross compiler, qemu's
# user-mode emulator, and a folder with the arm64 libraries (the sysroot). Running it again changes nothing.
# SPDX-License-Identifier: MIT
#
# usage: tests/aarch64/setup.sh        prints the sysroot's path as its last line
# LLM_SYSROOT   where the sysroot is or goes (default ~/.cache/llm/sysroot-arm64, about 460 MB)
# LLM_SUITE     Debian or Ubuntu release to take the libraries from (default: the running system's)
set -eu

sysroot=${LLM_SYSROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/llm/sysroot-arm64}
libraries=libc6-dev,libgcc-s1,libopenmpi-dev,libhwloc-dev,libpcre2-dev,libjansson-dev
stamp=$sysroot/.llm-sysroot

missing=
for tool in aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu qemu-aarch64-static:qemu-user-static mmdebstrap:mmdebstrap \
            pkg-config:pkg-config; do
    command -v "${tool%%:*}" >/dev/null 2>&1 || missing="$missing ${tool#*:}"
done
if [ -n "$missing" ]; then
    as_root=
    [ "$(id -u)" -eq 0 ] || as_root=sudo
    $as_root apt-get update -q >&2
    # shellcheck disable=SC2086 # a list of package names
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -q --no-install-recommends $missing libc6-dev-arm64-cross >&2
fi

if [ "$(cat "$stamp" 2>/dev/null)" != "$libraries" ]; then
    . /etc/os-release
    suite=${LLM_SUITE:-${VERSION_CODENAME:?set LLM_SUITE: /etc/os-release names no release}}
    components=main
    [ "${ID:-debian}" != ubuntu ] || components=main,universe
    if [ -e "$sysroot" ] && [ ! -e "$stamp" ] && [ -n "$(ls -A "$sysroot")" ]; then
        echo "$sysroot exists and was not made by this script: remove it or set LLM_SYSROOT" >&2
        exit 2
    fi
    rm -rf "$sysroot.new"
    mkdir -p "$(dirname "$sysroot")"
    # Only unpacked, never configured: nothing in it is run but the libraries that our own program loads.
    mmdebstrap --arch=arm64 --variant=extract --components=$components --include=$libraries "$suite" "$sysroot.new" >&2
    # Development links to /lib/... would leave the sysroot.
    find "$sysroot.new/usr/lib/aarch64-linux-gnu" -maxdepth 1 -name '*.so' -type l -lname '/lib/*' | while read -r link; do
        ln -sf "../../..$(readlink "$link")" "$link"
    done
    echo "$libraries" > "$sysroot.new/.llm-sysroot"
    rm -rf "$sysroot"
    mv "$sysroot.new" "$sysroot"
fi
echo "$sysroot"
