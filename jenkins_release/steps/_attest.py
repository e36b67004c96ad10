"""Adding a signed attestation to a candidate: what every step that signs has in common."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from securesystemslib.signer import Signer

from jenkins_release.errors import ConfigurationError, IntegrityError
from jenkins_release.records.attestation import KINDS, Place, sign_statement
from jenkins_release.records.junit import TestResults
from jenkins_release.rules.gate import Decision
from jenkins_release.rules.people import person_key
from jenkins_release.share.candidates import ATTESTATIONS, MANIFEST, CandidateRef
from jenkins_release.steps._open import OpenCandidate, gate_decision, require_unaltered
from jenkins_release.steps.services import Services


@dataclass(frozen=True)
class AttestationReport:
    """What was added to the candidate.

    Attributes:
        candidate: The candidate.
        digest: Digest of ``candidate.json``, which the statement is about.
        file: File name of the attestation; empty after a dry run.
        results: Test results, where there are any.
        decision: What the gate says with it, approvals not looked at.
    """

    candidate: CandidateRef
    digest: str
    file: str
    results: TestResults | None
    decision: Decision


@dataclass(frozen=True)
class Claim:
    """What a step wants to say, before it is signed.

    Attributes:
        predicate_type: Type URI.
        predicate: The predicate's own fields.
        extension: Our fields beside them.
        subjects: Name to SHA-256 in hex of what it is about besides ``candidate.json``.
    """

    predicate_type: str
    predicate: Mapping[str, Any]
    extension: Mapping[str, Any]
    subjects: Mapping[str, str]


def attest(
    opened: OpenCandidate, claim: Claim, signer: Signer, services: Services, *, dry_run: bool = False
) -> str:
    """Sign a claim and append it to the candidate's chain of attestations.

    Returns:
        File name of the attestation; empty for a dry run. ``opened`` knows it from then on.

    Raises:
        IntegrityError: The chain that it would follow was altered; nothing is added.
        LeaseHeld: Someone else is adding one, after the retries.
    """
    require_unaltered(opened, services)
    if dry_run:
        return ""
    kind = KINDS[claim.predicate_type]
    subjects = {MANIFEST: opened.digest.removeprefix("sha256:"), **claim.subjects}

    seen = dict(opened.attestations)

    def make(before: dict[str, bytes]) -> bytes:
        gone = [name for name, data in seen.items() if before.get(name) != data]
        if gone:
            # Without this the last attestation could go between the decision and its record, unseen.
            shown = services.candidates.shown(opened.ref, f"{ATTESTATIONS}/{gone[0]}")
            raise IntegrityError(
                f"{shown} was removed or replaced while the {kind} attestation was made: nothing was added",
                hint="find out who changed the share",
            )
        return sign_statement(
            claim.predicate_type,
            claim.predicate,
            subjects,
            place=Place.after(before),
            signed_at=services.now(),
            signer=signer,
            extension={"candidate": opened.record.ident, **claim.extension},
        )

    def attempt() -> str:
        name, data = services.candidates.add_attestation(opened.ref, kind, make, services.holder())
        opened.attestations[name] = data
        return name

    return services.retry(f"add the {kind} attestation to {opened.ref}", attempt)


def approval_claims(decision: Decision) -> list[dict[str, Any]]:
    """Return the approvals that a decision rests on, as a release's attestation names them."""
    return [
        {
            "sequence": item.statement.sequence,
            "approver": item.statement.extension.get("approver"),
            "planDigest": item.statement.predicate.get("planDigest"),
        }
        for item in decision.approved
    ]


def override_claims(decision: Decision) -> list[dict[str, Any]]:
    """Return the conditions that a decision passed by overrides, as a release's attestation names them."""
    return [
        {"condition": w.reason.condition, "message": w.reason.message, "by": w.override.by}
        for w in decision.waived
    ]


def report(
    opened: OpenCandidate, file: str, services: Services, results: TestResults | None = None
) -> AttestationReport:
    """Report what was added, and what the gate says with it."""
    return AttestationReport(opened.ref, opened.digest, file, results, gate_decision(opened, services))


def named(what: str, value: str) -> str:
    """Check a name or reason that is recorded: something to read, on one line.

    Raises:
        ConfigurationError: It shows nothing, holds control characters, or is no Unicode text.
    """
    value = value.strip()
    if not person_key(value):
        raise ConfigurationError(f"the {what} is empty", hint=f"give --{what}")
    if any(unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} for letter in value):
        raise ConfigurationError(
            f"the {what} holds control characters or is not Unicode text", hint=f"give --{what} in one line"
        )
    return value
