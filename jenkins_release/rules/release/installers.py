"""Whether the name of an installer contains its version."""

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
