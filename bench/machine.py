"""What every measurement names: the machine and the commit. SPDX-License-Identifier: MIT"""
import os
import platform
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


def machine():
    model = ""
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith(("model name", "Hardware")):
                model = line.split(":", 1)[1].strip()
                break
    return "%s, %d cores, %s" % (model or platform.machine(), os.cpu_count(), platform.release())


def commit():
    try:
        done = subprocess.run(["git", "-C", HERE, "describe", "--always", "--dirty"], capture_output=True, text=True)
    except OSError:  # no git here
        return "unknown"
    return done.stdout.strip() or "unknown"
