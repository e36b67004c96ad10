"""How images leave the daemon for an export: saved, or pushed; decided by what it and the share know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.images import LocalImage
from jenkins_release.steps.candidate.known_layers import LEAST, KnownLayers
from jenkins_release.steps.candidate.pushed_archive import PushLimits
from jenkins_release.steps.context.services import Services

_SAVE_RATE = 80e6
"""Bytes a second that ``docker save`` reads: 2.5 GB in 35 s (measured, Docker 20.10, overlay2)."""
_CONTENT_RATE = 100e6
"""The same with containerd's image store, of compressed bytes. Assumed: not measured on an idle machine."""
_PUSH_RATE = 14e6
"""Bytes a second that a daemon compresses for a push: 2.5 GB in 178 s (measured there too)."""
_WORTH_S = 1.0
"""Seconds that a push has to save."""
_LEAST_BOUND_S = 10.0


@dataclass(frozen=True)
class Choice:
    """How the images leave the daemon.

    Attributes:
        push: Whether the daemon pushes them.
        why: Why, for people.
        limits: When a push is given up.
    """

    push: bool
    why: str
    limits: PushLimits = field(default_factory=PushLimits)


def choose_source(images: Sequence[LocalImage], known: KnownLayers, services: Services) -> Choice:
    """Choose how the images of an archive leave the daemon.

    Args:
        images: The images.
        known: Layers on the share.
        services: Daemon and configuration.

    Raises:
        ConfigurationError: ``export.source`` is ``push``, which cannot be done.
        RemoteError: The daemon failed, after the retries.
    """
    source = services.configuration.export.source
    obstacle = next(_obstacles(services), "")
    if source == "push":
        if obstacle:
            raise ConfigurationError(
                f"export.source is push, but {obstacle}", hint='set export.source to "auto" or "save"'
            )
        return Choice(push=True, why="export.source is push")
    if source == "save" or obstacle:
        return Choice(push=False, why=obstacle or "export.source is save")
    if not all(image.config_digest for image in images):
        return _of_content(images, known)
    sizes: dict[str, int] = {}
    for image in images:
        if any(known.gzip_of(diff_id) for diff_id in image.diff_ids):
            sizes |= _sizes(image, services)
        else:
            sizes |= dict.fromkeys(image.diff_ids, image.size // max(len(image.diff_ids), 1))
    new = {diff_id: size for diff_id, size in sizes.items() if known.gzip_of(diff_id) is None}
    save_s, push_s = sum(sizes.values()) / _SAVE_RATE, sum(new.values()) / _PUSH_RATE
    told = (
        f"{len(new)} of {len(sizes)} layers are new, "
        f"{_megabytes(new.values())} of {_megabytes(sizes.values())}"
    )
    if save_s - push_s < _WORTH_S:
        return Choice(push=False, why=told)

    # Images are pushed at the same time, and each sends its layers. So are small ones that the share has, but
    # the daemon knows by no digest.
    def may_be_sent(diff_id: str) -> bool:
        stretch = known.gzip_of(diff_id)
        return stretch is None or stretch.size < LEAST

    layers = sum(may_be_sent(diff_id) for image in images for diff_id in image.diff_ids)
    return Choice(push=True, why=told, limits=PushLimits(layers, max(save_s, _LEAST_BOUND_S)))


def _of_content(images: Sequence[LocalImage], known: KnownLayers) -> Choice:
    """Choose for containerd's image store: it need not compress anything for a push."""
    diff_ids = {diff_id for image in images for diff_id in image.diff_ids}
    there = [stretch for diff_id in diff_ids if (stretch := known.gzip_of(diff_id)) and stretch.size >= LEAST]
    saved = sum(stretch.size for stretch in there)
    told = f"the share has {len(there)} of {len(diff_ids)} layers, {_megabytes([saved])}"
    if saved / _CONTENT_RATE < _WORTH_S:
        return Choice(push=False, why=told)
    save_s = sum(image.size for image in images) / _CONTENT_RATE
    return Choice(push=True, why=told, limits=PushLimits(seconds=max(save_s, _LEAST_BOUND_S)))


def _obstacles(services: Services) -> Iterator[str]:
    if services.configuration.export.layers != "gzip":
        yield "export.layers is plain, which keeps the archive of docker save"
    if not services.engine.may_share_loopback:
        yield f"the Docker daemon at {services.engine.url} is on another machine"


def _sizes(image: LocalImage, services: Services) -> dict[str, int]:
    """Return the bytes of each layer. The history here has no empty ones, so some may be a neighbour's."""
    what = f"read the history of {image.reference}"
    found = services.retry(what, services.engine.sizes, image.reference)
    missing = len(image.diff_ids) - len(found)
    return dict(zip(image.diff_ids, (*found[: len(image.diff_ids)], *([0] * max(missing, 0))), strict=False))


def _megabytes(sizes: Iterable[int]) -> str:
    return f"{sum(sizes) / 1e6:.1f} MB"
