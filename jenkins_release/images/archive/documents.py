"""JSON documents of an archive, read so that no two readers can understand them differently.

Go's ``encoding/json``, which Docker reads them with, matches keys without regard to case and lets
the last of several win; a document where that could matter is refused here.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn, TypeVar

from jenkins_release.errors import IntegrityError

T = TypeVar("T")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
"""A digest as the OCI image specification writes it (descriptor.md, "Digests")."""

_JSON_NAMES = {str: "a string", int: "a number", list: "a list", dict: "an object"}


def parse_document(name: str, data: bytes) -> Any:
    """Parse a JSON document strictly: UTF-8, no duplicate keys, no NaN.

    Args:
        name: The member that holds it, for the message.
        data: Its bytes.

    Raises:
        IntegrityError: It is not such a document.
    """
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{name} is not UTF-8, expected a JSON document") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise IntegrityError(f"{name} is not a valid JSON document: {reason}") from error


def field(document: Any, key: str, kind: type[T], where: str) -> T:
    """Return a field that must be there.

    Args:
        document: What should be an object.
        key: The field's name.
        kind: Type that the field must have.
        where: The document, for the message.

    Raises:
        IntegrityError: It is missing, of another type, or ambiguous.
    """
    value = optional(document, key, kind, where)
    if value is None:
        raise IntegrityError(f"{where} has no {key!r}, expected {_JSON_NAMES[kind]}")
    return value


def optional(document: Any, key: str, kind: type[T], where: str) -> T | None:
    """Return a field that may be missing or null. Raises IntegrityError as :func:`field`."""
    if not isinstance(document, dict):
        raise IntegrityError(f"{where} is {_shown(document)}, expected an object")
    alike = [name for name in document if name != key and name.casefold() == key.casefold()]
    if alike:
        raise IntegrityError(
            f"{where} has {alike[0]!r} where {key!r} is meant: programs differ in which one they read"
        )
    value = document.get(key)
    if value is None:
        return None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise IntegrityError(f"{where} has {key!r} = {_shown(value)}, expected {_JSON_NAMES[kind]}")
    return value


def strings(document: Any, key: str, where: str) -> list[str]:
    """Return a field that is a list of strings; empty when missing or null."""
    values = optional(document, key, list, where) or []
    for value in values:
        if not isinstance(value, str):
            raise IntegrityError(f"{where} has {_shown(value)} in {key!r}, expected strings")
    return values


def digest(document: Any, key: str, where: str) -> str:
    """Return a field that must be a ``sha256:`` digest."""
    return check_digest(field(document, key, str, where), f"{key!r} of {where}")


def check_digest(value: str, what: str) -> str:
    """Check that a value is a ``sha256:`` digest. Raises IntegrityError."""
    if not DIGEST.fullmatch(value):
        raise IntegrityError(f"{what} is {value[:100]!r}, expected sha256: and 64 hexadecimal digits")
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} comes twice in one object")
    return document


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _shown(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=True)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
