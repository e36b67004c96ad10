"""JSON documents of an archive, read so that no reader can understand them differently.

Docker reads them with Go's ``encoding/json``; :mod:`jenkins_release.base.strict_json` says what that means.
"""

from __future__ import annotations

import re
from typing import Any

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.strict_json import strict_json

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
"""A digest as the OCI image specification writes it (descriptor.md, "Digests")."""


def parse_document(name: str, data: bytes) -> Any:
    """Parse a JSON document strictly; its shape must be checked as well.

    Args:
        name: The member that contains it, for the message.
        data: Its bytes.

    Raises:
        IntegrityError: It is not a valid document.
    """
    return strict_json(data, name, maps=True)


def digest(document: dict[str, Any], key: str, where: str) -> str:
    """Return a field that must be a ``sha256:`` digest; the document's shape must have been checked."""
    return check_digest(document[key], f"{key!r} of {where}")


def check_digest(value: str, what: str) -> str:
    """Check that a value is a ``sha256:`` digest. Raises IntegrityError."""
    if not DIGEST.fullmatch(value):
        raise IntegrityError(f"{what} is {value[:100]!r}, expected sha256: and 64 hexadecimal digits")
    return value
