#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Does a stranger's machine get there? Makes a fresh Debian in a folder, clones the repository into it, and runs the demo twice and
# then the tests there. Needs root, mmdebstrap and network.
#   tests/fresh_debian.sh [FOLDER [SUITE]]     default /tmp/fresh-debian bookworm; an existing folder is used again, its clone is not
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-/tmp/fresh-debian}
suite=${2:-bookworm}
[ "$(id -u)" = 0 ] || { echo "run as root: it makes a chroot" >&2; exit 1; }
command -v mmdebstrap >/dev/null || { echo "apt-get install mmdebstrap" >&2; exit 1; }

# Mounts in a namespace of their own: seen by nobody else, gone at the end.
if [ -z "${FRESH_DEBIAN_INSIDE:-}" ]; then
    FRESH_DEBIAN_INSIDE=1 exec unshare --mount "$0" "$folder" "$suite"
fi

if [ ! -e "$folder/etc/debian_version" ]; then
    mmdebstrap --variant=minbase --include=ca-certificates "$suite" "$folder"
fi
# As Debian's installer writes it; without localhost there, each start of an MPI program waits for the name server.
printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$(hostname)" >"$folder/etc/hosts"
# What this machine needs to reach the network, the chroot needs too.
cp /etc/resolv.conf "$folder/etc/resolv.conf"
cp -r /usr/local/share/ca-certificates "$folder/usr/local/share/" && chroot "$folder" update-ca-certificates >/dev/null
cp /etc/apt/apt.conf.d/*proxy* "$folder/etc/apt/apt.conf.d/" 2>/dev/null || true
[ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$folder/etc/pip.conf"

mount --bind "$folder" "$folder" # network namespaces want a mounted root
mount -t proc proc "$folder/proc"
mount -t sysfs -o ro sys "$folder/sys"
mount --bind /dev "$folder/dev"
mount --bind /dev/pts "$folder/dev/pts"
mount -t tmpfs tmpfs "$folder/dev/shm"

rm -rf "$folder/root/llm" "$folder/root/.cache/llm"
git clone --quiet --no-hardlinks "$root" "$folder/root/llm"

in_chroot()
{
    env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}" no_proxy="${no_proxy:-}" \
        chroot "$folder" /bin/bash -c "cd /root/llm && time $*" </dev/null
}
echo "=== demo, first time"
in_chroot ./demo.sh
echo "=== demo, second time"
in_chroot ./demo.sh
echo "=== tests"
in_chroot ./tests/run.sh
echo "=== passed in a fresh Debian $(cat "$folder/etc/debian_version")"
