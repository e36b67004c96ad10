"""A candidate and the chain of its attestations: each is read, and its signature verified, once.

Whoever reads the share again compares, and keeps what is the same: see
:func:`jenkins_release.steps.candidate.opened.reopen`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from types import MappingProxyType

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.signing import Envelope, Key
from jenkins_release.records.attestation import (
    Statement,
    TrustedKey,
    named_key,
    read_envelope,
    require_signature,
)
from jenkins_release.records.candidate import Candidate, manifest_digest


@dataclass(frozen=True)
class Arrival:
    """When an attestation arrived in the ledger.

    Attributes:
        at: The time by the ledger's clock, UTC.
        adopted: Whether it was entered long after it was signed, because it is older than the ledger.
    """

    at: datetime
    adopted: bool = False


@dataclass(frozen=True)
class Document:
    """An attestation as it was read.

    Attributes:
        file: File name.
        data: Its bytes.
    """

    file: str
    data: bytes = field(repr=False)
    _proven: list[Key] = field(default_factory=list, init=False, repr=False, compare=False)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file in hex."""
        return sha256(self.data).hexdigest()

    @cached_property
    def _read(self) -> tuple[Envelope, Statement]:
        return read_envelope(self.data, self.file)

    @property
    def statement(self) -> Statement:
        """What it says, whoever signed it. Raises IntegrityError if it cannot be read."""
        return self._read[1]

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The keys that it names as its signers. Raises IntegrityError if it cannot be read."""
        return tuple(self._read[0].signatures)

    def signed_by(self, trusted: Sequence[TrustedKey]) -> TrustedKey | None:
        """Return the trusted key that signed it; None if it names none of them.

        Raises:
            IntegrityError: It cannot be read, or the signature is not the key's own.
        """
        envelope = self._read[0]
        key = named_key(envelope, trusted)
        if key is not None and key.key not in self._proven:
            require_signature(envelope, key)
            self._proven.append(key.key)
        return key


@dataclass(frozen=True)
class Chain:
    """What a candidate is judged by.

    Attributes:
        candidate: The bytes of ``candidate.json``.
        documents: Everything in the attestations folder, in the order of the file names.
        arrivals: File name to the time of arrival in the ledger, of those that are there; None if there
            is no ledger.
    """

    candidate: bytes = field(repr=False)
    documents: tuple[Document, ...]
    arrivals: Mapping[str, Arrival] | None = None

    @classmethod
    def of(
        cls,
        candidate: bytes,
        attestations: Mapping[str, bytes],
        arrivals: Mapping[str, Arrival] | None = None,
    ) -> Chain:
        """Return the chain of a candidate whose attestations are given as file name to bytes, in order."""
        return cls(candidate, tuple(Document(*each) for each in attestations.items()), arrivals)

    @cached_property
    def digest(self) -> str:
        """Digest of ``candidate.json``."""
        return manifest_digest(self.candidate)

    @cached_property
    def record(self) -> Candidate:
        """What ``candidate.json`` says. Raises IntegrityError if it cannot be read."""
        return Candidate.from_bytes(self.candidate, "candidate.json")

    @cached_property
    def attestations(self) -> Mapping[str, bytes]:
        """File name to bytes, in order."""
        return MappingProxyType({document.file: document.data for document in self.documents})

    @property
    def head(self) -> str:
        """SHA-256 in hex of the last attestation's file, the end of the chain; empty if there is none."""
        return self.documents[-1].sha256 if self.documents else ""

    def statements(self) -> dict[str, Statement]:
        """Return name to statement of every readable attestation; signatures are not checked."""
        found = {}
        for document in self.documents:
            try:
                found[document.file] = document.statement
            except IntegrityError:
                continue  # collect() reports it as altered
        return found

    def before(self, sequence: int) -> Chain:
        """Return the chain as it was before the attestation with that number."""
        earlier = {name for name, said in self.statements().items() if said.sequence < sequence}
        return replace(self, documents=tuple(each for each in self.documents if each.file in earlier))
