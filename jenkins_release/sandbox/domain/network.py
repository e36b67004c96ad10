"""A network of its own for the domain's servers (network_namespaces(7)).

Active Directory needs ports and addresses that a machine has only once: 445, 53, 88 and 389 at each server's
own address, and a DNS server that everybody asks. In a namespace the servers have them, and nothing of the
machine changes. Its only interface is ``lo``: nobody outside reaches it, and nothing in it reaches out. It
exists as long as a process runs in it.
"""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Sequence
from pathlib import Path

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.sandbox.process import find_program

_UTIL_LINUX = "util-linux"


def check_root() -> None:
    """Raise ConfigurationError unless this user may make a network."""
    if os.geteuid() != 0:
        raise ConfigurationError(
            "a domain has a network of its own, which only root may make",
            hint="run the command as root, such as with sudo",
        )


def begin(words: Sequence[str], addresses: Sequence[str], resolver: str) -> list[str]:
    """Return the command that runs another one in a new network.

    Args:
        words: Program and arguments.
        addresses: IPv4 addresses that exist in it, besides 127.0.0.1.
        resolver: What ``/etc/resolv.conf`` says there.

    Raises:
        ConfigurationError: A program is missing.
    """
    ip = find_program("ip", "iproute2")
    lines = ["set -e", f"{ip} link set lo up"]
    lines += [f"{ip} address add {address}/32 dev lo" for address in addresses]
    # Samba's programs find each other there, whatever their settings say.
    lines += ["mkdir -p /run/samba", "mount -t tmpfs tmpfs /run/samba"]
    lines += [f"printf %s {shlex.quote(resolver)} >/run/samba/resolv.conf"]
    lines += ["mount --bind /run/samba/resolv.conf /etc/resolv.conf", 'exec "$@"']
    unshare = find_program("unshare", _UTIL_LINUX)
    return [unshare, "--net", "--mount", "sh", "-c", "\n".join(lines), "sh", *words]


def enter(words: Sequence[str], pid: int) -> list[str]:
    """Return the command that runs another one in the network of a process.

    Raises:
        ConfigurationError: A program is missing.
    """
    nsenter = find_program("nsenter", _UTIL_LINUX)
    # Entering a mount namespace leads to its root folder.
    return [nsenter, f"--target={pid}", "--net", "--mount", "--", "env", f"--chdir={Path.cwd()}", *words]


def is_own(address: str) -> bool:
    """Whether this process is in a network that has the address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def listening(address: str, port: int) -> bool:
    """Whether something accepts TCP connections there."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((address, port)) == 0
