r"""The share with candidates and releases: SMB, or a folder instead.

:func:`open_share` decides by the location: ``\\server\share\folder`` and ``smb://server/share`` are
SMB; anything else is a folder of this machine. The SMB code is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jenkins_release.base.lazy_imports import imported_on_use
from jenkins_release.share.factory import ClosableShare, open_share
from jenkins_release.share.folder.share import DirectoryShare
from jenkins_release.share.protocol import Entry, Lease, PathExists, PathNotFound, Share, ShareFull, Writer
from jenkins_release.share.smb.address import SmbAddress

if TYPE_CHECKING:
    from jenkins_release.share.smb.share import SmbShare

__all__ = [
    "ClosableShare",
    "DirectoryShare",
    "Entry",
    "Lease",
    "PathExists",
    "PathNotFound",
    "Share",
    "ShareFull",
    "SmbAddress",
    "SmbShare",
    "Writer",
    "open_share",
]

__getattr__ = imported_on_use(__name__, {"SmbShare": "smb.share"})
