"""Warm: lets a daemon learn the digests of its layers, so that an export by push need not send them.

A daemon with the classic image store knows a layer by digest only after it pulled or pushed it. The push here
goes nowhere; what counts is that the daemon compressed each layer once.
"""

from __future__ import annotations

import math
import threading
import time

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.names import check_identifier
from jenkins_release.base.tags import image_reference
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.oci.manifests import RawManifest
from jenkins_release.steps.candidate.loopback_names import repository_name
from jenkins_release.steps.candidate.loopback_push import NotPushed, loopback_push
from jenkins_release.steps.context.services import Services


@dataclass(frozen=True)
class WarmReport:
    """What the daemon learnt.

    Attributes:
        images: The images.
        layers: Layers that it compressed for the first time.
        bytes: Their compressed bytes.
        seconds: How long it took.
        complete: Whether it knows every layer now; if not, the time was over.
    """

    images: tuple[str, ...]
    layers: int
    bytes: int
    seconds: float
    complete: bool


def warm_daemon(version: str, build: str, services: Services, *, seconds: float | None = None) -> WarmReport:
    """Let the daemon push the configured images of a build to nowhere.

    Each layer counts as soon as it is complete: the next run goes on where this one ended.

    Args:
        version: Product version.
        build: Build number.
        services: The daemon.
        seconds: Longest time; None for as long as it takes.

    Raises:
        ConfigurationError: Wrong version or build, no image of a daemon, or one is missing.
        NotPushed: The daemon cannot push to this machine's loopback.
        RemoteError: The daemon failed.
    """
    release = ReleaseVersion.parse(version)
    check_identifier("build", build)
    references = tuple(
        image_reference(section.source, release, build)
        for section in services.configuration.images
        if not section.archive
    )
    if not references:
        raise ConfigurationError(
            "no image of [[images]] comes from a Docker daemon",
            hint="images with an archive are exported without one",
        )
    begun, nowhere = time.monotonic(), _Nowhere()
    until = math.inf if seconds is None else begun + seconds

    def check() -> None:
        if time.monotonic() > until:
            raise _TimeIsOver("")

    complete = True
    try:
        with loopback_push(nowhere, services) as registry:
            for number, reference in enumerate(references):
                check()
                services.retry(f"inspect {reference}", services.engine.inspect, reference)
                registry.push(registry.name(reference, repository_name(number)), check, until)
    except _TimeIsOver:
        complete = False
    return WarmReport(references, nowhere.layers, nowhere.bytes, time.monotonic() - begun, complete)


class _TimeIsOver(NotPushed):
    pass


class _Nowhere:
    """Takes everything, keeps nothing, and holds whatever the daemon knows by digest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.layers = 0
        self.bytes = 0

    def held(self, digest: str) -> int | None:  # noqa: ARG002
        return 1

    def blob(self) -> _Dropped:
        return _Dropped(self)

    def manifest(self, repository: str, manifest: RawManifest) -> None:
        """It names only what the daemon knows."""

    def count(self, size: int) -> None:
        with self._lock:
            self.layers += 1
            self.bytes += size


class _Dropped:
    def __init__(self, nowhere: _Nowhere) -> None:
        self._nowhere = nowhere
        self._size = 0

    def write(self, piece: bytes) -> None:
        self._size += len(piece)

    def finish(self, digest: str) -> None:  # noqa: ARG002
        self._nowhere.count(self._size)

    def abandon(self) -> None:
        """Nothing was kept."""
