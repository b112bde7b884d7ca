#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The one place that knows the names of the distribution's packages (Debian 12, Ubuntu 22.04 and 24.04).
#   tests/packages.sh SET...         installs what is missing of the sets, after saying what
#   tests/packages.sh --list SET...  only prints the names of what is missing
# A package counts as there when it is installed or when what it is wanted for works without it (an Open MPI in /opt, say).
set -euo pipefail

# set | package | shell test for what the package is wanted for
table='
build | build-essential  | command -v cc && command -v c++ && command -v make
build | cmake            | command -v cmake
build | pkg-config       | command -v pkg-config
build | libopenmpi-dev   | command -v mpicc
build | openmpi-bin      | command -v mpirun
build | openssh-client   | command -v ssh
build | libhwloc-dev     | pkg-config --exists hwloc
build | libpcre2-dev     | pkg-config --exists libpcre2-8
build | libjansson-dev   | pkg-config --exists jansson
model | ca-certificates  | test -e /etc/ssl/certs/ca-certificates.crt
model | python3          | command -v python3
model | python3-pip      | python3 -m pip --version
test  | python3          | command -v python3
test  | python3-numpy    | /usr/bin/python3 -c "import numpy"
test  | iproute2         | command -v ip
test  | spin             | command -v spin
test  | libboost-context-dev | test -e /usr/include/boost/context/detail/fcontext.hpp
clang | clang            | command -v clang
lint  | clang-format     | command -v clang-format
lint  | clang-tidy       | command -v clang-tidy
lint  | cppcheck         | command -v cppcheck
lint  | shellcheck       | command -v shellcheck
'

list_only=0
if [ "${1:-}" = --list ]; then
    list_only=1
    shift
fi
if [ $# -eq 0 ]; then
    sed -n '3,6s/^# \{0,1\}//p' "$0"
    exit 2
fi

missing=()
while IFS='|' read -r group package check; do
    group=${group// /} package=${package// /}
    case " $* " in
    *" $group "*) ;;
    *) continue ;;
    esac
    case " ${missing[*]:-} " in
    *" $package "*) continue ;;
    esac
    if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
        eval "$check" >/dev/null 2>&1; then
        continue
    fi
    missing+=("$package")
done < <(grep '|' <<<"$table")

if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi
if [ $list_only = 1 ]; then
    echo "${missing[*]}"
    exit 0
fi

if ! command -v apt-get >/dev/null; then
    echo "These are missing (named as in Debian); please install them: ${missing[*]}" >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "Please run as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "Installing: ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for step in "update" "install -y --no-install-recommends ${missing[*]}"; do
    # shellcheck disable=SC2086 # the step is words
    if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q $step </dev/null >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "apt-get $step failed" >&2
        exit 1
    fi
done
