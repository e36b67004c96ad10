"""What the attestations of a candidate prove: verified, in order, and bound to exactly this candidate.

Order is decided by the chain inside the signed statements (number, and digest of the one before),
never by clocks or file names. What no trusted key signed never counts in favour; a failing verdict, a
revocation or a withdrawal is never ignored, whoever signed it.

The chain shows what is missing before its last attestation. Only a ledger outside the share shows that the
last one itself was removed (:mod:`jenkins_release.rules.gate.ledger`).

The holder of a key can put any date on a signature. So the signature of a key that is no longer valid needs
other proof of when it was made: its arrival time in the ledger or, without a ledger, a later statement in the
chain by another key that is valid now, made while the first one was valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.moments import minute
from jenkins_release.records.attestation import (
    APPROVAL,
    OVERRIDE,
    REVOCATION,
    ROLES,
    TEST_RESULT,
    WITHDRAWAL,
    Statement,
    TrustedKey,
)
from jenkins_release.rules.gate.chain import Arrival, Chain, Document

CLOCK_SKEW = timedelta(minutes=10)
"""How far a signer's clock may run ahead of ours, or behind the signer before."""


@dataclass(frozen=True)
class Counted:
    """A statement that counts: by a trusted key, with the right role, at a time when it was valid."""

    file: str
    statement: Statement
    key: TrustedKey


@dataclass(frozen=True)
class Evidence:
    """All attestations of a candidate, sorted out.

    Attributes:
        digest: Digest of ``candidate.json``.
        counted: Statements that count, in the order of the chain.
        ignored: Why each other attestation does not count.
        objections: Failing verdicts, revocations, withdrawals and unknown statements that cannot be trusted
            but are not ignored.
        altered: Signs that something was altered, removed, copied or reordered.
    """

    digest: str
    counted: tuple[Counted, ...]
    ignored: tuple[str, ...]
    objections: tuple[str, ...]
    altered: tuple[str, ...]

    def of(self, *predicate_types: str) -> list[Counted]:
        """Return the counted statements of some types, in order."""
        return [item for item in self.counted if item.statement.predicate_type in predicate_types]

    def after(self, sequence: int, *, without: str = "") -> Evidence:
        """Return the evidence without approvals and overrides up to a number: a release has used them.

        Args:
            sequence: The number.
            without: A type of which the later statements are left out too.
        """
        kept = (
            item
            for item in self.counted
            if (
                item.statement.predicate_type != without
                if item.statement.sequence > sequence
                else item.statement.predicate_type not in {APPROVAL, OVERRIDE}
            )
        )
        return replace(self, counted=tuple(kept))

    def latest(self, predicate_type: str) -> int:
        """Return the number of the last counted statement of a type; 0 if there is none."""
        return max((item.statement.sequence for item in self.of(predicate_type)), default=0)


def collect(chain: Chain, trusted: Sequence[TrustedKey], now: datetime) -> Evidence:
    """Sort out the attestations of a candidate. Opens nothing and raises nothing.

    Args:
        chain: The candidate and its attestations.
        trusted: Trusted keys.
        now: The time, UTC.
    """
    digest = chain.digest
    exported_at = _exported_at(chain)
    counted: list[Counted] = []
    ignored: list[str] = []
    objections: list[str] = []
    altered: list[str] = []
    read: list[Document] = []
    sound: list[Counted] = []
    for document in sorted(chain.documents, key=lambda document: document.file):
        name = document.file
        try:
            statement, key = document.statement, document.signed_by(trusted)
        except IntegrityError as error:
            altered.append(error.message if name in error.message else f"{name}: {error.message}")
            continue
        read.append(document)
        if statement.subjects.get("candidate.json") != digest.removeprefix("sha256:"):
            altered.append(f"{name} is about another candidate.json than {digest[:19]}..., one was altered")
            continue
        problem = _problem(document, key, now, exported_at)
        if key is None or problem is not None:
            target = objections if _harmful(statement, key) else ignored
            target.append(f"{name} ({statement.kind}) {problem}")
            continue
        sound.append(Counted(name, statement, key))
    sound.sort(key=lambda item: item.statement.sequence)
    late = _unproven(sound, now, chain.arrivals)
    for item in sound:
        said = item.statement
        if item.file not in late or _speaks_against(said):
            counted.append(item)
            continue
        target = objections if _harmful(said, item.key) else ignored
        target.append(f"{item.file} ({said.kind}) {late[item.file]}")
    altered += _broken_links(read)
    return Evidence(digest, tuple(counted), tuple(ignored), tuple(objections), tuple(altered))


def _unproven(
    items: Sequence[Counted], now: datetime, arrivals: Mapping[str, Arrival] | None
) -> dict[str, str]:
    """Name the statements for which nothing proves that they were signed while their keys were valid.

    Args:
        items: Statements that count by what they say, in the order of the chain.
        now: The time, UTC.
        arrivals: File name to arrival time; None if there is no ledger.
    """
    found: dict[str, str] = {}
    witnesses: list[Counted] = []
    for item in reversed(items):
        problem = _late(item, now, arrivals, witnesses)
        if problem is None:
            witnesses.append(item)
        else:
            found[item.file] = problem
    return found


