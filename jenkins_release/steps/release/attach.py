"""Attach: statements about the images of a release, in the registry, for cosign and admission policies.

It can be repeated: what is attached already is left as it is.
"""

from __future__ import annotations

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.names import check_identifier
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.notices.announce import announced, by_version
from jenkins_release.steps.referrers.attach import AttachedStatement, attach_statements
from jenkins_release.steps.release.attestations import released_candidate
from jenkins_release.steps.release.releases import promoted_here, release_of


@dataclass(frozen=True)
class AttachRequest:
    """Which release's images get statements.

    Attributes:
        version: The version.
        build: The build; only needed if several builds of the version were promoted.
        key: URI of the promotion key; ``signing.promotion_key`` by default; a dry run needs none.
        dry_run: Show what would be attached, change nothing.
    """

    version: str
    build: str = ""
    key: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class AttachReport:
    """What is attached.

    Attributes:
        candidate: The candidate that was promoted.
        registry: Registry host.
        statements: Every statement of every image.
    """

    candidate: CandidateRef
    registry: str
    statements: tuple[AttachedStatement, ...]

    @property
    def changed(self) -> bool:
        """Whether anything was attached, or would be."""
        return any(each.added for each in self.statements)


@announced("release attach", by_version)
def attach_attestations(request: AttachRequest, services: Services) -> AttachReport:
    """Attach verification summary, provenance, SBOM and VEX to each image of a release, in the registry.

    Each is signed by the promotion key, and about exactly that image. What is attached already is left as it
    is, so it can be repeated.

    Raises:
        ConfigurationError: No build of the version was promoted, or several were; there is no key; another
            registry is configured, or it lacks an image; or a repository's tags are immutable.
        GateRefused: The release is not validated and in force.
        IntegrityError: The candidate or a document of it was altered, or the registry's answers were.
        RemoteError: Share or registry failed, after the retries, or the registry takes nothing that refers to
            an image.
        LeaseHeld: A promotion or a withdrawal of this candidate is running.
    """
    version = check_identifier("version", request.version)
    signer = services.promotion_signer(request.key, dry_run=request.dry_run)
    opened = released_candidate(version, request.build, services)
    release = release_of(opened)
    if release is None:
        raise ConfigurationError(
            f"{opened.ref} has no images in a registry, so there is nothing to attach to",
            hint="'release attestations' writes its attestations to a file",
        )
    opened.require_unaltered()
    promoted = promoted_here(release, services)
    found = attach_statements(opened, signer, services, dry_run=request.dry_run)
    return AttachReport(opened.ref, promoted.registry, found)
