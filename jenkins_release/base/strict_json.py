"""Untrusted JSON, read as Go reads it; what Go could read differently is refused.

Docker, containerd and skopeo read with Go's ``encoding/json``: field names match without regard to case, the
last of several counts, and text that is not Unicode becomes U+FFFD
(https://pkg.go.dev/encoding/json#Unmarshal). :func:`strict_json` refuses what is ambiguous in any document;
:func:`check_shape` refuses what a Go program with the given fields would read differently.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import Enum
from itertools import pairwise
from typing import Any, NoReturn

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError

MAX_JSON_BYTES = 16 * 1024 * 1024
"""Largest document that is read; a candidate with 40 images of 60 layers has about 1 MiB."""
MAX_DEPTH = 100
"""Levels of nesting; Go allows 10,000, Python's own reader about 900."""

_HINT = "it was altered or only partly written"
_MAX_INT64 = 2**63 - 1
_SURROGATE = re.compile("[\ud800-\udfff]")
_RFC3339 = re.compile(
    r"\d{4}-(\d\d)-\d\dT([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII
)


class NotText(IntegrityError):
    """What should be JSON contains something that is not Unicode text."""


def fold(key: str) -> str:
    """Return a key as Go compares the names of fields: U+212A is ``k``, and U+017F is ``s``."""
    return key.casefold()


def strict_json(data: bytes, what: str, *, limit: int = MAX_JSON_BYTES, maps: bool = False) -> Any:
    """Parse JSON that someone else may have written.

    Args:
        data: The bytes.
        what: What they are, for the message.
        limit: Maximum size in bytes.
        maps: Whether objects may have keys that differ only in case, as labels and annotations may; the
            document must then be passed to :func:`check_shape`.

    Raises:
        NotText: Not UTF-8, or text that is not Unicode.
        IntegrityError: Too large, not JSON, a duplicate key in an object, NaN, a number that no float can
            hold, or nested too deeply.
    """
    if len(data) > limit:
        raise IntegrityError(f"{what} has {len(data)} bytes, expected at most {limit}")
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float
        )
        _look_through(value, maps=maps, escaped=b"\\u" in data)
    except UnicodeDecodeError as error:
        raise NotText(
            f"{what} is not valid JSON: it is not UTF-8 at byte {error.start}", hint=_HINT
        ) from error
    except _Surrogate as error:
        raise NotText(
            f"{what} is not valid JSON: it has half a surrogate pair, which is not text, in {_place(value)}",
            hint=_HINT,
        ) from error
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise IntegrityError(f"{what} is not valid JSON: {reason}", hint=_HINT) from error
    return value


class Scalar(Enum):
    """A value without parts."""

    TEXT = "a string"
    BOOLEAN = "true or false"
    INTEGER = "a whole number of 64 bits"
    TIME = "a time of RFC 3339"
    WORDS = "a string or a list of strings"


@dataclass(frozen=True)
class Items:
    """A list."""

    of: Shape


@dataclass(frozen=True)
class Keyed:
    """An object with any keys, such as labels; Go reads them as written."""

    of: Shape


@dataclass(frozen=True)
class Fields:
    """An object with some fields that a Go program knows. It ignores all others.

    Attributes:
        known: Name to shape.
        required: Fields that must be present.
        foreign: Fields of another kind of document, which must be absent.
    """

    known: Mapping[str, Shape]
    required: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()
    folded: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folded", {fold(name): name for name in (*self.known, *self.foreign)})


Shape = Scalar | Items | Keyed | Fields


def check_shape(value: Any, shape: Shape, where: str) -> None:
    """Check that a Go program reads a value in the same way.

    A null field counts as missing, as in Go.

    Args:
        value: What :func:`strict_json` returned, or a part of it.
        shape: The fields that Go programs know.
        where: What it is, for the message.

    Raises:
        IntegrityError: A field has another type, a name that only looks like a known one, or is missing
            or foreign.
    """
    if isinstance(shape, Scalar):
        if not _is_scalar(value, shape):
            raise IntegrityError(f"{where} is {shown(value)}, expected {shape.value}")
    elif isinstance(shape, Items):
        if not isinstance(value, list):
            raise IntegrityError(f"{where} is {shown(value)}, expected a list")
        for number, item in enumerate(value, 1):
            check_shape(item, shape.of, f"entry {number} of {where}")
    elif not isinstance(value, dict):
        raise IntegrityError(f"{where} is {shown(value)}, expected an object")
    elif isinstance(shape, Keyed):
        for key, item in value.items():
            check_shape(item, shape.of, f"{key[:100]!r} of {where}")
    else:
        _check_fields(value, shape, where)


