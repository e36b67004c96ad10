"""The stack as the share knows it: its history, its releases, its lease, and its next record."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256

from securesystemslib.signer import Signer

from jenkins_release.errors import ConfigurationError, IntegrityError, ReleaseError
from jenkins_release.records.attestation import PROMOTION, PUBLICATION, REFRESH, WITHDRAWAL
from jenkins_release.records.refresh import RefreshRecord, StackState
from jenkins_release.records.release import Promotion
from jenkins_release.rules.running import ReleasedImages, releases_of
from jenkins_release.rules.stack import StackEntry, StackHistory, stack_history
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.share.protocol import Lease
from jenkins_release.steps._attest import Claim, attest
from jenkins_release.steps._open import OpenCandidate, open_candidates
from jenkins_release.steps._releases import evidence_of
from jenkins_release.steps.listing import candidate_order
from jenkins_release.steps.services import Services
from jenkins_release.version import PROGRAM

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StackKnowledge:
    """What the share knows about the stack.

    Attributes:
        history: Its refreshes.
        released: Every release, in the order of versions and builds.
        notes: What cannot be read, or does not fit.
    """

    history: StackHistory
    released: tuple[ReleasedImages, ...]
    notes: tuple[str, ...]

    def named(self, state: StackState, services: Services) -> StackState:
        """Say which release a state is: the one that was recorded, where it is one of several."""
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


def read_knowledge(services: Services) -> StackKnowledge:
    """Read every candidate's attestations, in a few round trips.

    Raises:
        RemoteError: The share failed, after the retries.
    """
    refs = services.retry("list candidates", services.candidates.refs)
    entries: list[StackEntry] = []
    released: list[ReleasedImages] = []
    notes: list[str] = []
    ordered = sorted(refs, key=candidate_order)
    for ref, opened in open_candidates(ordered, services).items():
        if isinstance(opened, ReleaseError):
            notes.append(f"{ref} cannot be read: {opened.message}")
            continue
        try:
            entries += _entries(opened, services)
            released += _released(opened, services)
        except IntegrityError as error:
            notes.append(f"{ref}: {error.message}")
    history = stack_history(services.configuration.saas.stack, entries)
    for note in (*notes, *history.notes):
        _log.warning("%s", note)
    return StackKnowledge(history, tuple(released), (*notes, *history.notes))


def _released(opened: OpenCandidate, services: Services) -> list[ReleasedImages]:
    """Return the release that a candidate became, by promotion or publication; none where it is none."""
    evidence = evidence_of(opened, services)
    promotions = evidence.of(PROMOTION)
    last = max(evidence.latest(PROMOTION), evidence.latest(PUBLICATION))
    if not last:
        return []
    promoted = Promotion.of(promotions[-1].statement, promotions[-1].file).images if promotions else ()
    digests = {image.name: image.digest for image in promoted}
    return [ReleasedImages(str(opened.ref), digests, evidence.latest(WITHDRAWAL) > last)]


def _entries(opened: OpenCandidate, services: Services) -> list[StackEntry]:
    return [
        StackEntry(
            str(opened.ref),
            item.file,
            sha256(opened.attestations[item.file]).hexdigest(),
            str(item.statement.extension.get("refreshedBy", "?")),
            item.statement.signed_at,
            RefreshRecord.of(item.statement, item.file),
        )
        for item in evidence_of(opened, services).of(REFRESH)
    ]


def candidate_of(entry: StackEntry, services: Services) -> OpenCandidate:
    """Open the candidate in whose chain a statement stands."""
    ref = CandidateRef.parse(entry.candidate)
    opened = open_candidates([ref], services)[ref]
    if isinstance(opened, ReleaseError):
        raise opened
    return opened


@contextmanager
def stack_lease(services: Services) -> Iterator[Lease]:
    """Hold the lease of those who change the stack.

    Raises:
        LeaseHeld: Another refresh or rollback of this stack is running.
    """
    share, product = services.share, services.candidates.product
    folder = f"{product}/.leases"
    services.retry(f"make {folder}", lambda: share.make_folder(folder))
    with share.lease(
        f"{folder}/saas-{services.configuration.saas.stack}.refresh", services.holder()
    ) as lease:
        yield lease


@dataclass
class Recorder:
    """Appends the statements of one run, each behind the one before.

    Attributes:
        opened: The candidate in whose chain they stand.
        signer: The promotion key.
        services: Share, clock and user.
        history: The stack's history before this run.
        run: Number of the statement with which the run began.
    """

    opened: OpenCandidate
    signer: Signer
    services: Services
    history: StackHistory
    run: int = 0

    def resume(self, entry: StackEntry) -> None:
        """Go on with a run that died after this statement."""
        self.run = entry.record.number

    def add(self, record: RefreshRecord) -> str:
        """Append a statement; its number and what it follows are filled in. Returns its file name."""
        number, previous = self.history.follows()
        record = record.model_copy(update={"number": number, "previous": previous})
        predicate = {
            **record.model_dump(mode="json", by_alias=True),
            "finishedOn": self.services.now().isoformat(),
            "buildUrl": self.services.environ.get("BUILD_URL", ""),
            "program": PROGRAM,
        }
        user = self.services.user()
        claim = Claim(REFRESH, predicate, {"refreshedBy": user}, {})
        file = attest(self.opened, claim, self.signer, self.services)
        digest = sha256(self.opened.attestations[file]).hexdigest()
        entry = StackEntry(str(self.opened.ref), file, digest, user, self.services.now(), record)
        self.history = replace(self.history, entries=(*self.history.entries, entry))
        if record.outcome == "started":
            self.run = number
        return file


def new_record(services: Services, started_on: datetime, **values: object) -> RefreshRecord:
    """Make a record of this stack; number and place are the :class:`Recorder`'s business."""
    section = services.configuration.saas
    if section.strategy == "none":
        raise ConfigurationError("no SaaS stack is configured")
    fixed = {"stack": section.stack, "strategy": section.strategy, "number": 1, "startedOn": started_on}
    return RefreshRecord.model_validate({**fixed, **values})
