"""Finds the release that a stack is to run: one that is released and in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, GateRefused, IntegrityError
from jenkins_release.base.names import check_identifier
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.share.releases import RELEASE
from jenkins_release.steps.candidate.authority import require_allowed
from jenkins_release.steps.candidate.opened import OpenCandidate, open_candidate
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.publication.published_files import read_published
from jenkins_release.steps.publication.standing import require_believed, require_published, withdrawn_error
from jenkins_release.steps.release.releases import CandidateLook, release_of

_IF_WITHDRAWN = "refresh the stack to a release that is in force; 'saas rollback' returns to the one before"


@dataclass(frozen=True)
class Released:
    """A release that may run on the stack.

    Attributes:
        opened: Its candidate.
        images: Short name of an image to its name in the registry, pinned by digest.
    """

    opened: OpenCandidate
    images: Mapping[str, str] = field(default_factory=dict)

    @property
    def release(self) -> str:
        """``version/build``."""
        return str(self.opened.ref)


def find_released(wanted: str, services: Services) -> Released:
    """Find the release that a stack is to be refreshed to.

    Args:
        wanted: ``version``, or ``version/build`` if several builds of it are released.
        services: Share and keys.

    Raises:
        ConfigurationError: There is no such version, or several builds of it are released.
        GateRefused: It is not released, was withdrawn, or the policy does not allow it.
        IntegrityError: The candidate was altered, or does not match what was published.
    """
    version, slash, build = wanted.partition("/")
    check_identifier("version", version)
    if slash:
        check_identifier("build", build)
    if services.configuration.saas.strategy == "ecs":
        return _promoted(version, build, services)
    return _published(version, build, services)


def _promoted(version: str, build: str, services: Services) -> Released:
    candidates = list(CandidateLook(services).builds(version))
    if build:
        candidates = [each for each in candidates if each.ref.build == build]
        if not candidates:
            open_candidate(CandidateRef(version, build), services)  # raises: there is none
    found = [release for each in candidates if (release := release_of(each)) is not None]
    wanted = f"{version}/{build}" if build else version
    if not found:
        # An altered candidate may only look as if it was not promoted.
        for each in candidates:
            each.require_unaltered()
        raise GateRefused(
            f"{wanted} was not promoted: only a released version may run on the stack",
            hint=f"'jenkins-release release history {version}' tells where it stands",
        )
    in_force = [each for each in found if each.withdrawal is None]
    if not in_force:
        raise withdrawn_error(
            [(each.ref, each.withdrawal) for each in found if each.withdrawal is not None], _IF_WITHDRAWN
        )
    if len(in_force) > 1:
        names = ", ".join(each.ref.build for each in in_force)
        raise ConfigurationError(
            f"several builds of {version} are released: {names}", hint=f"name one: {version}/BUILD"
        )
    (release,) = in_force
    require_believed(release.opened)
    require_allowed(release.opened)
    promoted = release.promoted()
    pinned = {
        image.name: f"{promoted.registry}/{image.repository}@{image.digest}" for image in promoted.images
    }
    return Released(release.opened, pinned)


def _published(version: str, build: str, services: Services) -> Released:
    area = services.releases
    shown = area.shown(version, RELEASE)
    found = services.retry(f"read the release {version}", read_published, version, area)
    if found is None:
        raise GateRefused(
            f"{version} was not published: only a released version may run on the stack",
            hint=f"'jenkins-release release history {version}' tells where it stands",
        )
    record = found.record
    if (record.product, record.version) != (area.product, version):
        raise IntegrityError(
            f"{shown} describes {record.product} {record.version}: the folder was renamed or copied",
            hint="find out who changed the release area",
        )
    if build and record.build != build:
        raise GateRefused(
            f"{version}/{build} was not published: the release {version} is build {record.build}",
            hint="only a published version may run on the stack",
        )
    opened = open_candidate(CandidateRef(version, record.build), services)
    require_published(found, opened, services, if_withdrawn=_IF_WITHDRAWN)
    return Released(opened)
