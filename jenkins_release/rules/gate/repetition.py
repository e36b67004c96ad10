"""Whether a statement is in the chain already: a command that died is run again with the same input.

Only a statement that counts is found, by the same key and with the same wording, if nothing later contradicts
it. Anyone who says something else, or repeats it after it was taken back, signs again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.records.attestation import (
    APPROVAL,
    DELETION,
    OVERRIDE,
    PROMOTION,
    PUBLICATION,
    RETIREMENT,
    REVOCATION,
    TEST_RESULT,
    WITHDRAWAL,
    Statement,
    extension_field,
)
from jenkins_release.records.base import canonical_json
from jenkins_release.rules.gate.evidence import Counted, Evidence

_PLACE = frozenset({"sequence", "previous", "signedAt"})
_SPEAKERS = ("tester", "approver", "by", "requester")
_FORWARD = frozenset({APPROVAL, OVERRIDE, PROMOTION, PUBLICATION})
_BACK = frozenset({REVOCATION, WITHDRAWAL, RETIREMENT, DELETION})


@dataclass(frozen=True)
class Wording:
    """What a statement says, whatever its place in the chain.

    Attributes:
        kind: Predicate type.
        subjects: Name to SHA-256 in hex.
        predicate: The predicate, our own fields in it.
    """

    kind: str
    subjects: Mapping[str, str]
    predicate: Mapping[str, Any]

    @classmethod
    def of(cls, said: Statement) -> Wording:
        """Return the wording of a statement that was read back."""
        own = {name: value for name, value in said.extension.items() if name not in _PLACE}
        return cls(
            said.predicate_type,
            said.subjects,
            {**said.predicate, extension_field(said.predicate_type): own},
        )

    @property
    def speaker(self) -> str:
        """Who says it, if it names a person: one key may speak for several."""
        own = self.predicate.get(extension_field(self.kind))
        names = [own.get(name) for name in _SPEAKERS] if isinstance(own, Mapping) else []
        return next((name for name in names if isinstance(name, str) and name), "")

    @property
    def forward(self) -> bool:
        """Whether it helps a release to go on."""
        return self.kind in _FORWARD or (self.kind == TEST_RESULT and not self._failed)

    @property
    def back(self) -> bool:
        """Whether it takes something back."""
        return self.kind in _BACK or (self.kind == TEST_RESULT and self._failed)

    @property
    def _failed(self) -> bool:
        return self.predicate.get("result") != "PASSED"

    def same_as(self, other: Wording) -> bool:
        """Whether both say the same about the same subjects."""
        return self._bytes == other._bytes

    @property
    def _bytes(self) -> bytes:
        return canonical_json([self.kind, dict(self.subjects), dict(self.predicate)])

    def against(self, other: Wording) -> bool:
        """Whether it takes back, or replaces, an earlier statement."""
        # A revocation takes back earlier verdicts of either kind, and no later ones.
        revoked = {self.kind, other.kind} == {REVOCATION, TEST_RESULT}
        return revoked or (self.forward and other.back) or (self.back and other.forward)


def repeated(wanted: Wording, keyid: str, evidence: Evidence) -> Counted | None:
    """Return the statement that already says this; None if it has to be signed.

    Args:
        wanted: What to sign.
        keyid: Key that would sign it.
        evidence: The attestations, without alterations.
    """
    if evidence.objections:
        return None
    for item in reversed(evidence.counted):
        found = Wording.of(item.statement)
        same_voice = (item.key.key.keyid, found.speaker) == (keyid, wanted.speaker)
        if found.kind == wanted.kind and same_voice:
            return item if found.same_as(wanted) else None
        if found.against(wanted):
            return None
    return None
