"""Platforms, compared as in containerd.

Follows ``normalizeOS`` and ``normalizeArch`` of github.com/containerd/platforms: ``arm64`` and
``arm64/v8`` are the same, ``amd64/v1`` is ``amd64``, ``arm`` alone is ``arm/v7``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from jenkins_release.base.errors import ConfigurationError

_PART = re.compile(r"[A-Za-z0-9_.-]+")
_VARIANTS = {"linux/arm64": "v8", "linux/arm": "v7"}
"""The default variant of each architecture."""
_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "i386": ("386", ""),
}


@dataclass(frozen=True, order=True)
class Platform:
    """A platform in its normal form; make one with :func:`normalise` or :func:`parse_platform`.

    Attributes:
        os: Operating system, such as ``linux``.
        architecture: Go's name of the architecture, such as ``amd64``.
        variant: Variant if it is not the default one, such as ``v7``; else empty.
    """

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def normalise(os: str, architecture: str, variant: str = "") -> Platform:
    """Return the platform in its normal form."""
    os, architecture, variant = os.lower(), architecture.lower(), variant.lower()
    if architecture in _ARCHITECTURES:
        architecture, usual = _ARCHITECTURES[architecture]
        variant = usual or variant
    if variant.isdigit() and architecture in {"arm", "arm64"}:
        variant = f"v{variant}"
    if (architecture, variant) in {("amd64", "v1"), ("arm64", "v8"), ("386", variant)}:
        variant = ""
    if (architecture, variant) == ("arm", ""):
        variant = "v7"
    return Platform("darwin" if os == "macos" else os, architecture, variant)


def parse_platform(value: str) -> Platform:
    """Read ``os/architecture`` or ``os/architecture/variant``.

    Raises:
        ConfigurationError: It is something else.
    """
    parts = value.split("/")
    if len(parts) not in {2, 3} or not all(_PART.fullmatch(part) for part in parts):
        raise ConfigurationError(
            f"platform {value!r} is not os/architecture or os/architecture/variant",
            hint="write linux/amd64 or linux/arm64",
        )
    return normalise(*parts)


def same_platform(stated: str, wanted: str) -> bool:
    """Whether Docker and skopeo take what an index states for the wanted platform.

    The default variant may be left out. Docker also takes other spellings, skopeo and Podman do not.
    """
    return _usual(stated) == _usual(wanted)


def _usual(platform: str) -> str:
    return f"{platform}/{_VARIANTS[platform]}" if platform in _VARIANTS else platform
