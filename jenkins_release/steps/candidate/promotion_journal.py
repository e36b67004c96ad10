"""The journal of a promotion, kept while it runs and read by the next run.

It never decides or stops anything: a journal that cannot be read counts as empty, and an entry that cannot be
written is a warning.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable
from datetime import datetime
from typing import Any

from jenkins_release.base.errors import ReleaseError
from jenkins_release.base.signing import Signer
from jenkins_release.records.journal import (
    JournalEntry,
    JournalEvent,
    JournalImage,
    JournalReading,
    PromotionRun,
    push_of,
    read_journal,
    runs_of,
    sign_entry,
)
from jenkins_release.records.plan import Plan, PlannedImage
from jenkins_release.records.registry_image import StoredImage
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.share.journal import JournalFolder
from jenkins_release.share.protocol import Lease
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.context.services import Services

_log = logging.getLogger(__name__)


def read_promotion_journal(opened: OpenCandidate, registry: str | None, services: Services) -> JournalReading:
    """Read the journal of a candidate's promotion to a registry. Raises nothing."""
    return read_journal_of(opened.ref, opened.digest, registry, services)


def read_journal_of(
    ref: CandidateRef, digest: str, registry: str | None, services: Services
) -> JournalReading:
    """Read the journal of a candidate by the digest of its ``candidate.json``. Raises nothing."""
    folder = JournalFolder(services.candidates, ref)
    try:
        files = services.retry(f"read the journal of {ref}", folder.read)
    except ReleaseError as error:
        _log.warning("the journal of %s cannot be read: %s", ref, error)
        return JournalReading(unread=error.message)
    reading = read_journal(files, digest, registry, services.trusted_keys)
    for line in reading.ignored:
        _log.warning("the journal of %s: not counted: %s", ref, line)
    return reading


class PromotionJournal:
    """The journal of one promotion run, kept under the candidate's lease.

    Args:
        opened: The candidate.
        plan: The plan as this run found it.
        lease: The lease; if it was lost, an entry is a warning too.
        signer: The promotion key.
        services: Share, clock, environment.
        token: Makes the run's id.
    """

    def __init__(
        self,
        opened: OpenCandidate,
        plan: Plan,
        lease: Lease,
        signer: Signer,
        services: Services,
        *,
        token: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self._opened = opened
        self._registry = plan.registry
        self._lease = lease
        self._signer = signer
        self._services = services
        self._folder = JournalFolder(services.candidates, opened.ref)
        self._entries = list(read_promotion_journal(opened, plan.registry, services).entries)
        self._number = 0
        self._unwritable = False
        self.run = PromotionRun(
            id=token(8),
            by=services.user(),
            host=socket.gethostname(),
            pid=os.getpid(),
            build_url=services.build_url,
            started_on=services.now(),
            plan=plan.digest,
        )
        self._note("started")

    def pushing(self, planned: PlannedImage) -> None:
        """Note that an image is absent and about to be pushed, so that the run is known whatever happens."""
        self._note("pushing", _image(planned, None))

    def pushed(self, planned: PlannedImage, stored: StoredImage) -> None:
        """Note that an image was pushed and proven."""
        self._note("pushed", _image(planned, stored.digest))

    def tagged(self) -> None:
        """Note that every release tag is set."""
        self._note("tagged")

    def done(self, attestation: str) -> None:
        """Note that the promotion is recorded."""
        self._note("done", attestation=attestation)

    def push_claim(self, planned: PlannedImage, digest: str) -> dict[str, Any]:
        """Return what the promotion attestation says of who pushed an image; null if nobody noted it."""
        entry = push_of(self._entries, planned.repository, digest, planned.identity)
        return {
            "pushedOn": entry.at.isoformat() if entry else None,
            "pushedByRun": entry.run.id if entry else None,
        }

    def runs_claim(self, pushers: set[str], since: datetime | None) -> list[dict[str, Any]]:
        """Return the runs in the form for the promotion attestation.

        Args:
            pushers: Ids of runs to include whenever they took place.
            since: Other runs that started earlier belong to an earlier promotion, and are left out.
        """
        late = {run.id for run in runs_of(self._entries, since)}
        return [
            {
                "id": run.id,
                "by": run.by,
                "host": run.host,
                "buildUrl": run.build_url,
                "startedOn": run.started_on.isoformat(),
                "planDigest": run.plan,
            }
            for run in runs_of(self._entries)
            if run.id in late or run.id in pushers
        ]

    def _note(self, event: JournalEvent, image: JournalImage | None = None, *, attestation: str = "") -> None:
        self._number += 1
        entry = JournalEntry(
            candidate=self._opened.digest,
            registry=self._registry,
            run=self.run,
            number=self._number,
            event=event,
            at=self._services.now(),
            image=image,
            attestation=attestation,
        )
        self._entries.append(entry)

        def write() -> None:
            self._folder.append(entry.label, sign_entry(entry, self._signer), self._lease)

        try:
            # A share that refuses the journal does so every time, so retry only the first entry.
            write() if self._unwritable else self._services.retry(f"note {entry.label}", write)
        except ReleaseError as error:
            self._unwritable = True
            _log.warning("the journal of %s: %s is not noted: %s", self._opened.ref, entry.label, error)


def _image(planned: PlannedImage, digest: str | None) -> JournalImage:
    return JournalImage(
        name=planned.name,
        repository=planned.repository,
        config_digest=planned.config_digest,
        index_digest=planned.index_digest,
        digest=digest,
    )
