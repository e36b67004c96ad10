"""History: the whole history of a version over all its candidates, from the share alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.base.names import check_identifier
from jenkins_release.records.attestation import KINDS, PUBLICATION, Statement
from jenkins_release.rules.gate.chain import Chain
from jenkins_release.rules.gate.ledger import Standing
from jenkins_release.rules.release.story import Story, tell
from jenkins_release.share.candidates import MANIFEST, CandidateRef
from jenkins_release.share.releases import RELEASE
from jenkins_release.steps.candidate.authority import release_refusals
from jenkins_release.steps.candidate.ledger_standing import read_lines_of_each, standing_of
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.candidate.verify import lost_records
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.publication.published_files import read_published
from jenkins_release.steps.release.releases import build_order, no_such_version

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildHistory:
    """The story of one candidate.

    Attributes:
        ref: Its place.
        location: Its folder as people read it.
        story: What became of it.
        altered: The story's own findings, and what is wrong with the folder.
        unproven: Why the policy does not allow the release that it is said to be; empty if it does, and
            where it is in force no more.
    """

    ref: CandidateRef
    location: str
    story: Story
    altered: tuple[str, ...]
    unproven: tuple[str, ...] = ()


@dataclass(frozen=True)
class VersionHistory:
    """The story of a version.

    Attributes:
        product: Product.
        version: Version.
        builds: Its candidates, in the order of their builds.
        area: What is wrong with what is published of it.
    """

    product: str
    version: str
    builds: tuple[BuildHistory, ...]
    area: tuple[str, ...] = ()

    @property
    def altered(self) -> tuple[str, ...]:
        """Every finding, those of a candidate with its name."""
        found = tuple(f"{build.ref}: {line}" for build in self.builds for line in build.altered)
        return (*found, *self.area)

    def problem(self) -> IntegrityError | None:
        """The error that the story ends with where something was altered or is not provable, else None."""
        if self.altered:
            return IntegrityError(
                f"the record of {self.product} {self.version} was altered: {self.altered[0]}",
                hint="find out who changed the share; 'candidate verify' says which files changed, and when",
                reasons=self.altered,
            )
        unproven = [f"{build.ref}: {line}" for build in self.builds for line in build.unproven]
        if unproven:
            return IntegrityError(
                f"not every release of {self.product} {self.version} is provable: {unproven[0]}",
                hint="find out who signed it; nothing of it is shown or served to customers",
                reasons=unproven,
            )
        return None


def release_history(version: str, services: Services) -> VersionHistory:
    """Read everything that is recorded of a version. Asks neither the registry nor a daemon.

    Signatures and the chain of attestations are checked; what the archives hold is not read again:
    'candidate verify' does that. An attestation that was removed from the very end of a chain
    leaves no trace in it (:mod:`jenkins_release.steps.candidate.verify`).

    Raises:
        ConfigurationError: There is no candidate of that version, or it is no version.
        RemoteError: The share failed, after the retries.
    """
    check_identifier("version", version)
    known = services.retry("list candidates", services.candidates.refs)
    refs = [ref for ref in known if ref.version == version]
    if not refs:
        raise no_such_version(version, known, services)
    ordered = sorted(refs, key=lambda ref: build_order(ref.build))
    builds = tuple(build_history(ref, services) for ref in ordered)
    return VersionHistory(services.candidates.product, version, builds, _area(version, builds, services))


def _area(version: str, builds: Sequence[BuildHistory], services: Services) -> tuple[str, ...]:
    """Compare what is published with what the candidates' chains say was published of them."""
    if not services.configuration.share.releases:
        return ()
    area = services.releases
    shown = area.shown(version, RELEASE)
    try:
        found = services.retry(f"read {shown}", read_published, version, area)
    except IntegrityError as error:
        return (error.message,)
    except RemoteError as error:
        # Who may read the candidates' share may have no right to the release area.
        if not any(_publication(build) is not None for build in builds):
            _log.warning("what is published is not compared: %s", error.message)
            return ()
        raise
    if found is None:
        return tuple(
            f"{area.shown(version)} was published from {build.ref}, and is gone"
            for build in builds
            if _publication(build) is not None
        )
    own = next((build for build in builds if build.ref.build == found.record.build), None)
    if own is None:
        return (f"{shown} was published from {found.record.candidate}, which is not on the share",)
    published = _publication(own)
    if published is None or published.subjects.get(RELEASE) != found.digest.removeprefix("sha256:"):
        return (f"{shown} is not what was published of {own.ref}: no publication attestation names it",)
    return ()


def _publication(build: BuildHistory) -> Statement | None:
    """Return the last publication that counts."""
    said = [e.statement for e in build.story.events if e.counts and e.kind == KINDS[PUBLICATION]]
    return said[-1] if said else None


def build_history(ref: CandidateRef, services: Services) -> BuildHistory:
    """Read what is recorded of one candidate, whatever state it is in; see :func:`release_history`."""
    area = services.candidates
    try:
        manifest, missing = services.retry(f"read {ref}", area.read_small, ref, MANIFEST), ""
    except IntegrityError as error:
        manifest, missing = b"", error.message
    lines = read_lines_of_each([ref], services)[ref]
    attestations, unread = _attestations(ref, services)
    chain = Chain.of(manifest, attestations)
    if isinstance(lines, IntegrityError):
        standing = Standing(arrivals={}, altered=(lines.message,))
    else:
        standing = standing_of(ref, chain, lines, services)
    story = tell(replace(chain, arrivals=standing.arrivals), services.trusted_keys, services.now())
    altered = [missing or story.altered[0], *story.altered[1:]] if story.record is None else [*story.altered]
    altered += [*standing.altered, *unread]
    altered += lost_records(ref, story.digest, list(attestations), services)
    record = story.record
    if record is not None and (record.product, record.ident) != (area.product, str(ref)):
        altered.append(
            f"{area.shown(ref, MANIFEST)} describes {record.product} {record.ident}: the folder was renamed "
            "or copied"
        )
    unproven: tuple[str, ...] = ()
    if record is not None and not altered and story.state not in {"not released", "withdrawn", "retired"}:
        known = None if isinstance(lines, IntegrityError) else lines
        unproven = release_refusals(OpenCandidate(ref, record, chain, known, services))
    return BuildHistory(ref, area.shown(ref), story, tuple(altered), unproven)


def _attestations(ref: CandidateRef, services: Services) -> tuple[dict[str, bytes], list[str]]:
    """Read all attestations; one that is far too large is told as unreadable, and hides no other."""
    area = services.candidates
    names, strange = services.retry(f"list the attestations of {ref}", area.look_at_attestations, ref)
    found: dict[str, bytes] = {}
    unread = list(strange.values())
    for name in names:
        try:
            found[name] = services.retry(f"read {name}", area.read_attestation, ref, name)
        except IntegrityError as error:
            found[name] = b""
            unread.append(error.message)
    return found, unread
