"""Host names to addresses, in bounded time: ``getaddrinfo`` itself waits as long as the resolver likes."""

from __future__ import annotations

import socket

from jenkins_release.base.aside import aside
from jenkins_release.base.errors import RemoteError

_HINT = "look at /etc/resolv.conf and at the VPN"


def addresses(host: str, limit_s: float) -> list[str]:
    """Return the addresses of a host, in the order in which to try them.

    Args:
        host: Name or address.
        limit_s: Longest wait, in seconds.

    Raises:
        RemoteError: The name is unknown, or the resolver does not answer.
        Stopped: The process was asked to stop.
    """
    try:
        found = aside(
            lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM),
            what=f"the name {host} to be resolved",
            limit_s=limit_s,
        )
    except TimeoutError as error:
        raise RemoteError(
            f"no name server said within {limit_s:g} s where {host} is", hint=_HINT, retryable=True
        ) from error
    except (OSError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise RemoteError(
            f"the name {host} is not known here: {said}",
            hint=f"correct the name; if it is right, {_HINT}",
        ) from error
    return list(dict.fromkeys(str(each[4][0]) for each in found))
