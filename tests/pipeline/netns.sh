#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Two pretend machines on one: network namespaces joined by a virtual cable, each with its own host name, ranks placed by a hostfile.
# The ids must be those of a run without mpirun. Needs root and namespaces, else exit status 77.
#   netns.sh MODEL
. "$(dirname "$0")/common.sh"
[ $# -eq 1 ] || { sed -n '3,5s/^# \{0,1\}//p' "$0"; exit 2; }
model=$(realpath "$1")

command -v ip >/dev/null || skip "no ip command (package iproute2)"
a=llm$$a
b=llm$$b
remove_machines()
{
    local name pid
    for name in $a $b; do
        for pid in $(ip netns pids $name 2>/dev/null); do
            kill -9 "$pid" 2>/dev/null
        done
        ip netns delete $name 2>/dev/null
    done
    clean_up
}
trap remove_machines EXIT
if ! { unshare --net --uts true && ip netns add $a && ip netns add $b; } 2>"$work/why"; then
    skip "no namespaces here: $(tail -n 1 "$work/why")"
fi
if ! ip -n $a link add name cable type veth peer name cable netns $b 2>"$work/why"; then
    skip "no virtual cables here: $(tail -n 1 "$work/why")"
fi
network=10.213.77
i=1
for name in $a $b; do
    ip -n $name link set lo up
    ip -n $name address add $network.$i/24 dev cable
    ip -n $name link set cable up
    i=$((i + 1))
done

# mpirun calls its agent as ssh: agent HOST COMMAND...
cat >"$work/agent" <<AGENT
#!/bin/sh
shift
exec ip netns exec $b unshare --uts sh -c "hostname llm-b; \$*" </dev/null
AGENT
chmod +x "$work/agent"
printf '# two pretend boards\n%s.1 slots=1\n%s.2 slots=1\n' $network $network >"$work/hosts"

options=(-m "$model" --ids "3,4,5,6,7,8,9" -n 24 --temp 0 --json)
ids_of()
{
    python3 -c 'import json, sys; print(*json.load(open(sys.argv[1]))["ids"])' "$1" 2>&1
}
"$LLM" "${options[@]}" </dev/null >"$work/one.json" 2>"$work/one.err" || failed "one rank: $(cat "$work/one.err")"

# -x: what marks our processes goes to the other machine too.
timeout -k 5 60 ip netns exec $a unshare --uts sh -c 'hostname llm-a; exec "$@"' sh \
    mpirun -np 2 --hostfile "$work/hosts" --map-by node --bind-to none -x LLM_TEST_ID \
    --mca plm_rsh_agent "$work/agent" --mca oob_tcp_if_include $network.0/24 --mca btl_tcp_if_include $network.0/24 \
    --mca pml ob1 --mca btl self,tcp "$LLM" "${options[@]}" </dev/null >"$work/two.json" 2>"$work/two.err"
status=$?
if [ $status != 0 ]; then
    failed "two machines: exit status $status: $(tail -n 20 "$work/two.err")"
elif [ "$(ids_of "$work/two.json")" != "$(ids_of "$work/one.json")" ]; then
    failed "two machines: ids $(ids_of "$work/two.json"), expected $(ids_of "$work/one.json")"
elif ! grep -q llm-b "$work/two.err"; then
    failed "two machines: nothing about host llm-b on stderr: $(cat "$work/two.err")"
else
    passed
fi
finish
