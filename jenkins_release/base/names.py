"""Names that are valid in a path on the share, on Linux and Windows alike.

The reserved names and characters are those of "Naming Files, Paths, and Namespaces" in
Microsoft's Win32 documentation; SMB servers on Linux accept more, Windows clients do not.
"""

from __future__ import annotations

import re

from jenkins_release.base.errors import ConfigurationError

MAX_NAME = 120
"""Longest single name, in characters; leaves room below the share in a path of 260."""
MAX_PATH = 220
"""Longest path below the share's root, in characters."""

_ILLEGAL = re.compile(r'[\x00-\x1f<>:"/\\|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_EXAMPLES = {"product": "SkyDRM", "version": "8.1.0"}
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def name_problem(name: str) -> str | None:
    """Say why ``name`` cannot be a single name in a path on the share, or None when it can."""
    if not name:
        return "is empty"
    if len(name) > MAX_NAME:
        return f"has {len(name)} characters, at most {MAX_NAME} are allowed"
    if name in {".", ".."}:
        return "names a folder above or the same folder"
    if found := _ILLEGAL.search(name):
        return f"contains {found.group()!r}, which is not allowed in a file name"
    if name.endswith((" ", ".")):
        return "ends with a space or a full stop, which Windows drops"
    if _RESERVED.fullmatch(name):
        return "is a device name that Windows reserves"
    return None


def check_identifier(what: str, value: str) -> str:
    """Check a product, version or build: a single name of letters, digits and ``. _ + -``.

    Args:
        what: What it is, for the message, such as ``version``.
        value: The value to check.

    Returns:
        The value, unchanged.

    Raises:
        ConfigurationError: It cannot be a folder name; the message says why.
    """
    problem = name_problem(value)
    if problem is None and not _PLAIN.fullmatch(value):
        problem = "must begin with a letter or digit and contain only letters, digits and . _ + -"
    if problem is not None:
        shown = value if len(value) <= 60 else f"{value[:57]}..."
        raise ConfigurationError(
            f"{what} {shown!r} {problem}",
            hint=f"give a {what} such as {_EXAMPLES.get(what, '42')!r}: it becomes a folder name",
        )
    return value


def check_path(path: str) -> list[str]:
    """Split a path below the share's root into its names.

    Args:
        path: Names with ``/`` between them; empty for the root itself.

    Returns:
        The names; an empty list for the root.

    Raises:
        ConfigurationError: A name is invalid, or the path is too long.
    """
    if path == "":
        return []
    if len(path) > MAX_PATH:
        raise ConfigurationError(
            f"path {path[:60]!r}... has {len(path)} characters, at most {MAX_PATH} are allowed",
            hint="shorten the product, version or file name: Windows clients allow 260 characters in all",
        )
    names = path.split("/")
    for name in names:
        problem = name_problem(name)
        if problem is not None:
            raise ConfigurationError(
                f"path {path!r}: the name {name!r} {problem}", hint="rename the file or folder"
            )
    return names
