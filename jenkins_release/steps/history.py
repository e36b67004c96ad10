"""History: the whole story of a version over all its candidates, from the share alone."""

from __future__ import annotations

from dataclasses import dataclass

from jenkins_release.errors import ConfigurationError, IntegrityError
from jenkins_release.rules.names import check_identifier
from jenkins_release.rules.story import Story, tell
from jenkins_release.share.candidates import ATTESTATIONS, MANIFEST, CandidateRef
from jenkins_release.steps._releases import build_order
from jenkins_release.steps.services import Services
from jenkins_release.steps.verify import lost_records


@dataclass(frozen=True)
class BuildHistory:
    """The story of one candidate.

    Attributes:
        ref: Its place.
        location: Its folder as people read it.
        story: What became of it.
        altered: The story's own findings, and what is wrong with the folder.
    """

    ref: CandidateRef
    location: str
    story: Story
    altered: tuple[str, ...]


@dataclass(frozen=True)
class VersionHistory:
    """The story of a version.

    Attributes:
        product: Product.
        version: Version.
        builds: Its candidates, in the order of their builds.
    """

    product: str
    version: str
    builds: tuple[BuildHistory, ...]

    @property
    def altered(self) -> tuple[str, ...]:
        """Every finding, each with its candidate."""
        return tuple(f"{build.ref}: {line}" for build in self.builds for line in build.altered)

    def problem(self) -> IntegrityError | None:
        """The error that the story ends with where something was altered, None where nothing was."""
        if not self.altered:
            return None
        return IntegrityError(
            f"the record of {self.product} {self.version} was altered: {self.altered[0]}",
            hint="find out who changed the share; 'candidate verify' says which files changed, and when",
            reasons=self.altered,
        )


def release_history(version: str, services: Services) -> VersionHistory:
    """Read everything that is recorded of a version. Asks neither the registry nor a daemon.

    Signatures and the chain of attestations are checked; what the archives hold is not read again:
    'candidate verify' does that. An attestation that was removed from the very end of a chain
    leaves no trace in it (:mod:`jenkins_release.steps.verify`).

    Raises:
        ConfigurationError: There is no candidate of that version, or it is no version.
        RemoteError: The share failed, after the retries.
    """
    check_identifier("version", version)
    refs = [
        ref for ref in services.retry("list candidates", services.candidates.refs) if ref.version == version
    ]
    if not refs:
        raise ConfigurationError(
            f"there is no candidate of {services.candidates.product} {version} on {services.share.name}",
            hint="'jenkins-release candidate list' shows what is there",
        )
    ordered = sorted(refs, key=lambda ref: build_order(ref.build))
    builds = tuple(_build(ref, services) for ref in ordered)
    return VersionHistory(services.candidates.product, version, builds)


def _build(ref: CandidateRef, services: Services) -> BuildHistory:
    area = services.candidates
    try:
        manifest, missing = services.retry(f"read {ref}", lambda: area.read_small(ref, MANIFEST)), ""
    except IntegrityError as error:
        manifest, missing = b"", error.message
    attestations, unread = _attestations(ref, services)
    story = tell(manifest, attestations, services.trusted_keys, services.now())
    altered = [missing or story.altered[0], *story.altered[1:]] if story.record is None else [*story.altered]
    altered += unread
    altered += lost_records(ref, story.digest, list(attestations), services)
    record = story.record
    if record is not None and (record.product, record.ident) != (area.product, str(ref)):
        altered.append(
            f"{area.shown(ref, MANIFEST)} describes {record.product} {record.ident}: the folder was renamed "
            "or copied"
        )
    return BuildHistory(ref, area.shown(ref), story, tuple(altered))


def _attestations(ref: CandidateRef, services: Services) -> tuple[dict[str, bytes], list[str]]:
    """Read all attestations; one that is far too large is told as unreadable, and hides no other."""
    area = services.candidates
    names = services.retry(f"list the attestations of {ref}", lambda: area.attestation_names(ref))
    found: dict[str, bytes] = {}
    unread: list[str] = []
    for name in names:
        path = f"{ATTESTATIONS}/{name}"
        try:
            found[name] = services.retry(f"read {path}", lambda path=path: area.read_small(ref, path))  # type: ignore[misc]
        except IntegrityError as error:
            found[name] = b""
            unread.append(error.message)
    return found, unread
