"""Image names as Docker accepts them, in the short form that it shows.

Follows ``reference.ParseNormalizedNamed`` and ``FamiliarString`` of github.com/distribution/reference.
"""

from __future__ import annotations

import re

_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = re.compile(rf"{_HOST_PART}(?:\.{_HOST_PART})*(?::[0-9]+)?")
_NAME = re.compile(rf"({_PART}(?:/{_PART})*):[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}")
_ID = re.compile(r"[0-9a-f]{64}")
_MAX_NAME = 255


def familiar(text: str) -> str | None:
    """Return the short form of a name with a tag: ``docker.io/library/base:1`` is ``base:1``.

    Args:
        text: The name.

    Returns:
        The short form, or None if Docker would refuse the name or take it for an image id.
    """
    host, rest = _split(text)
    if host in {"docker.io", "index.docker.io"}:
        host, rest = "", rest
    found = _NAME.fullmatch(rest)
    name, _, tag = rest.rpartition(":")
    known = found and (not host or _HOST.fullmatch(host)) and not (not host and _ID.fullmatch(name))
    if not known or len(host) + len(name) + len("docker.io/library/") > _MAX_NAME:
        return None
    if not host and name == "sha256" and _ID.fullmatch(tag):
        return None
    if host:
        return f"{host}/{rest}"
    return rest.removeprefix("library/") if rest.count("/") == 1 else rest


def without_host(reference: str) -> str:
    """Return a name without the host of a registry: ``host:5000/rms:1`` is ``rms:1``."""
    return _split(reference)[1]


def _split(text: str) -> tuple[str, str]:
    host, _, rest = text.partition("/")
    if not rest or (not re.search(r"[.:]", host) and host != "localhost"):
        return "", text
    return host, rest
