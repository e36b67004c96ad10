"""Other candidates whose promotion puts the same manifests into the registry.

A promotion puts what an index lists before the index itself. Until the index follows, such a manifest has no
tag and no index lists it: to the registry, it looks like one that nobody needs.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

from jenkins_release.base.errors import ConfigurationError, IntegrityError, LeaseHeld, ReleaseError
from jenkins_release.records.candidate import Candidate, MultiPlatformRecord
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.opened import open_candidate, open_candidates
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.release.releases import Release, candidate_refs, release_of

_log = logging.getLogger(__name__)


class OtherCandidates:
    """The product's candidates by the manifests that ``candidate.json`` names; each is read once.

    Args:
        services: Share and keys.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._manifests: dict[CandidateRef, frozenset[str]] = {}

    @contextmanager
    def none_promoted(self, ref: CandidateRef, digests: Collection[str]) -> Iterator[None]:
        """Hold the lease of every other candidate with one of these manifests for the block.

        A withdrawn one is never promoted, and needs no lease.

        Args:
            ref: The candidate that does not count.
            digests: Digests of the manifests.

        Raises:
            LeaseHeld: A promotion of one of them is running.
            RemoteError: The share failed, after the retries.
        """
        with ExitStack() as held:
            for other in self._having(ref, digests):
                release = self._release(other)
                if release is None or isinstance(release, str) or release.withdrawal is None:
                    held.enter_context(self._services.holding_candidate(other))
            yield

    @contextmanager
    def needing(self, ref: CandidateRef, digests: Collection[str]) -> Iterator[dict[str, str]]:
        """Provide, for the block, the manifests that another candidate needs, each with the reason.

        One that was neither withdrawn nor retired may be promoted at any time. The leases of retired ones are
        held for the block.

        Args:
            ref: The candidate that does not count.
            digests: Digests of the manifests.

        Raises:
            RemoteError: The share failed, after the retries.
        """
        with ExitStack() as held:
            needed: dict[str, str] = {}
            for other, common in self._having(ref, digests).items():
                reason = self._need(other) or self._lock(other, held) or self._need(other)
                if reason:
                    needed |= dict.fromkeys(common, reason)
            yield needed

    def _need(self, ref: CandidateRef) -> str:
        """Say why a candidate needs its manifests; empty if it was withdrawn or retired."""
        release = self._release(ref)
        if isinstance(release, str):
            return f"{ref} names it too, and it is unknown whether it was retired: {release}"
        if release is None:
            return f"{ref} names it too, and may be promoted"
        if release.withdrawal is None and release.retirement is None:
            return f"{ref} names it too, and is in force"
        return ""

    def _lock(self, ref: CandidateRef, held: ExitStack) -> str:
        """Take the lease of a candidate; say why not if a promotion of it is running."""
        try:
            held.enter_context(self._services.holding_candidate(ref))
        except LeaseHeld as error:
            return f"{ref} names it too, and may be promoted right now: {error.message}"
        return ""

    def _release(self, ref: CandidateRef) -> Release | str | None:
        """Read what became of a candidate; None if it was never promoted, a text if it cannot be read."""
        try:
            return release_of(open_candidate(ref, self._services))
        except (IntegrityError, ConfigurationError) as error:
            return error.message

    def _having(self, ref: CandidateRef, digests: Collection[str]) -> dict[CandidateRef, frozenset[str]]:
        """Return the other candidates that have some of the manifests, each with those."""
        refs = [each for each in candidate_refs(self._services) if each != ref]
        opened = open_candidates([each for each in refs if each not in self._manifests], self._services)
        for each, found in opened.items():
            if not isinstance(found, ReleaseError):
                self._manifests[each] = _manifests(found.record)
            elif isinstance(found, (IntegrityError, ConfigurationError)):
                _log.warning("%s is ignored: %s", each, found.message)  # it cannot be promoted either
                self._manifests[each] = frozenset()
            else:
                raise found
        wanted = frozenset(digests)
        shared = {each: self._manifests[each] & wanted for each in refs}
        return {each: common for each, common in shared.items() if common}


def _manifests(record: Candidate) -> frozenset[str]:
    """Return the digests of the manifests that a promotion puts into the registry, if they are fixed."""
    listed = [
        manifest.digest
        for image in record.images
        if isinstance(image, MultiPlatformRecord)
        for manifest in image.manifests
    ]
    return frozenset([*listed, *(image.fixed_digest for image in record.images)])
