"""Checks of the Docker daemon: whether it answers, what it is for, its image store, and its disk."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from jenkins_release.base.checks import Examination, Found
from jenkins_release.base.clocks import compared
from jenkins_release.base.errors import RemoteError
from jenkins_release.images.protocol import EngineInfo
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.doctor.share import room

DOCKER = "docker"


def examine_docker(examination: Examination, services: Services, *, only_to_push: bool) -> None:
    """Check the daemon.

    Args:
        examination: Where.
        services: Configuration, and the daemon.
        only_to_push: Whether this machine needs it only for a promotion through Docker.
    """
    configuration = services.configuration
    if not configuration.images:
        examination.skip(DOCKER, "not needed: the product has no images")
        return
    if only_to_push and configuration.promote.engine != "docker":
        examination.skip(DOCKER, f"not needed: promote.engine is {configuration.promote.engine}")
        return
    seen: list[EngineInfo] = []
    daemon, space, clock = f"{DOCKER}: daemon", f"{DOCKER}: free space", f"{DOCKER}: clock"
    examination.check(daemon, partial(_daemon, services, seen))
    examination.check(space, lambda: _space(services.engine.url, seen[0]), daemon)
    examination.check(clock, lambda: _clock(seen[0], services.now()), daemon)


def _daemon(services: Services, seen: list[EngineInfo]) -> Found:
    info = services.engine.info()
    seen.append(info)
    said = f"Docker {info.version} at {services.engine.url}, {info.platform}, image store {info.store}"
    configuration = services.configuration
    wanted = dict.fromkeys(p for image in configuration.images for p in configuration.platforms_of(image))
    if any(info.platform.split("/")[:2] == each.split("/")[:2] for each in wanted):
        return Found(said)
    return Found(
        f"{said}; the images are for {', '.join(wanted)}",
        "containers of the product do not run there: use a daemon of this platform, if they are to",
    )


def _space(url: str, info: EngineInfo) -> Found:
    folder = Path(info.folder)
    if not url.startswith("unix://") or not info.folder or not folder.is_dir():
        return Found("not known: the daemon is on another machine, or its folder is not visible here")
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise RemoteError(f"{folder} cannot be looked at: {error.strerror}") from error
    return room(free, "remove images that are no longer needed: docker image prune")


def _clock(info: EngineInfo, here: datetime) -> Found:
    try:
        # Go writes nanoseconds, and a zone; Python reads up to microseconds.
        there = datetime.fromisoformat(info.time)
    except ValueError:
        there = None
    if there is not None and there.tzinfo is None:
        there = there.replace(tzinfo=UTC)
    return compared("the Docker daemon's machine", there, here)
