"""Adds a signed attestation to a candidate, for every step that signs."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, GateRefused
from jenkins_release.base.people import person_key
from jenkins_release.base.signing import Signer
from jenkins_release.base.version import PROGRAM
from jenkins_release.records.attestation import (
    DELETION,
    KINDS,
    PORTAL,
    PROMOTION,
    PUBLICATION,
    REFRESH,
    SETUP,
    WITHDRAWAL,
    Place,
    Statement,
    TrustedKey,
    extension_field,
    sign_statement,
)
from jenkins_release.records.junit import TestResults
from jenkins_release.rules.gate.conditions import Reason
from jenkins_release.rules.gate.decision import Decision
from jenkins_release.rules.gate.evidence import Counted, Evidence
from jenkins_release.rules.gate.repetition import Wording, repeated
from jenkins_release.share.candidates import MANIFEST, CandidateRef
from jenkins_release.steps.candidate.ledger_standing import lines_with, read_lines, record_chain
from jenkins_release.steps.candidate.opened import (
    OpenCandidate,
    grown,
    require_same_manifest,
)
from jenkins_release.steps.context.services import Services

_log = logging.getLogger(__name__)
_SHOWN = {"qa": "sign-off"}
_NAMES_BUILD = frozenset({PROMOTION, PUBLICATION, WITHDRAWAL, DELETION, REFRESH, PORTAL, SETUP})
# What a setup zip's attestation says of its files names the program already.
_NAMES_PROGRAM = _NAMES_BUILD - {SETUP}


@dataclass(frozen=True)
class AttestationReport:
    """What was added to the candidate.

    Attributes:
        candidate: The candidate.
        digest: Digest of ``candidate.json``, which the statement is about.
        file: File name of the attestation; empty after a dry run.
        results: Test results, if any.
        decision: The gate's decision with it, without approvals.
        by: Who said it.
        tested: With a verdict: what was tested, and how that is known.
        head: SHA-256 in hex of the last attestation's file, to be kept elsewhere.
        found: Whether it already existed, so that nothing was signed.
    """

    candidate: CandidateRef
    digest: str
    file: str
    results: TestResults | None
    decision: Decision
    by: str = ""
    tested: Mapping[str, Any] | None = None
    head: str = ""
    found: bool = False


@dataclass(frozen=True)
class Claim:
    """What a step wants to say, before :func:`attest` stamps and signs it.

    Attributes:
        predicate_type: Type URI.
        predicate: The predicate's own fields.
        extension: Our fields beside them.
        subjects: Name to SHA-256 in hex of what it is about besides ``candidate.json``.
        by: Our field that names the user; empty if the statement names a person in another way.
    """

    predicate_type: str
    predicate: Mapping[str, Any]
    extension: Mapping[str, Any]
    subjects: Mapping[str, str]
    by: str = ""

    def stamped(self, candidate: str, services: Services) -> Claim:
        """Return the claim with what is not the step's to say: candidate, user, build and program."""
        build = {"buildUrl": services.build_url} if self.predicate_type in _NAMES_BUILD else {}
        program = {"program": PROGRAM} if self.predicate_type in _NAMES_PROGRAM else {}
        user = {self.by: services.user()} if self.by else {}
        return replace(
            self,
            predicate={**self.predicate, **build, **program},
            extension={"candidate": candidate, **self.extension, **user},
        )


class Attested(NamedTuple):
    """The result of a claim.

    Attributes:
        file: File name of the attestation; empty for a dry run.
        opened: The candidate with it.
        found: Whether it already existed because an earlier run died after it had signed it.
    """

    file: str
    opened: OpenCandidate
    found: bool = False


There = Callable[[OpenCandidate], str]
"""Returns the file name of an attestation that already says it; empty for none."""
Unheard = Callable[[Evidence, Counted], Sequence[Reason]]
"""Says why the gate would not count a statement, given the evidence that includes it."""


def _heard(_: Evidence, __: Counted) -> Sequence[Reason]:
    return ()


