"""The attestation bundle: all evidence of a release in one file, which can be checked without the share.

JSON Lines, as in-toto bundles are (https://github.com/in-toto/attestation/blob/main/spec/v1/bundle.md).
The first line holds the bytes of ``candidate.json``, and each further line a DSSE envelope, byte for byte as
on the share and in the order of the chain. Tools that do not know the first line ignore it, as that
specification asks. With a pinned trust root, that line also holds the trust document's versions.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import field

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.strict_json import Fields, Scalar, check_shape, strict_json
from jenkins_release.records.base import MAX_RECORD_BYTES, canonical_json

SCHEMA = "jenkins-release/bundle/v1"
MAX_BUNDLE_BYTES = 64 * 1024 * 1024
"""Largest bundle that is read; for a release with 40 images it has about 2 MiB."""
MAX_LINES = 1000
_HEAD = Fields({"schema": Scalar.TEXT, "candidate": Scalar.TEXT})
_HINT = "it was altered or only partly copied: get it again from where the release came from"


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read but not verified.

    Attributes:
        candidate: The bytes of ``candidate.json``.
        attestations: ``line N`` to the bytes of an envelope, in the order of the file.
        trust: Versions of the trust document.
    """

    candidate: bytes = field(repr=False)
    attestations: dict[str, bytes] = field(repr=False)
    trust: tuple[bytes, ...] = field(default=(), repr=False)


def write_bundle(candidate: bytes, attestations: Sequence[bytes], trust: Sequence[bytes] = ()) -> bytes:
    """Return the bundle's bytes; the same for the same candidate and attestations.

    Args:
        candidate: The bytes of ``candidate.json``.
        attestations: The envelopes, in the order of the chain.
        trust: Versions of the trust document.

    Raises:
        IntegrityError: An envelope is not one line of JSON: its digest would change.
    """
    for place, envelope in enumerate(attestations, 1):
        if envelope.count(b"\n") != 1 or not envelope.endswith(b"\n"):
            raise IntegrityError(
                f"attestation {place:04d} is not one line of JSON, as it was written",
                hint="it was reformatted, which breaks the chain of attestations",
            )
    head: dict[str, object] = {"candidate": base64.b64encode(candidate).decode(), "schema": SCHEMA}
    if trust:
        head["trust"] = [base64.b64encode(version).decode() for version in trust]
    return canonical_json(head) + b"".join(attestations)


def read_bundle(data: bytes, where: str) -> Bundle:
    """Parse a bundle, without trusting anything in it.

    Args:
        data: The bytes of the file.
        where: Which file it is, for messages.

    Raises:
        IntegrityError: It is too large, truncated, or not a bundle.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise IntegrityError(
            f"{where} has more than {MAX_BUNDLE_BYTES} bytes, so it is not a bundle", hint=_HINT
        )
    if not data.endswith(b"\n"):
        raise IntegrityError(f"{where} ends in the middle of a line: it is truncated", hint=_HINT)
    first, *lines = data[:-1].split(b"\n", MAX_LINES)
    if len(lines) >= MAX_LINES:
        raise IntegrityError(f"{where} has more than {MAX_LINES} lines, so it is not a bundle", hint=_HINT)
    head = strict_json(first, f"line 1 of {where}", limit=2 * MAX_RECORD_BYTES)
    check_shape(head, _HEAD, f"line 1 of {where}")
    found = head.get("schema")
    if found != SCHEMA:
        raise IntegrityError(
            f"line 1 of {where}: expected a bundle of schema {SCHEMA!r}, found {found!r}",
            hint="'jenkins-release release attestations' writes bundles",
        )
    try:
        candidate = base64.b64decode(head["candidate"], validate=True)
        trust = tuple(base64.b64decode(version, validate=True) for version in _list(head.get("trust", [])))
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise IntegrityError(
            f"line 1 of {where} holds no candidate.json, or a damaged trust document: {error}", hint=_HINT
        ) from error
    return Bundle(candidate, {f"line {number}": line + b"\n" for number, line in enumerate(lines, 2)}, trust)


def _list(value: object) -> list[str]:
    if not isinstance(value, list):
        raise TypeError("trust is not a list")
    return value