def _late(
    item: Counted, now: datetime, arrivals: Mapping[str, Arrival] | None, witnesses: Sequence[Counted]
) -> str | None:
    key = item.key
    if arrivals is not None:
        arrival = arrivals.get(item.file)
        if arrival is None:
            return "is not in the ledger: it counts once it is there"
        if _within(key, arrival.at):
            return None
        if not arrival.adopted:
            when = minute(arrival.at)
            return f"arrived in the ledger at {when}, outside the validity of {key.name!r}"
    elif key.valid_at(now):
        return None
    # Each statement names the digest of the one before, which therefore existed when the next key signed.
    if any(
        other.key.key.keyid != key.key.keyid and _within(key, other.statement.signed_at)
        for other in witnesses
    ):
        return None
    ended = key.valid_until is not None and now >= key.valid_until
    bound = key.valid_until if ended else key.valid_from
    when = f"which {'ended' if ended else 'begins'} at {minute(bound)}" if bound else ""
    return (
        f"is by the key {key.name!r}, {when}, and nothing shows that it was signed while the key was valid: "
        "no later statement of that time by another key that is valid now"
    )


def _within(key: TrustedKey, moment: datetime) -> bool:
    """Whether a moment is within the validity of a key, as far as clocks agree."""
    after = key.valid_from is None or moment - key.valid_from > -CLOCK_SKEW
    return after and (key.valid_until is None or moment - key.valid_until < CLOCK_SKEW)


def _speaks_against(statement: Statement) -> bool:
    """Whether a statement can only harm a release, so that the time when it was made is no matter."""
    kind = statement.predicate_type
    return kind == WITHDRAWAL or (kind == TEST_RESULT and statement.predicate.get("result") != "PASSED")


def _harmful(statement: Statement, key: TrustedKey | None) -> bool:
    """Whether a statement that does not count may speak against the release."""
    kind = statement.predicate_type
    if kind == TEST_RESULT:
        return statement.predicate.get("result") != "PASSED"
    # What nobody vouches for may once have been an objection of another type.
    return kind in {REVOCATION, WITHDRAWAL} or (key is None and kind not in ROLES)


def _exported_at(chain: Chain) -> datetime | None:
    try:
        return chain.record.exported_at
    except IntegrityError:
        return None


def _problem(
    document: Document,
    key: TrustedKey | None,
    now: datetime,
    exported_at: datetime | None,
) -> str | None:
    if key is None:
        ids = ", ".join(f"{key_id[:12]}..." for key_id in document.key_ids) or "nobody"
        return f"is signed by an unknown key ({ids})"
    statement = document.statement
    role = ROLES.get(statement.predicate_type)
    if role is None:
        return f"is of the unknown type {statement.predicate_type!r}"
    if key.revoked:
        return f"is signed by the key {key.name!r}, which is revoked"
    if role not in key.roles:
        return f"needs a key with the role {role!r}; {key.name!r} has {', '.join(sorted(key.roles))}"
    if not key.valid_at(statement.signed_at):
        return f"was signed at {minute(statement.signed_at)}, outside the validity of {key.name!r}"
    if statement.signed_at > now + CLOCK_SKEW:
        return f"was signed in the future ({minute(statement.signed_at)}): check the clocks"
    # A key that has expired since must not sign today what is dated into the time when it was valid.
    if exported_at is not None and exported_at - statement.signed_at > CLOCK_SKEW:
        return (
            f"was signed at {minute(statement.signed_at)}, before the candidate was exported: "
            "check the clocks"
        )
    return None


def _broken_links(read: Sequence[Document]) -> list[str]:
    """Follow the chain: numbers from 1 without a gap, each naming the digest of the one before."""
    problems = []
    expected, previous, before = 1, "", "the beginning"
    latest: datetime | None = None
    for document in sorted(read, key=lambda document: (document.statement.sequence, document.file)):
        name, statement = document.file, document.statement
        if statement.sequence < expected:
            problems.append(f"{name} has the number {statement.sequence}, which is taken: it was copied")
            continue
        if statement.sequence > expected:
            missing = f"{expected:04d}" + (
                f" to {statement.sequence - 1:04d}" if statement.sequence > expected + 1 else ""
            )
            problems.append(f"the attestation {missing} between {before} and {name} was removed")
        elif statement.previous != previous:
            problems.append(f"{name} does not follow {before}: one of the two was replaced")
        if latest is not None and latest - statement.signed_at > CLOCK_SKEW:
            problems.append(
                f"{name} was signed at {minute(statement.signed_at)}, before {before}: a clock runs backwards"
            )
        latest = statement.signed_at if latest is None else max(latest, statement.signed_at)
        expected, previous, before = statement.sequence + 1, document.sha256, name
    return problems


def misnamed(chain: Chain) -> list[str]:
    """Name the attestations whose file names do not match what is signed inside: they were renamed.

    The chain uses only what is signed, so a renamed file deceives no rule. But it deceives people, and the
    next attestation is appended after the last file.
    """
    found = []
    for name, statement in chain.statements().items():
        expected = f"{statement.sequence:04d}-{statement.kind}.dsse.json"
        if name != expected and statement.predicate_type in ROLES:
            found.append(f"{name} was signed as {expected}: it was renamed or copied")
    return found
