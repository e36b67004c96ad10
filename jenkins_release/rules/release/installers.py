"""Whether the name of an installer contains its version, and what it is without."""

from __future__ import annotations

import re

_SEPARATORS = "-._~+"


def names_version(name: str, version: str, build: str) -> bool:
    """Whether a file name contains this version, and not a longer one.

    The separators ``- . _ ~ +`` are equivalent, since package formats write them differently: an RPM cannot
    have ``-`` in its version. ``18.1.0`` and ``8.1.0.1`` are not ``8.1.0``, unless the additional number is
    the build's.

    Args:
        name: File name.
        version: Version, such as ``8.1.0-hotfix2``.
        build: Build number.
    """
    separator = f"[{re.escape(_SEPARATORS)}]"
    parts = [re.escape(part) for part in re.split(separator, version)]
    tail = rf"(?![0-9A-Za-z]*[0-9])(?!\.(?!{re.escape(build)}(?![0-9]))[0-9])"
    return re.search(rf"(?<![0-9])(?<![0-9]\.){separator.join(parts)}{tail}", name) is not None


def without_version(name: str, version: str, build: str) -> str:
    """Return a file name with its version, and a build that follows it, replaced by ``{version}``.

    That is how an installer is recognised in another version.
    """
    separator = f"[{re.escape(_SEPARATORS)}]"
    parts = [re.escape(part) for part in re.split(separator, version)]
    pattern = rf"(?<![0-9])(?<![0-9]\.){separator.join(parts)}(?:{separator}{re.escape(build)})?(?![0-9])"
    return re.sub(pattern, "{version}", name)
