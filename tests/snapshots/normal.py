"""Takes out of a result what differs from run to run: times, digests, sizes, places, keys."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jenkins_release.base.version import __version__

_PATTERNS = (
    (r"(?<=-----BEGIN PUBLIC KEY-----\n)[^-]+", "<public key>\n"),
    (r"(?<=/receipts/)[^/]+", "<host>"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00| UTC)", "<time>"),
    (r"\b\d{8}T\d{6}Z?\b", "<time>"),
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d UTC", "<minute>"),
    (r"\b\d{4}-\d\d-\d\d\b", "<day>"),
    (r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<uuid>"),
    (r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", "<sha256>"),
    (r"(?<![0-9a-f])[0-9a-f]{12,40}(?![0-9a-f])", "<hex>"),
    (r"\b(?:AKIA|AIDA)[A-Z0-9]{8,}\b", "<key id>"),
    (r"\b127\.0\.0\.1:\d+", "<loopback>"),
    (r"(?<=127\.0\.0\.1 port )\d+", "<port>"),
    (r"jenkins-release/\S+, Python \S+, \w+ \w+", "<program>"),
    (r'(?<="size":)\d+', "<integer>"),
    (r"\b\d+(?:\.\d+)? (?:[kMGT]?B(?:/s)?|s)(?!\w)", "<measured>"),
)
_MEASURED = 1000
"""A whole number from here on is a size, which depends on the machine's Docker."""
_LATER = "expires: <day> -> <day>"
"""What a later draft says only if a second passed since the first."""
_BY_NAME = {"host": "<host>", "size": "<integer>", "offset": "<integer>"}
"""Fields that always differ: a file may name the registry, whose port has four or five digits, and Docker
orders the layers of an archive as it likes."""


def normal(value: Any, places: Mapping[str, str]) -> Any:
    """Return a JSON value without what differs.

    Args:
        value: The value.
        places: Texts of this run to what stands for them; the longest are replaced first.
    """
    if isinstance(value, dict):
        return {
            normal(name, places): _BY_NAME.get(name) or normal(each, places) for name, each in value.items()
        }
    if isinstance(value, list):
        return [each for each in (normal(each, places) for each in value) if each != _LATER]
    if isinstance(value, float):
        return "<number>"
    if isinstance(value, int) and not isinstance(value, bool) and value >= _MEASURED:
        return "<integer>"
    return _text(value, places) if isinstance(value, str) else value


def document(value: Any) -> str:
    """Return a JSON value as a text with one line for each field."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _text(text: str, places: Mapping[str, str]) -> str:
    for found, stands in sorted(places.items(), key=lambda each: -len(each[0])):
        text = text.replace(found, stands)
    for pattern, stands in _PATTERNS:
        text = re.sub(pattern, stands, text)
    return text.replace(f"jenkins-release {__version__}", "jenkins-release <version>")