def attest(
    opened: OpenCandidate,
    claim: Claim,
    signer: Signer,
    services: Services,
    *,
    dry_run: bool = False,
    there: There | None = None,
    unheard: Unheard = _heard,
) -> Attested:
    """Sign a claim and append it to the candidate's chain of attestations, unless it is already there.

    Under the lease for appending, the candidate is read again and compared: what is signed is about exactly
    what was opened. A claim that an earlier run signed before it died is found and not signed again; what
    that run did not enter in the ledger is entered now.

    Args:
        opened: The candidate.
        claim: What to say.
        signer: The key.
        services: Share, ledger, policy and time.
        dry_run: Check everything, sign and write nothing.
        there: Finds what already says it. By default, that is a statement with the same wording by the same
            key, to which ``unheard`` does not object and which nothing later contradicts.
        unheard: Says why the gate would not count it: then nothing is signed.

    Raises:
        GateRefused: The gate would not count it; nothing is added.
        ConfigurationError: The same because of this machine's clock.
        IntegrityError: The chain that it would follow was altered, or the candidate changed since it was
            opened; nothing is added. Or the ledger has a different entry in its place.
        RemoteError: Share or ledger failed, after the retries.
        LeaseHeld: Someone else is adding one, after the retries.
    """
    opened.require_unaltered()
    keyid = signer.public_key.keyid
    claim = claim.stamped(opened.record.ident, services)
    wording = Wording(
        claim.predicate_type,
        {MANIFEST: opened.digest.removeprefix("sha256:"), **claim.subjects},
        {**claim.predicate, extension_field(claim.predicate_type): claim.extension},
    )
    find = there or (lambda now: _said(now, wording, keyid, unheard))
    if dry_run:
        if not find(opened):
            _require_heard(opened, wording, signer, unheard, services)
        return Attested("", opened)
    kind = KINDS[claim.predicate_type]
    now, found = opened, ""
    after = opened

    def make(before: dict[str, bytes]) -> bytes | None:
        nonlocal now, found, after
        # Without this the last attestation could go between the decision and its record, unseen.
        require_same_manifest(opened)
        # The ledger is asked before anything is written: what it has to take will be in its place there.
        # An attempt before this one may have seen more than what was opened.
        now = grown(now, before, read_lines(opened.ref, services))
        if now != opened:
            now.require_unaltered()
        found, now = _look(now, find, services)
        if found:
            return None
        _require_heard(now, wording, signer, unheard, services)
        data = sign_statement(
            claim.predicate_type,
            claim.predicate,
            wording.subjects,
            place=Place.after(before),
            signed_at=services.now(),
            signer=signer,
            extension=claim.extension,
        )
        name = f"{len(before) + 1:04d}-{kind}.dsse.json"
        after = now.with_attestation(name, data)
        _require_counted(after, name, services)
        return data

    def attempt() -> Attested:
        added = services.candidates.add_attestation(opened.ref, kind, make, services.holder())
        if added is None:
            return Attested(found, now, found=True)
        services.changed = True
        return Attested(added[0], after)

    done = services.retry(f"add the {kind} attestation to {opened.ref}", attempt)
    if done.found:
        _log.info("nothing was signed: %s already says it", done.file)
        return done
    return done._replace(opened=catch_up(done.opened, services))


def trusted_key(signer: Signer, services: Services) -> TrustedKey:
    """Return the trusted entry of a signing key that ``services.signer`` opened.

    Raises:
        ConfigurationError: It is not among the trusted keys.
    """
    keyid = signer.public_key.keyid
    for key in services.trusted_keys:
        if key.key.keyid == keyid:
            return key
    raise ConfigurationError(f"the key {keyid} is not trusted", hint="add it to [[trusted_keys]]")


def catch_up(opened: OpenCandidate, services: Services) -> OpenCandidate:
    """Enter what the ledger lacks of the chain, because a command died after it had signed.

    Raises:
        RemoteError: The ledger failed, after the retries.
    """
    return replace(opened, lines=record_chain(opened.ref, opened.chain, opened.lines, services))


