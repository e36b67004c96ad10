"""A network of the benchmarks' own, in which a line of 1 Gbit/s is made by the kernel.

The whole run moves into a network namespace (network_namespaces(7)): its loopback carries nothing
but the benchmark's own servers, so ``tc`` can shape it and no other program notices.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence

from jenkins_release.base.errors import RemoteError

_OURS = "JENKINS_RELEASE_BENCH_NETWORK"
_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
_BURST = 256 * 1024


def enter_own_network(module: str) -> None:
    """Start the running command again in a network of its own, where this machine allows it.

    Args:
        module: What ``python -m`` is to run there, with the same arguments.
    """
    if _OURS in os.environ:
        if os.environ[_OURS] == "own":
            subprocess.run([_program("ip"), "link", "set", "lo", "up"], check=True)
        return
    os.environ[_OURS] = "shared"
    programs = [shutil.which(name, path=_search()) for name in ("unshare", "ip", "tc")]
    if os.geteuid() != 0 or not all(programs):
        return
    unshare = str(programs[0])
    if subprocess.run([unshare, "--net", "true"], check=False, capture_output=True).returncode == 0:
        os.environ[_OURS] = "own"
        os.execv(unshare, [unshare, "--net", sys.executable, "-m", module, *sys.argv[1:]])  # noqa: S606


def own_network() -> bool:
    """Whether this process is in a network of its own."""
    return os.environ.get(_OURS) == "own"


@contextlib.contextmanager
def shaped(ports: Sequence[int], rate: int) -> Iterator[None]:
    """Let what servers send and are sent share a line for the length of the block.

    tc-htb(8) with tc-u32(8) filters: all ports together share one class for each direction, as they
    would a full-duplex line.

    Args:
        ports: The servers' ports.
        rate: Bytes per second and direction.

    Raises:
        RemoteError: The kernel refuses.
    """
    tc, lo = _program("tc"), ["dev", "lo"]
    limit = ["htb", "rate", f"{rate * 8}bit", "burst", str(_BURST), "cburst", str(_BURST), "quantum", "60000"]
    commands = [
        ["qdisc", "add", *lo, "root", "handle", "1:", "htb", "default", "1"],
        ["class", "add", *lo, "parent", "1:", "classid", "1:1", "htb", "rate", "100gbit", "quantum", "60000"],
        ["class", "add", *lo, "parent", "1:", "classid", "1:10", *limit],
        ["class", "add", *lo, "parent", "1:", "classid", "1:20", *limit],
    ]
    for port in ports:
        for end, line in (("dport", "1:10"), ("sport", "1:20")):
            match = ["u32", "match", "ip", end, str(port), "0xffff", "flowid", line]
            commands.append(["filter", "add", *lo, "parent", "1:", "protocol", "ip", "prio", "1", *match])
    try:
        for words in commands:
            done = subprocess.run([tc, *words], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise RemoteError(f"tc {' '.join(words)}: {done.stderr.strip()}")
        yield
    finally:
        subprocess.run([tc, "qdisc", "del", *lo, "root"], capture_output=True, check=False)


def _program(name: str) -> str:
    return shutil.which(name, path=_search()) or name


def _search() -> str:
    return f"{os.environ.get('PATH', '')}:{_PATH}"
