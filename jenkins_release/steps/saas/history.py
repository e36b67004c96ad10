"""What the share records about the stack: its history, its releases, its lease, and its next statement."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from hashlib import sha256

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import (
    ConfigurationError,
    GateRefused,
    IntegrityError,
    ReleaseError,
    RemoteError,
)
from jenkins_release.base.signing import Signer
from jenkins_release.records.attestation import KINDS, PROMOTION, PUBLICATION, REFRESH, WITHDRAWAL
from jenkins_release.records.candidate import MultiPlatformRecord
from jenkins_release.records.refresh import RefreshRecord, StackState
from jenkins_release.records.release import Promotion
from jenkins_release.rules.gate.ledger import Recorded
from jenkins_release.rules.saas.running_release import ReleasedImages, releases_of
from jenkins_release.rules.saas.stack import StackEntry, StackHistory, stack_history
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.share.protocol import Lease
from jenkins_release.steps.candidate.attest import Claim, attest
from jenkins_release.steps.candidate.authority import require_allowed
from jenkins_release.steps.candidate.ledger_standing import gone_standing, recorded_refs
from jenkins_release.steps.candidate.opened import OpenCandidate, open_candidates
from jenkins_release.steps.candidate.order import candidate_order
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.publication.standing import require_believed

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LostRecord:
    """A lost statement about a stack, or all lost statements of a candidate.

    Attributes:
        name: Identifies it; the same in every run.
        why: Why it counts as lost, for people.
    """

    name: str
    why: str


@dataclass(frozen=True)
class StackKnowledge:
    """What the share records about the stack.

    Attributes:
        history: Its refreshes and rollbacks.
        released: Every release, in the order of versions and builds.
        notes: Problems: what cannot be read, or contradicts the rest.
        lost: Statements that were on the share but can no longer be read, and that no later statement
            accepts as lost. The notes include them.
        opened: Every candidate that could be read, by ``version/build``.
    """

    history: StackHistory
    released: tuple[ReleasedImages, ...]
    notes: tuple[str, ...]
    lost: tuple[LostRecord, ...]
    opened: Mapping[str, OpenCandidate]

    def named(self, state: StackState, services: Services) -> StackState:
        """Return the state with the release that it runs; of several possible ones, the recorded one."""
        wanted = {service.name: service.containers for service in services.configuration.saas.services}
        found = set.intersection(
            *(
                {each.release for each in releases_of(part.images, wanted[part.name], self.released)}
                for part in state.parts
            )
        )
        recorded = self.history.state.release
        names = [each.release for each in self.released if each.release in found]
        release = recorded if recorded in found else names[-1] if names else ""
        return state.model_copy(update={"release": release})

    @property
    def listed(self) -> dict[str, frozenset[str]]:
        """Digest of each released index to the manifests of its platforms: ECS may report those of a task.

        Only a candidate of which a promotion recorded the index knows what it lists.
        """
        promoted = {each.release: {*each.digests.values()} for each in self.released}
        return {
            image.index.digest: frozenset(part.manifest.digest for part in image.platforms)
            for ref, opened in self.opened.items()
            for image in opened.record.images
            if isinstance(image, MultiPlatformRecord) and image.index.digest in promoted.get(ref, ())
        }

    def why_unproven(self, release: str) -> str:
        """Return why a release cannot be proven to be in force; empty if it can.

        Args:
            release: ``version/build``.
        """
        for each in self.released:
            if each.release == release:
                return each.unproven
        about = (f"{release}:", f"{release} ")  # notes about 8.1/42 are not about 8.1/4
        return next((note for note in self.notes if note.startswith(about)), "it is not on the share")


def read_knowledge(services: Services) -> StackKnowledge:
    """Read the attestations of every candidate in a few round trips.

    Raises:
        RemoteError: The share failed, after the retries.
    """
    known = recorded_refs(services)
    refs = services.retry("list candidates", services.candidates.refs)
    entries: list[StackEntry] = []
    released: list[ReleasedImages] = []
    notes: list[str] = []
    lost: list[LostRecord] = []
    ordered = sorted(refs, key=candidate_order)
    readable: dict[str, OpenCandidate] = {}
    for ref, opened in open_candidates(ordered, services).items():
        if isinstance(opened, ReleaseError):
            notes.append(f"{ref} cannot be read: {opened.message}")
            lost += _lost_whole(ref, services) or _unreadable(ref, opened, services)
            continue
        readable[str(ref)] = opened
        lost += _lost(opened)
        try:
            entries += _entries(opened)
            released += _released(opened)
        except IntegrityError as error:
            notes.append(f"{ref}: {error.message}")
    for ref in known:
        lost += _lost_whole(ref, services) if ref not in refs else []
    history = stack_history(services.configuration.saas.stack, entries)
    accepted = {name for entry in history.entries for name in entry.record.accepted_lost}
    lost = [each for each in lost if each.name not in accepted]
    told = (*notes, *dict.fromkeys(each.why for each in lost), *history.notes)
    for note in told:
        _log.warning("%s", note)
    return StackKnowledge(history, tuple(released), told, tuple(lost), readable)


def _lost(opened: OpenCandidate) -> list[LostRecord]:
    """Return the statements about stacks that were removed from a chain or replaced.

    With a ledger, all of them show. Without one, an altered chain that has such statements may lack some, and
    removing the last ones leaves no trace.
    """
    ref = opened.ref
    if opened.lines is not None:
        standing = opened.standing
        there = {sha256(data).hexdigest() for data in opened.attestations.values()}
        gone = [e for e in standing.entries if e.entry.kind == KINDS[REFRESH] and e.entry.sha256 not in there]
        return _recorded(ref, gone, standing.altered)
    evidence = opened.evidence
    counted = {item.file for item in evidence.counted}
    uncounted = [name for name in opened.attestations if _is_refresh(name) and name not in counted]
    if not uncounted and not (evidence.altered and any(map(_is_refresh, opened.attestations))):
        return []
    digests = "".join(sha256(data).hexdigest() for data in opened.attestations.values())
    why = evidence.altered[0] if evidence.altered else f"{uncounted[0]} does not count"
    return [LostRecord(f"{ref} {sha256(digests.encode()).hexdigest()}", f"{ref}: {why}")]


def _lost_whole(ref: CandidateRef, services: Services) -> list[LostRecord]:
    """Return the statements of a candidate that is gone or cannot be read: all of them are lost."""
    standing = gone_standing(ref, services)
    gone = [each for each in standing.entries if each.entry.kind == KINDS[REFRESH]]
    if standing.altered and not standing.entries:
        return [LostRecord(f"{ref} {standing.altered[0]}", f"{ref}: {standing.altered[0]}")]
    return _recorded(ref, gone, standing.altered)


def _recorded(ref: CandidateRef, gone: Sequence[Recorded], altered: Sequence[str]) -> list[LostRecord]:
    """Return a lost record for each statement that only the ledger has, with the first evidence of it."""
    return [
        LostRecord(
            f"{ref} {each.entry.number:04d} {each.entry.sha256}",
            next((f"{ref}: {line}" for line in altered if each.entry.sha256 in line), f"{ref}: {altered[0]}"),
        )
        for each in gone
    ]


def _unreadable(ref: CandidateRef, error: ReleaseError, services: Services) -> list[LostRecord]:
    """Return the loss of a candidate that cannot be read but has such statements by its file names."""
    area = services.candidates
    try:
        names, strange = services.retry(f"list {ref}", area.look_at_attestations, ref)
    except (RemoteError, IntegrityError) as again:
        if again.retryable:
            raise
        return [LostRecord(f"{ref} {again.message}", f"{ref}: {again.message}")]
    found = [name for name in (*names, *strange) if _is_refresh(name)]
    return [LostRecord(f"{ref} {name}", f"{ref} cannot be read: {error.message}") for name in found]


def _is_refresh(name: str) -> bool:
    """Whether a file is such a statement by its name. Names are not signed: they only add to the losses."""
    return f"-{KINDS[REFRESH]}." in name


def _released(opened: OpenCandidate) -> list[ReleasedImages]:
    """Return the release that a promotion or publication made of a candidate, or nothing."""
    evidence = opened.evidence
    promotions = evidence.of(PROMOTION)
    last = max(evidence.latest(PROMOTION), evidence.latest(PUBLICATION))
    if not last:
        return []
    promoted = Promotion.of(promotions[-1].statement, promotions[-1].file).images if promotions else ()
    digests = {image.name: image.digest for image in promoted}
    unproven = ""
    try:
        require_believed(opened)
        require_allowed(opened)
    except (IntegrityError, GateRefused) as error:
        unproven = error.message
    return [ReleasedImages(str(opened.ref), digests, evidence.latest(WITHDRAWAL) > last, unproven)]


def _entries(opened: OpenCandidate) -> list[StackEntry]:
    return [
        StackEntry(
            str(opened.ref),
            item.file,
            sha256(opened.attestations[item.file]).hexdigest(),
            str(item.statement.extension.get("refreshedBy", "?")),
            item.statement.signed_at,
            RefreshRecord.of(item.statement, item.file),
        )
        for item in opened.evidence.of(REFRESH)
    ]


@contextmanager
def stack_lease(services: Services) -> Iterator[Lease]:
    """Hold the lease for changes to the stack.

    Raises:
        LeaseHeld: Another refresh or rollback of this stack is running.
    """
    share, product = services.share, services.candidates.product
    folder = f"{product}/.leases"
    services.retry(f"make {folder}", share.make_folder, folder)
    stack = services.configuration.saas.stack
    path = f"{folder}/saas-{stack}.refresh"
    with services.holding(f"the stack {stack}", lambda: share.lease(path, services.holder())) as lease:
        yield lease


@dataclass
class Recorder:
    """Appends the statements of one run, in order.

    Attributes:
        opened: The candidate whose chain they are appended to.
        signer: The promotion key.
        services: Share, clock and user.
        history: The stack's history before this run.
        run: Number of the run's first statement.
        accepted: Lost records that the run accepts as lost.
        because: The reason for accepting them.
    """

    opened: OpenCandidate
    signer: Signer
    services: Services
    history: StackHistory
    run: int = 0
    accepted: tuple[LostRecord, ...] = ()
    because: str = ""

    def resume(self, entry: StackEntry) -> None:
        """Continue a run that died after this statement."""
        self.run = entry.record.number

    def add(self, record: RefreshRecord) -> str:
        """Append a statement, with its number and predecessor filled in, and return its file name."""
        number, previous = self.history.follows()
        said: dict[str, object] = {"number": number, "previous": previous}
        if self.accepted:
            names = tuple(each.name for each in self.accepted)
            said |= {"accepted_lost": names, "accepted_because": self.because}
        record = record.model_copy(update=said)
        silent = set() if self.accepted else {"accepted_lost", "accepted_because"}
        predicate = {
            **record.model_dump(mode="json", by_alias=True, exclude=silent),
            "finishedOn": self.services.now().isoformat(),
        }
        claim = Claim(REFRESH, predicate, {}, {}, by="refreshedBy")
        file, self.opened, _ = attest(
            self.opened, claim, self.signer, self.services, there=lambda now: self._recorded(now, record)
        )
        digest = sha256(self.opened.attestations[file]).hexdigest()
        user, now = self.services.user(), self.services.now()
        entry = StackEntry(str(self.opened.ref), file, digest, user, now, record)
        self.history = replace(self.history, entries=(*self.history.entries, entry))
        if record.outcome == "started":
            self.run = number
        return file

    def _recorded(self, opened: OpenCandidate, record: RefreshRecord) -> str:
        """Return the file name of a statement at exactly this place in the history; empty for none.

        A run that died before it reached the ledger may have written it, with other times and check counts.
        """

        def place(said: RefreshRecord) -> tuple[object, ...]:
            where = said.stack, said.number, said.previous
            return *where, said.action, said.outcome, said.release, said.before, said.after

        found = (each for each in _entries(opened) if place(each.record) == place(record))
        return next((each.file for each in found), "")


def new_record(services: Services, started_on: datetime, **values: object) -> RefreshRecord:
    """Make a record of this stack; the :class:`Recorder` fills in its number and place."""
    section = services.configuration.saas
    if section.strategy == "none":
        raise ConfigurationError("no SaaS stack is configured")
    fixed = {"stack": section.stack, "strategy": section.strategy, "number": 1, "startedOn": started_on}
    return RefreshRecord.model_validate({**fixed, **values})
