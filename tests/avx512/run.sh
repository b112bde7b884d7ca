#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The AVX-512 and AVX-512 VNNI kernels on a machine without these instructions: check_kernels and kernel_hash, linked statically,
# in a small Linux under the Bochs emulator with an Ice Lake CPU. About four minutes, hence neither part of ctest nor of CI.
#   tests/avx512/run.sh [FOLDER]    FOLDER: where to build (default /tmp/llm-avx512)
# Exit status: 0 every table equals the scalar reference bit for bit; 1 it does not, or the machine did not get that far;
# 77 there is no emulator or no kernel to boot. Where they are missing, apt-get installs Bochs and isolinux and fetches a kernel.
# LLM_VMLINUZ: kernel image to boot (default: Debian's linux-image-cloud-amd64). LIMIT_S: seconds for the emulator (default 1800).
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:-/tmp/llm-avx512}
limit=${LIMIT_S:-1800}
mkdir -p "$folder"

skip()
{
    echo "skipped: $*" >&2
    exit 77
}

# find_tools: Bochs, its BIOS images, the boot loader, and what makes the CD image.
find_tools()
{
    local missing=() pair as_root=()
    [ "$(uname -m)" = x86_64 ] || skip "needs an x86-64 machine to compile for one"
    for pair in /usr/bin/bochs:bochs /usr/share/bochs/BIOS-bochs-latest:bochsbios /usr/share/vgabios/vgabios.bin:vgabios \
        /usr/lib/x86_64-linux-gnu/bochs/plugins/libbx_term_gui.so:bochs-term /usr/lib/ISOLINUX/isolinux.bin:isolinux \
        /usr/lib/syslinux/modules/bios/ldlinux.c32:syslinux-common /usr/bin/xorriso:xorriso /usr/bin/cpio:cpio; do
        [ -e "${pair%%:*}" ] || missing+=("${pair#*:}")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        command -v apt-get >/dev/null || skip "these are missing, and there is no apt-get: ${missing[*]}"
        [ "$(id -u)" = 0 ] || as_root=(sudo)
        echo "Installing: ${missing[*]}" >&2
        { ${as_root[@]+"${as_root[@]}"} apt-get -q update && ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
            apt-get -q install -y --no-install-recommends "${missing[@]}"; } >"$folder/apt.log" 2>&1 </dev/null ||
            skip "apt-get could not install ${missing[*]}: $(tail -n 1 "$folder/apt.log")"
    fi
    grep -q corei7_icelake_u <<<"$(bochs --help cpu 2>&1 || true)" || skip "this Bochs was built without AVX-512"
}

# find_kernel: sets vmlinuz.
find_kernel()
{
    local package
    vmlinuz=${LLM_VMLINUZ:-$folder/vmlinuz}
    if [ ! -e "$vmlinuz" ]; then
        package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: *\(linux-image-[^ ]*\)$/\1/p' |
            head -n 1)
        [ -n "$package" ] || skip "apt knows no linux-image-cloud-amd64: set LLM_VMLINUZ"
        rm -rf "$folder/kernel"
        mkdir "$folder/kernel"
        (cd "$folder/kernel" && apt-get -q download "$package" && dpkg -x ./*.deb .) >"$folder/apt.log" 2>&1 ||
            skip "apt-get could not fetch $package: $(tail -n 1 "$folder/apt.log")"
        cp "$folder"/kernel/boot/vmlinuz-* "$vmlinuz"
    fi
}

# build: one initramfs of /init, /check_kernels and /kernel_hash, and a CD image that boots it.
build()
{
    local objects=$folder/objects root=$folder/root iso=$folder/iso kernels
    rm -rf "$objects" "$root" "$iso"
    mkdir "$root" "$iso"
    tests/kernels/standalone.sh "$objects" --isa scalar
    kernels=("$objects"/src_*.o "$objects"/kernels_*.o)
    "${CC:-cc}" -static "$objects"/*.o -o "$root/check_kernels" -lpthread -lm
    "${CC:-cc}" -static -std=c11 -O2 -D_GNU_SOURCE -ffp-contract=off -I. tests/aarch64/kernel_hash.c "${kernels[@]}" \
        -o "$root/kernel_hash" -lpthread -lm
    "${CC:-cc}" -static -std=c11 -O2 -Wall -Wextra -D_GNU_SOURCE tests/avx512/init.c -o "$root/init"
    strip "$root"/*
    (cd "$root" && find . | cpio -o -H newc -R 0:0 --quiet) >"$iso/initrd"
    cp "$vmlinuz" "$iso/vmlinuz"
    cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$iso"
    # Where Bochs 2.7 and Linux disagree (size of XSAVE's area, address spaces, performance registers), Linux does without.
    # A console of 9600 baud would take longer than all the rest.
    printf 'DEFAULT linux\nPROMPT 0\nLABEL linux\n  KERNEL vmlinuz\n  INITRD initrd\n  APPEND %s %s\n' \
        "console=ttyS0,115200 quiet panic=1 mitigations=off nokaslr lpj=1000000 lsm=yama" \
        "clearcpuid=pku,xsaves,xsavec,aperfmperf,pcid,invpcid,smap,smep,fsgsbase,umip,erms,fsrm,rdpid,la57" >"$iso/isolinux.cfg"
    if ! xorriso -as mkisofs -quiet -o "$folder/boot.iso" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 \
        -boot-info-table "$iso" >"$folder/xorriso.log" 2>&1; then
        cat "$folder/xorriso.log" >&2
        exit 1
    fi
}

# boot: leaves what the serial line said in $folder/serial.txt.
boot()
{
    cat >"$folder/bochsrc" <<EOF
cpu: model=corei7_icelake_u, count=1, ips=20000000, reset_on_triple_fault=0
memory: guest=256, host=256
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
ata0-master: type=cdrom, path="$folder/boot.iso", status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev="$folder/serial.txt"
display_library: term
log: "$folder/bochs.log"
panic: action=fatal
error: action=report
info: action=report
debug: action=ignore
clock: sync=none
EOF
    rm -f "$folder/serial.txt"
    echo continue >"$folder/debugger" # Debian's Bochs starts in its debugger
    # The display library needs a terminal: script makes one. Bochs' exit status says nothing of the run inside it.
    TERM=xterm nice script -qec "timeout --foreground -k 5 $limit bochs -q -f '$folder/bochsrc' -rc '$folder/debugger'" \
        /dev/null </dev/null >"$folder/screen.txt" 2>&1 || true
}

find_tools
find_kernel
build
start=$(date +%s)
boot
[ -e "$folder/serial.txt" ] || : >"$folder/serial.txt"
tr -d '\r' <"$folder/serial.txt" | grep -a . >"$folder/result.txt" || true
cat "$folder/result.txt"
echo "$(($(date +%s) - start)) s in the emulator; its log: $folder/bochs.log"
for line in 'init: 0 commands failed' 'runs as "avx512")' 'runs as "avx512vnni")'; do
    if ! grep -aqF "$line" "$folder/result.txt"; then
        echo "FAILED: the emulated machine did not print: $line" >&2
        exit 1
    fi
done
echo "AVX-512 with and without VNNI: the same bits as the scalar reference"
