"""The history of a candidate: every attestation as an event, and what can be trusted.

Nothing is left out: what does not count, has no known signer, or was altered is included with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.records.attestation import (
    PROMOTION,
    PUBLICATION,
    RETIREMENT,
    WITHDRAWAL,
    Statement,
    TrustedKey,
    extension_field,
)
from jenkins_release.records.candidate import Candidate
from jenkins_release.rules.gate.chain import Chain, Document
from jenkins_release.rules.gate.evidence import Evidence, collect, misnamed

State = Literal["not released", "promoted", "published", "promoted and published", "retired", "withdrawn"]
_CHAIN = {"sequence", "previous", "signedAt", "candidate"}


@dataclass(frozen=True)
class Event:
    """One attestation of a candidate.

    Attributes:
        file: File name.
        statement: What it says; None if it cannot be read.
        key: Name of the trusted key whose signature holds; empty if there is none.
        counts: Whether it counts.
        notes: Why it does not count, and what is wrong with it.
        notary: Whether the key belongs to a notary, who says whom Jenkins authenticated.
    """

    file: str
    statement: Statement | None
    key: str
    counts: bool
    notes: tuple[str, ...]
    notary: bool = False

    @property
    def kind(self) -> str:
        """Short name of its type; ``unreadable`` where it cannot be read."""
        return self.statement.kind if self.statement else "unreadable"

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything that it says, except its place in the chain; the content is not trusted."""
        if self.statement is None:
            return {}
        field = extension_field(self.statement.predicate_type)
        said = {name: value for name, value in self.statement.predicate.items() if name != field}
        own = {name: value for name, value in self.statement.extension.items() if name not in _CHAIN}
        return said | own


@dataclass(frozen=True)
class Story:
    """The history of one candidate.

    Attributes:
        record: ``candidate.json``; None if it cannot be read.
        digest: Its digest.
        state: The state of the release, by what counts.
        events: Every attestation, in the order of the chain; unreadable ones last.
        altered: Signs that something was altered, removed, copied or reordered.
        head: SHA-256 in hex of the last attestation's file; empty if there is none.
    """

    record: Candidate | None
    digest: str
    state: State
    events: tuple[Event, ...]
    altered: tuple[str, ...]
    head: str


def tell(chain: Chain, trusted: Sequence[TrustedKey], now: datetime) -> Story:
    """Return the history of a candidate. Opens nothing and raises nothing.

    Args:
        chain: The candidate, with an empty ``candidate.json`` if that is missing, and its attestations.
        trusted: Keys that are believed.
        now: The time, UTC.
    """
    evidence = collect(chain, trusted, now)
    altered = [*evidence.altered, *misnamed(chain)]
    record = None
    try:
        record = chain.record
    except IntegrityError as error:
        altered.insert(0, error.message)
    events = [_event(document, trusted, evidence, altered) for document in chain.documents]
    events.sort(key=_place)
    return Story(record, evidence.digest, _state(evidence), tuple(events), tuple(altered), chain.head)


def _event(
    document: Document, trusted: Sequence[TrustedKey], evidence: Evidence, altered: Sequence[str]
) -> Event:
    name = document.file
    counted = next((item for item in evidence.counted if item.file == name), None)
    if counted is not None:
        notes = _about(name, altered)
        return Event(name, counted.statement, counted.key.name, True, notes, counted.key.notary)
    notes = _about(name, (*altered, *evidence.objections, *evidence.ignored))
    try:
        statement = document.statement
    except IntegrityError:
        return Event(name, None, "", False, notes)
    try:
        key = document.signed_by(trusted)
    except IntegrityError:
        key = None
    return Event(name, statement, key.name if key else "", False, notes, key.notary if key else False)


def _about(name: str, lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(line for line in lines if name in line)


def _place(event: Event) -> tuple[bool, int, str]:
    return (event.statement is None, event.statement.sequence if event.statement else 0, event.file)


def _state(evidence: Evidence) -> State:
    last = evidence.of(PROMOTION, PUBLICATION, WITHDRAWAL)[-1:]
    if not last:
        return "not released"
    if last[0].statement.predicate_type == WITHDRAWAL:
        return "withdrawn"
    since = evidence.latest(WITHDRAWAL)
    promoted = evidence.latest(PROMOTION) > max(since, evidence.latest(RETIREMENT))
    published = evidence.latest(PUBLICATION) > since
    if promoted and published:
        return "promoted and published"
    if published:
        return "published"
    return "promoted" if promoted else "retired"
