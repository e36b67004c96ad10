"""When something happened, judged by the attestations around it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.moments import second
from jenkins_release.records.attestation import TrustedKey
from jenkins_release.rules.gate.chain import Document


@dataclass(frozen=True)
class Mark:
    """An attestation with a good signature: a point in time that its signer stands for.

    Attributes:
        name: File name.
        signed_at: When it was signed.
        candidate: SHA-256 in hex of the ``candidate.json`` that it is about; empty for none.
    """

    name: str
    signed_at: datetime
    candidate: str


def marks(documents: Iterable[Document], trusted: Sequence[TrustedKey]) -> list[Mark]:
    """Return the attestations that a trusted key signed, in the order of their time."""
    found = []
    for document in documents:
        try:
            if document.signed_by(trusted) is not None:
                said = document.statement
                found.append(Mark(document.file, said.signed_at, said.subjects.get("candidate.json", "")))
        except IntegrityError:
            continue
    return sorted(found, key=lambda mark: (mark.signed_at, mark.name))


def between(moment: datetime, known: Sequence[Mark]) -> str:
    """Say between which attestations a moment lies.

    Args:
        moment: A modification time from the share. Anyone who can write there can also set it: it says when
            an honest program last wrote, not when a careful intruder did.
        known: The attestations, oldest first.
    """
    before = [mark for mark in known if mark.signed_at <= moment]
    after = [mark for mark in known if mark.signed_at > moment]
    words = []
    if before:
        words.append(f"after {_shown(before[-1])}")
    if after:
        words.append(f"before {_shown(after[0])}")
    return " and ".join(words)


def _shown(mark: Mark) -> str:
    return f"{mark.name} was signed ({second(mark.signed_at)})"