def _as_recorded(opened: OpenCandidate, services: Services) -> OpenCandidate:
    """Return the candidate as it will be once the ledger has the whole chain."""
    lines = lines_with(opened.ref, opened.chain, opened.lines, services)
    return replace(opened, lines=lines)


def _look(opened: OpenCandidate, find: There, services: Services) -> tuple[str, OpenCandidate]:
    """Find what already says it, even if the run that signed it died before the ledger had it."""
    whole = _as_recorded(opened, services)
    found = find(whole)
    if not found or whole.lines == opened.lines:
        return found, opened
    whole = catch_up(opened, services)
    # By the ledger's clock, it may have come too late to count.
    return (found if find(whole) == found else ""), whole


def _said(opened: OpenCandidate, wording: Wording, keyid: str, unheard: Unheard) -> str:
    evidence = opened.evidence
    item = repeated(wording, keyid, evidence)
    return item.file if item is not None and not unheard(evidence, item) else ""


def _require_heard(
    opened: OpenCandidate, wording: Wording, signer: Signer, unheard: Unheard, services: Services
) -> None:
    evidence, kind = opened.evidence, KINDS[wording.kind]
    number = len(opened.attestations) + 1
    said = Statement(wording.kind, wording.subjects, wording.predicate, number, opened.head, services.now())
    item = Counted("", said, trusted_key(signer, services))
    reasons = unheard(replace(evidence, counted=(*evidence.counted, item)), item)
    if reasons:
        speaker = f" by {wording.speaker}" if wording.speaker else ""
        raise GateRefused(
            f"the {_SHOWN.get(kind, kind)}{speaker} would not count: {reasons[0].message}",
            hint=reasons[0].hint,
            reasons=[str(reason) for reason in reasons],
        )


def _require_counted(after: OpenCandidate, name: str, services: Services) -> None:
    """Read what is to be written as the gate will: a clock that is wrong would spoil the chain for good."""
    evidence = _as_recorded(after, services).evidence
    problems = [
        *evidence.altered,
        *(line for line in (*evidence.ignored, *evidence.objections) if line.startswith(name)),
    ]
    if problems:
        raise ConfigurationError(
            f"nothing was recorded, because it would not count: {problems[0]}",
            hint="set this machine's clock, such as with chrony, or wait if the last signer's is ahead; "
            "then run the command again",
            reasons=problems,
        )


def approval_claims(decision: Decision) -> list[dict[str, Any]]:
    """Return the approvals that a decision relies on, in the form for a release's attestation."""
    return [
        {
            "sequence": item.statement.sequence,
            "approver": item.statement.extension.get("approver"),
            "planDigest": item.statement.predicate.get("planDigest"),
        }
        for item in decision.approved
    ]


def override_claims(decision: Decision) -> list[dict[str, Any]]:
    """Return the conditions that a decision passed by overrides, in the form for a release's attestation."""
    return [
        {"condition": w.reason.condition, "message": w.reason.message, "by": w.override.by}
        for w in decision.waived
    ]


def report(done: Attested, by: str, results: TestResults | None = None) -> AttestationReport:
    """Report what was added, who said it, and what the gate says with it."""
    opened, decision = done.opened, done.opened.decision()
    return AttestationReport(
        opened.ref, opened.digest, done.file, results, decision, by, head=opened.head, found=done.found
    )


def named(what: str, value: str, *, option: str = "") -> str:
    """Check a name or reason to record: it must be readable, on one line.

    Args:
        what: What it is, such as ``reason``, for the message.
        value: The text.
        option: Its option, without dashes, if it differs from ``what``.

    Raises:
        ConfigurationError: It shows nothing, contains control characters, or is not Unicode text.
    """
    value = value.strip()
    told, option = (f"{what} of --{option}", option) if option else (what, what)
    if not person_key(value):
        raise ConfigurationError(f"the {told} is empty", hint=f"give --{option}")
    if any(unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} for letter in value):
        raise ConfigurationError(
            f"the {told} contains control characters or is not Unicode text",
            hint=f"give --{option} in one line",
        )
    return value
