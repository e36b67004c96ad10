r"""The layout of published releases in the release area.

``<product>/<version>/`` with ``release.json``, ``SHA256SUMS``, ``installers/`` and the setup zip. A
release is written into a sibling folder ``.incoming-<version>-<id>`` and renamed into place in one
server-side step, so a reader sees a complete release or none.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.names import check_identifier
from jenkins_release.share.litter import is_litter
from jenkins_release.share.protocol import Lease, PathExists, PathNotFound, Share
from jenkins_release.share.staging import (
    Staging,
    present,
    read_bounded,
    rename_whole,
    shown_path,
    stage_folder,
)

RELEASE = "release.json"
INSTALLERS = "installers"
SBOM = "sbom"
"""Folder of the SBOM and VEX documents, in a candidate and in a release."""


class ReleaseArea:
    """The published releases of one product on a share."""

    def __init__(self, share: Share, product: str) -> None:
        self.share = share
        self.product = check_identifier("product", product)

    def folder(self, version: str) -> str:
        """Path of a release's folder below the share's root."""
        return f"{self.product}/{check_identifier('version', version)}"

    def shown(self, version: str, path: str = "") -> str:
        """The readable path of the release's folder, or of a file in it."""
        return shown_path(self.share, f"{self.folder(version)}/{path}")

    def versions(self) -> list[str]:
        """List the published versions by name; unfinished ones have hidden names."""
        try:
            entries = self.share.list(self.product)
        except PathNotFound:
            return []
        return sorted(
            e.name
            for e in entries
            if e.is_folder and not e.name.startswith(".") and not is_litter(e.name, is_folder=True)
        )

    def exists(self, version: str) -> bool:
        """Whether the release's folder is there."""
        return present(self.share, self.folder(version))

    def read_small(self, version: str, path: str) -> bytes:
        """Read a small file of a release.

        Raises:
            ConfigurationError: There is no such release.
            IntegrityError: The release exists, but the file does not, or is far too large.
        """
        try:
            return read_bounded(self.share, f"{self.folder(version)}/{path}")
        except PathNotFound as error:
            if not self.exists(version):
                raise ConfigurationError(
                    f"{self.product} {version} is not published in {self.share.name}",
                    hint="'jenkins-release release list' lists published releases",
                ) from error
            raise IntegrityError(
                f"the release {version} is incomplete: {self.shown(version, path)} is missing",
                hint="find out who removed it: published releases never change",
            ) from error

    def read(self, version: str, path: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of a file of a release, as :meth:`Share.read` does."""
        return self.share.read(f"{self.folder(version)}/{path}", offset=offset, length=length)

    def set_aside(self, version: str, why: str) -> str:
        """Hide a release, under :meth:`lease`: rename its folder to a hidden name next to it.

        Args:
            version: Version.
            why: ``incoming`` if the next :meth:`stage` may remove it; anything else is kept for a person.

        Returns:
            Its new path, for people.
        """
        hidden = f"{self.product}/.{why}-{version}-{secrets.token_hex(4)}"
        rename_whole(self.share, self.folder(version), hidden)
        return shown_path(self.share, hidden)

    @contextmanager
    def stage(self, version: str) -> Iterator[Staging]:
        """Prepare a release, under :meth:`lease`; it is removed if it is not committed.

        Raises:
            PathExists: The release exists already.
        """
        if self.exists(version):
            raise PathExists(f"{self.shown(version)} already exists")
        with stage_folder(self.share, self.product, version) as staging:
            yield staging

    @contextmanager
    def lease(self, version: str, holder: str) -> Iterator[Lease]:
        """Hold the lease for writing one release. Raises LeaseHeld."""
        folder = f"{self.product}/.leases"
        self.share.make_folder(folder)
        with self.share.lease(f"{folder}/{check_identifier('version', version)}.publish", holder) as lease:
            yield lease
