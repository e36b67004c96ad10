"""Where customers download from: an S3 bucket, or a folder that a web server serves."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jenkins_release.portal.protocol import Advance, Link, NotAtPortal, Portal, PortalFile, Sent, Upload

if TYPE_CHECKING:
    from jenkins_release.portal.folder import SharePortal
    from jenkins_release.portal.s3 import S3Portal

__all__ = [
    "Advance",
    "Link",
    "NotAtPortal",
    "Portal",
    "PortalFile",
    "S3Portal",
    "Sent",
    "SharePortal",
    "Upload",
]

_LAZY = {"S3Portal": "s3", "SharePortal": "folder"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"jenkins_release.portal.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'jenkins_release.portal' has no attribute {name!r}")
