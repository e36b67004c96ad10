"""A candidate's standing in the ledger: reading what is recorded of it, and recording what is new."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar, TypeVarTuple

from jenkins_release.base.errors import ConfigurationError, IntegrityError, RemoteError
from jenkins_release.ledger.protocol import Ledger
from jenkins_release.records.ledger import LedgerEntry
from jenkins_release.records.ledger_line import Line
from jenkins_release.rules.gate.chain import Chain
from jenkins_release.rules.gate.ledger import NO_LEDGER, Standing, compare, compare_gone, entries_of
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.context.services import Services

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def read_lines(ref: CandidateRef, services: Services) -> tuple[Line, ...] | None:
    """Read what the ledger has of a build, before its attestations are read from the share.

    An attestation is written to the share first. So what the ledger has was on the share at that moment,
    and a later look at the share has to find it.

    Returns:
        The lines; None if no ledger is configured.

    Raises:
        RemoteError: The ledger cannot be read, after the retries: nothing is believed without it.
    """
    ledger = services.ledger
    if ledger is None:
        return None
    folder = services.candidates.folder(ref)
    return tuple(_insist(services, ledger, f"read the ledger of {ref}", ledger.read, folder))


def read_lines_of_each(
    refs: Sequence[CandidateRef], services: Services
) -> dict[CandidateRef, tuple[Line, ...] | IntegrityError | None]:
    """Read what the ledger has of several builds, several at a time; what is wrong with one is its value.

    Raises:
        RemoteError: The ledger cannot be read, after the retries.
    """
    if services.ledger is None:
        return dict.fromkeys(refs)
    _ = services.candidates  # opened before the threads want it

    def read(ref: CandidateRef) -> tuple[Line, ...] | IntegrityError | None:
        try:
            return read_lines(ref, services)
        except IntegrityError as error:
            return error  # lines that are too many or too large: no other build suffers

    return dict(zip(refs, services.each(read, refs), strict=True))


def recorded_refs(services: Services) -> list[CandidateRef]:
    """List the builds of the product that the ledger knows; none if no ledger is configured.

    List them before the share: what was signed about a candidate by then was on the share.

    Raises:
        RemoteError: The ledger cannot be read, after the retries.
    """
    ledger = services.ledger
    if ledger is None:
        return []
    product = services.candidates.product

    def below(folder: str) -> list[str]:
        return _insist(services, ledger, f"list the ledger of {folder}", ledger.folders, folder)

    versions = below(product)
    builds = services.each(lambda version: below(f"{product}/{version}"), versions)
    found: list[CandidateRef] = []
    for version, names in zip(versions, builds, strict=True):
        for build in names:
            with suppress(ConfigurationError):  # what is no build's name is of no candidate
                found.append(CandidateRef.parse(f"{version}/{build}"))
    return found


def gone_standing(ref: CandidateRef, services: Services) -> Standing:
    """Say what the ledger has of a build that is not on the share, or cannot be read there.

    Raises:
        RemoteError: The ledger cannot be read, after the retries.
    """
    lines = read_lines_of_each([ref], services)[ref]
    if isinstance(lines, IntegrityError):
        return Standing(altered=(lines.message,))
    if lines is None or services.ledger is None:
        return NO_LEDGER
    return compare_gone(place_of(ref, services), lines, services.ledger.name)


def standing_of(
    ref: CandidateRef,
    chain: Chain,
    lines: Sequence[Line] | None,
    services: Services,
) -> Standing:
    """Compare a chain, which was read after the lines, to the ledger."""
    if lines is None or services.ledger is None:
        return NO_LEDGER
    return compare(place_of(ref, services), chain, lines, services.ledger.name)


def place_of(ref: CandidateRef, services: Services) -> tuple[str, str, str]:
    """Return product, version and build of a candidate."""
    return services.candidates.product, ref.version, ref.build


def enter(entries: Sequence[LedgerEntry], services: Services) -> tuple[Line, ...]:
    """Write entries to the ledger, in their order; what is there already is success.

    Raises:
        IntegrityError: The ledger has another entry under one of the numbers.
        RemoteError: The ledger failed, after the retries.
    """
    ledger = services.ledger
    if ledger is None:
        return ()

    def add(entry: LedgerEntry) -> Line:
        what = f"record {entry.kind} {entry.number:04d} of {entry.version}/{entry.build}"
        return _insist(services, ledger, what, ledger.add, entry.path, entry.to_bytes())

    return tuple(add(entry) for entry in entries)


def _insist(services: Services, ledger: Ledger, what: str, action: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """Ask the ledger with retries; a step that is itself tried again does not multiply them."""
    try:
        return services.retry(what, action, *arguments)
    except RemoteError as error:
        raise RemoteError(
            f"the ledger {ledger.name} cannot be used: {error.message}",
            hint=f"nothing is decided without the ledger; {error.hint}".removesuffix("; "),
        ) from error


def record_chain(
    ref: CandidateRef,
    chain: Chain,
    lines: Sequence[Line] | None,
    services: Services,
) -> tuple[Line, ...] | None:
    """Write what the ledger lacks of a chain: the attestation just added, and what a crash left out.

    Args:
        ref: The candidate.
        chain: Its ``candidate.json`` and its attestations, in the order of their numbers.
        lines: What the ledger had before.
        services: Where the ledger is.

    Returns:
        The ledger's lines with the new ones; None if there is no ledger.

    Raises:
        IntegrityError: The ledger has another entry under one of the numbers.
        RemoteError: The ledger failed, after the retries: what was added is on the share, and counts once
            the next command, or ``ledger adopt``, has entered it.
    """
    if lines is None:
        return None
    try:
        return (*lines, *enter(_lacking(ref, chain, lines, services), services))
    except RemoteError as error:
        name = chain.documents[-1].file
        raise RemoteError(
            f"{name} of {ref} is on the share and counts once it is in the ledger too: {error.message}",
            hint=f"'jenkins-release ledger adopt {ref}' enters it; {error.hint}".removesuffix("; "),
        ) from error


def lines_with(
    ref: CandidateRef,
    chain: Chain,
    lines: Sequence[Line] | None,
    services: Services,
) -> tuple[Line, ...] | None:
    """Return the lines that :func:`record_chain` would return now; nothing is written."""
    if lines is None:
        return None
    lacking = _lacking(ref, chain, lines, services)
    return (*lines, *(Line(entry.path, entry.to_bytes(), services.now()) for entry in lacking))


def _lacking(
    ref: CandidateRef,
    chain: Chain,
    lines: Sequence[Line],
    services: Services,
) -> list[LedgerEntry]:
    known = {line.path for line in lines}
    entries = entries_of(place_of(ref, services), chain)
    return [entry for entry in entries if entry.path not in known]
