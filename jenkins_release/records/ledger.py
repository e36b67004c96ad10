"""What the ledger says about one attestation: an entry that is written once and never changed."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from jenkins_release.records.base import Record

_SHA256 = r"^[0-9a-f]{64}$"


class LedgerEntry(Record):
    """A ledger entry: one attestation of a candidate, or the candidate itself.

    When it arrived is not part of it: that is for the ledger's own clock to say.

    Attributes:
        product: Product.
        version: Version.
        build: Build.
        candidate: Digest of ``candidate.json``, ``sha256:`` and 64 hexadecimal digits.
        number: Number of the attestation in the candidate's chain, from 1; 0 for the candidate itself.
        kind: Short name, such as ``qa``; ``candidate`` for the candidate itself.
        sha256: SHA-256 in hex of the attestation's file; of ``candidate.json`` for the candidate itself.
        adopted: Whether it was entered long after it was made, because it is older than the ledger.
    """

    SCHEMA: ClassVar[str] = "jenkins-release/ledger-entry/v1"

    product: str
    version: str
    build: str
    candidate: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    number: Annotated[int, Field(ge=0, strict=True)]
    kind: str
    sha256: Annotated[str, Field(pattern=_SHA256)]
    adopted: bool = False

    @property
    def path(self) -> str:
        """Its path in the ledger: only the number decides, so a second entry for a number is refused."""
        folder = f"{self.product}/{self.version}/{self.build}/{self.candidate.removeprefix('sha256:')}"
        return f"{folder}/{self.number:04d}.json"
