"""Where customers download from: an S3 bucket, or a folder that a web server serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jenkins_release.base.lazy_imports import imported_on_use
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

__getattr__ = imported_on_use(__name__, {"S3Portal": "s3", "SharePortal": "folder"})
