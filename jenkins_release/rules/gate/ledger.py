"""How a candidate's chain of attestations compares with what the ledger recorded.

The ledger is kept where those who write to the share have no rights. So if a chain lacks an attestation of
the ledger, or has another one in its place, it was altered on the share. A chain that goes on past the
ledger's end was not: its last writer may have been interrupted, and the next one enters what is missing.
Until then, the rest does not count for a release (:mod:`jenkins_release.rules.gate.evidence`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.moments import second
from jenkins_release.records.attestation import KINDS, PROVENANCE
from jenkins_release.records.ledger import LedgerEntry
from jenkins_release.records.ledger_line import Line
from jenkins_release.rules.gate.chain import Arrival, Chain, Document

CANDIDATE = "candidate"
"""The kind of the entry of the candidate itself, number 0."""


@dataclass(frozen=True)
class Recorded:
    """An entry of the ledger, and when it arrived."""

    entry: LedgerEntry
    arrived: datetime


@dataclass(frozen=True)
class Standing:
    """How a chain compares with the ledger.

    Attributes:
        entries: The ledger's entries for this candidate, by number; the candidate itself first.
        arrivals: File name of each attestation in the ledger to its arrival time; None if there is no ledger.
        unknown: The message if the ledger does not know the candidate, and has no other one of the build;
            also in ``altered``.
        missing: Whether the ledger does not know the candidate.
        behind: Attestations of the chain that the ledger does not have yet.
        altered: Signs that the chain, or the ledger, was altered.
    """

    entries: tuple[Recorded, ...] = ()
    arrivals: Mapping[str, Arrival] | None = None
    unknown: str = ""
    missing: bool = False
    behind: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()


NO_LEDGER = Standing()
"""The state of every chain if no ledger is configured."""


def entries_of(place: tuple[str, str, str], chain: Chain, *, adopted: bool = False) -> list[LedgerEntry]:
    """Return the entries that the ledger should have for a chain: the candidate, then each attestation.

    Args:
        place: Product, version and build.
        chain: The candidate and its attestations, in the order of their numbers.
        adopted: Whether the chain is older than the ledger.
    """
    product, version, build = place

    def entry(number: int, kind: str, digest_hex: str) -> LedgerEntry:
        return LedgerEntry(
            product=product,
            version=version,
            build=build,
            candidate=chain.digest,
            number=number,
            kind=kind,
            sha256=digest_hex,
            adopted=adopted,
        )

    return [
        entry(0, CANDIDATE, chain.digest.removeprefix("sha256:")),
        *(
            entry(number, _kind(document), document.sha256)
            for number, document in enumerate(chain.documents, start=1)
        ),
    ]


def compare(
    place: tuple[str, str, str],
    chain: Chain,
    lines: Sequence[Line] | None,
    name: str = "",
) -> Standing:
    """Compare a chain on the share with the ledger. Opens nothing and raises nothing.

    Args:
        place: Product, version and build.
        chain: The candidate and its attestations, read after ``lines``, so that everything recorded is there.
        lines: Everything in the ledger below the build; None if there is no ledger.
        name: The ledger, for messages.
    """
    if lines is None:
        return NO_LEDGER
    altered: list[str] = []
    read = [found for line in lines if (found := _read(line, place, altered)) is not None]
    own = {found.entry.number: found for found in read if found.entry.candidate == chain.digest}
    files: dict[str, list[str]] = {}
    for document in chain.documents:
        files.setdefault(document.sha256, []).append(document.file)
    arrivals: dict[str, Arrival] = {}
    for number, recorded in sorted(own.items()):
        if not number:
            continue
        names = files.get(recorded.entry.sha256, [])
        arrivals |= dict.fromkeys(names, Arrival(recorded.arrived, recorded.entry.adopted))
        if not names:
            altered.append(_lacking(recorded, chain, name))
    unknown = ""
    if 0 not in own:
        others = [found for found in read if not found.entry.number]
        altered.append(_unknown(chain.digest, others, name))
        unknown = "" if others else altered[-1]
    return Standing(
        entries=tuple(own[number] for number in sorted(own)),
        arrivals=arrivals,
        unknown=unknown,
        missing=0 not in own,
        behind=tuple(each.file for each in chain.documents if each.file not in arrivals),
        altered=tuple(altered),
    )


def _read(line: Line, place: tuple[str, str, str], altered: list[str]) -> Recorded | None:
    if line.problem:
        altered.append(f"the ledger was altered: {line.problem}")
        if not line.data:
            return None  # all its versions were deleted
    try:
        entry = LedgerEntry.from_bytes(line.data, f"the ledger's {line.path}")
    except IntegrityError as error:
        altered.append(error.message)
        return None
    if entry.path != line.path or (entry.product, entry.version, entry.build) != place:
        altered.append(f"the ledger's {line.path} is the entry of {entry.path}: it was copied or renamed")
        return None
    return Recorded(entry, line.arrived)


def compare_gone(place: tuple[str, str, str], lines: Sequence[Line], name: str) -> Standing:
    """Say what the ledger has about a build that is not on the share. Opens nothing and raises nothing.

    An export enters the candidate and its build attestation before the candidate is visible. So without other
    entries, the export may have died; later entries prove that the candidate was there.

    Args:
        place: Product, version and build.
        lines: Everything in the ledger below the build.
        name: The ledger, for messages.
    """
    altered: list[str] = []
    read = [found for line in lines if (found := _read(line, place, altered)) is not None]
    later = [r for r in read if r.entry.adopted or r.entry.kind not in {CANDIDATE, KINDS[PROVENANCE]}]
    if later:
        last = max(later, key=lambda recorded: recorded.arrived)
        altered.append(
            f"the share lacks the candidate, and the ledger {name} has it: the last entry is "
            f"{last.entry.number:04d}, {last.entry.kind}, SHA-256 {last.entry.sha256}, arrived there at "
            f"{second(last.arrived)}"
        )
    read.sort(key=lambda recorded: (recorded.entry.candidate, recorded.entry.number))
    return Standing(entries=tuple(read), altered=tuple(altered))


def _lacking(recorded: Recorded, chain: Chain, name: str) -> str:
    entry = recorded.entry
    told = f"{entry.kind}, SHA-256 {entry.sha256}, arrived there at {second(recorded.arrived)}"
    there = [each for each in chain.documents if each.file.startswith(f"{entry.number:04d}-")]
    if there:
        return (
            f"{there[0].file} is not the attestation that the ledger {name} has under the number "
            f"{entry.number}: expected {told}; found SHA-256 {there[0].sha256}"
        )
    return f"the share lacks the attestation {entry.number:04d} that the ledger {name} has: {told}"


def _unknown(digest: str, others: Sequence[Recorded], name: str) -> str:
    told = f"the ledger {name} has no entry of this candidate ({digest})"
    if others:
        other = others[-1]
        return (
            f"{told}; it has one of another candidate.json: {other.entry.candidate}, arrived there at "
            f"{second(other.arrived)}"
        )
    return f"{told}; 'jenkins-release ledger adopt' enters a candidate from before there was a ledger"


def _kind(document: Document) -> str:
    try:
        return document.statement.kind
    except IntegrityError:
        return "unreadable"
