"""Adding an attestation to a candidate: what sign-off and revocation have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jenkins_release.errors import ConfigurationError
from jenkins_release.records.junit import TestResults
from jenkins_release.rules.gate import Decision
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps._open import OpenCandidate, gate_decision
from jenkins_release.steps.services import Services


@dataclass(frozen=True)
class AttestationReport:
    """What was added to the candidate.

    Attributes:
        candidate: The candidate.
        digest: Digest of ``candidate.json``, which the statement is about.
        file: File name of the attestation; empty after a dry run.
        results: Test results, where there are any.
        decision: What the gate says with it.
    """

    candidate: CandidateRef
    digest: str
    file: str
    results: TestResults | None
    decision: Decision


def append(
    opened: OpenCandidate, kind: str, make: Callable[[int], bytes], services: Services, *, dry_run: bool
) -> str:
    if dry_run:
        return ""

    def attempt() -> str:
        name, data = services.candidates.add_attestation(opened.ref, kind, make, services.holder())
        opened.attestations[name] = data
        return name

    return services.retry(f"add the {kind} attestation to {opened.ref}", attempt)


def report(
    opened: OpenCandidate, file: str, results: TestResults | None, services: Services
) -> AttestationReport:
    decision = gate_decision(opened, services)
    return AttestationReport(opened.ref, opened.digest, file, results, decision)


def named(what: str, value: str) -> str:
    value = value.strip()
    if not value or any(ord(letter) < 32 for letter in value):
        raise ConfigurationError(f"the {what} is empty or holds control characters", hint=f"give --{what}")
    return value