def check_names(value: Mapping[str, Any], names: Mapping[str, str], where: str) -> None:
    """Check that no key only looks like a known one.

    Args:
        value: The object.
        names: The known names by their :func:`fold`.
        where: The object, for the message.

    Raises:
        IntegrityError: One does: programs differ in which one they read.
    """
    for key in value:
        meant = names.get(fold(key))
        if meant is not None and meant != key:
            raise IntegrityError(
                f"{where} has {key!r} instead of {meant!r}: programs differ in which one they read",
                hint="do not use it, and find out who wrote it",
            )


def shown(value: Any) -> str:
    """Return a value as JSON in a few characters, for a message."""
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_fields(value: dict[str, Any], shape: Fields, where: str) -> None:
    check_names(value, shape.folded, where)
    for name in sorted(shape.foreign):
        if name in value:
            raise IntegrityError(f"{where} has {name!r}, which belongs to another kind of document")
    for name in sorted(shape.required):
        if value.get(name) is None:
            raise IntegrityError(f"{where} has no {name!r}, expected {_expected(shape.known[name])}")
    for name, inner in shape.known.items():
        if value.get(name) is not None:
            check_shape(value[name], inner, f"{name!r} of {where}")


def _expected(shape: Shape) -> str:
    if isinstance(shape, Scalar):
        return shape.value
    return "a list" if isinstance(shape, Items) else "an object"


def _is_scalar(value: Any, shape: Scalar) -> bool:
    if shape is Scalar.BOOLEAN:
        return isinstance(value, bool)
    if shape is Scalar.INTEGER:
        return type(value) is int and -_MAX_INT64 <= value <= _MAX_INT64
    if shape is Scalar.WORDS and isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    if not isinstance(value, str):
        return False
    return shape is not Scalar.TIME or _is_time(value)


def _is_time(value: str) -> bool:
    if not _RFC3339.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value[:19])
    except ValueError:
        return False
    return True


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:100]!r} occurs twice in one object")
    return document


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        raise ValueError(f"{text[:40]} is too large for a number")
    return value


class _Surrogate(Exception):
    pass


def _place(value: Any) -> str:
    """Return where a document first contains something that is not text, such as ``images[0].name``."""
    left: list[tuple[str, Any]] = [("", value)]
    while left:
        place, found = left.pop()
        if isinstance(found, str) and _SURROGATE.search(found):
            return place or "its only text"
        if isinstance(found, dict):
            if any(map(_SURROGATE.search, found)):
                return f"a key of {place or 'the outermost object'}"
            left += [(f"{place}.{key}".lstrip("."), item) for key, item in reversed(found.items())]
        elif isinstance(found, list):
            left += [(f"{place}[{number}]", item) for number, item in reversed([*enumerate(found)])]
    return "it"


def _look_through(value: Any, *, maps: bool, escaped: bool) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        objects = [item for item in level if isinstance(item, dict)]
        for found in objects:
            if not maps and len({fold(key) for key in found}) != len(found):
                alike = sorted(found, key=fold)
                pair = next((a, b) for a, b in pairwise(alike) if fold(a) == fold(b))
                raise ValueError(f"the keys {pair[0][:100]!r} and {pair[1][:100]!r} differ only in case")
        if escaped:
            texts = [item for item in level if isinstance(item, str)]
            texts += [key for found in objects for key in found]
            if any(map(_SURROGATE.search, texts)):
                raise _Surrogate
        level = [item for found in objects for item in found.values()] + [
            item for found in level if isinstance(found, list) for item in found
        ]
        if not level:
            return
    raise ValueError("it is nested too deeply")
