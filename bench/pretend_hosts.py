"""Hosts to measure on: those of a hostfile, or network namespaces of this machine with a core each. SPDX-License-Identifier: MIT"""
import os
import shlex
import subprocess
import tempfile


class Namespaces:
    """n pretend hosts behind one bridge; needs root. Host i has the address address(i) and, of the cores, `threads` of its own."""

    def __init__(self, n, threads):
        self.folder = tempfile.mkdtemp(prefix="llm-rpc-")
        self.names = ["llmrpc%d-%d" % (os.getpid(), i) for i in range(n)]
        self.bridge = "llmrpc%d" % os.getpid()
        self.threads, self.network, self.where = threads, "10.213.88.0/24", "%d network namespaces of this machine" % n

    def open(self):
        run = lambda line: subprocess.run(line.split(), check=True)
        run("ip link add %s type bridge" % self.bridge)
        run("ip link set %s up" % self.bridge)
        for i, name in enumerate(self.names):
            cable = "%s.%d" % (self.bridge, i)
            run("ip netns add %s" % name)
            run("ip link add %s type veth peer name cable netns %s" % (cable, name))
            run("ip link set %s master %s up" % (cable, self.bridge))
            run("ip -n %s link set lo up" % name)
            run("ip -n %s address add %s/24 dev cable" % (name, self.address(i)))
            run("ip -n %s link set cable up" % name)
        # mpirun calls its agent as ssh: agent HOST COMMAND...
        with open(self.folder + "/agent", "w") as f:
            f.write("#!/bin/sh\ncase $1 in\n")
            for i, name in enumerate(self.names):
                f.write("%s) name=%s cores=%s ;;\n" % (self.address(i), name, self.cores(i)))
            f.write('esac\nshift\nexec ip netns exec $name unshare --uts sh -c "hostname $name; taskset -cp $cores \\$\\$ >/dev/null; $*"'
                    " </dev/null\n")
        os.chmod(self.folder + "/agent", 0o755)
        with open(self.folder + "/hosts", "w") as f:
            f.writelines("%s slots=1\n" % self.address(i) for i in range(len(self.names)))

    def close(self):
        for name in self.names:
            listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
            for pid in listed.stdout.split():
                subprocess.run(["kill", "-9", pid], stderr=subprocess.DEVNULL)
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "link", "delete", self.bridge], stderr=subprocess.DEVNULL)
        for name in ("agent", "hosts"):
            if os.path.exists(self.folder + "/" + name):
                os.remove(self.folder + "/" + name)
        os.rmdir(self.folder)

    def __len__(self):
        return len(self.names)

    def address(self, i):
        return "10.213.88.%d" % (i + 1)

    def cores(self, i):
        first = i * self.threads % os.cpu_count()
        return "%d-%d" % (first, min(first + self.threads, os.cpu_count()) - 1)

    def on(self, i, command, bound=True):
        """The command on host i; bound to the host's cores, or free to use all."""
        return ["ip", "netns", "exec", self.names[i]] + (["taskset", "-c", self.cores(i)] if bound else []) + command

    def mpirun(self, command):
        name = self.names[0]
        return self.on(0, ["unshare", "--uts", "sh", "-c", 'hostname %s; exec "$@"' % name, "sh", "mpirun", "-q", "-np", str(len(self)),
                           "--hostfile", self.folder + "/hosts", "--map-by", "node", "--bind-to", "none", "--mca", "plm_rsh_agent",
                           self.folder + "/agent", "--mca", "oob_tcp_if_include", self.network, "--mca", "btl_tcp_if_include",
                           self.network, "--mca", "pml", "ob1", "--mca", "btl", "self,tcp"] + command)


class Hosts:
    """The hosts of a hostfile, reached by ssh; the first is this one."""

    def __init__(self, hostfile, network, threads):
        with open(hostfile) as f:
            lines = [line.split("#")[0].split() for line in f]
        self.addresses = [words[0] for words in lines if words]
        self.hostfile, self.network, self.threads = hostfile, network, threads
        self.where = "hosts " + " ".join(self.addresses)

    def open(self):
        pass

    def close(self):
        pass

    def __len__(self):
        return len(self.addresses)

    def address(self, i):
        return self.addresses[i]

    def on(self, i, command, bound=True):
        # -tt: what runs there ends when the connection does.
        return command if i == 0 else ["ssh", "-tt", "-o", "BatchMode=yes", self.addresses[i], shlex.join(command)]

    def mpirun(self, command):
        network = ["--mca", "btl_tcp_if_include", self.network, "--mca", "oob_tcp_if_include", self.network] if self.network else []
        return ["mpirun", "-q", "-np", str(len(self)), "--hostfile", self.hostfile, "--map-by", "node", "--bind-to",
                "none"] + network + command
