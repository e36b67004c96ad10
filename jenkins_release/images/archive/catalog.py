"""The members of an archive by name: what they are, and where links lead."""

from __future__ import annotations

from typing import Any

from jenkins_release.errors import IntegrityError
from jenkins_release.images.archive.blobs import Blob
from jenkins_release.images.archive.documents import parse_document
from jenkins_release.images.archive.index import ArchiveLimits
from jenkins_release.images.archive.tar import Kind, TarMember

BLOB_FOLDER = "blobs/sha256/"
"""Where an OCI layout keeps its blobs (image-layout.md, "Blobs")."""


class Catalog:
    """Members seen so far; complete when :meth:`check` has passed.

    Args:
        limits: Bounds on documents.
    """

    def __init__(self, limits: ArchiveLimits) -> None:
        self._limits = limits
        self._blobs: dict[str, Blob] = {}
        self._links: dict[str, str] = {}
        self._folders: set[str] = set()
        self._parsed: dict[str, Any] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._blobs or name in self._links

    def admit(self, member: TarMember) -> str:
        """Check a member's name, and remember it unless it is a file.

        Returns:
            The normalised name.

        Raises:
            IntegrityError: The name is taken or leads out of the archive, or the link does.
        """
        name = _normalise(member.name)
        if not name and member.kind is not Kind.DIRECTORY:
            raise IntegrityError(f"archive member {member.name!r} has no name of its own")
        if name in self or name in self._folders:
            raise IntegrityError(f"archive member {name or '.'!r} comes twice")
        if member.kind is Kind.DIRECTORY:
            self._folders.add(name)
        elif member.kind is Kind.SYMLINK:
            self._links[name] = _link_target(name, member.target, name.split("/")[:-1])
        elif member.kind is Kind.HARDLINK:
            self._links[name] = _link_target(name, member.target, [])
        return name

    def add(self, blob: Blob) -> None:
        """Remember a file after its data has passed.

        Raises:
            IntegrityError: It is stored as a blob of another digest.
        """
        _check_blob_name(blob.name, blob)
        self._blobs[blob.name] = blob

    def check(self) -> None:
        """Check what can only be known at the end: links, and names below names.

        Raises:
            IntegrityError: A link leads nowhere, or a file is used as a folder.
        """
        for name in self._links:
            _check_blob_name(name, self._follow(name))
        for name in (*self._blobs, *self._links, *self._folders):
            parents = name.split("/")[:-1]
            for depth in range(1, len(parents) + 1):
                parent = "/".join(parents[:depth])
                if parent in self:
                    raise IntegrityError(f"archive member {name!r} is below {parent!r}, which is no folder")

    def blob(self, name: str, wanted_by: str) -> Blob:
        """Return the file of that name, links followed.

        Args:
            name: Name as a document gives it.
            wanted_by: The document, for the message.

        Raises:
            IntegrityError: There is no such file.
        """
        normal = _normalise(name)
        if normal not in self:
            raise IntegrityError(
                f"{wanted_by} names {name!r}, which is not in the archive",
                hint="Docker 25 could leave out blobs that images share (moby #49473): "
                "update Docker and save the images again",
            )
        return self._follow(normal)

    def has_digest(self, digest: str) -> bool:
        """Whether the OCI layout holds the blob."""
        return BLOB_FOLDER + digest.removeprefix("sha256:") in self

    def blob_of(self, digest: str, wanted_by: str) -> Blob:
        """Return a blob of the OCI layout. Raises IntegrityError when it is missing."""
        return self.blob(BLOB_FOLDER + digest.removeprefix("sha256:"), wanted_by)

    def kept(self, digest: str) -> bytes:
        """Return the bytes of a document by its digest. Raises IntegrityError when it is not there."""
        for blob in self._blobs.values():
            if blob.digest == digest and blob.document is not None:
                return blob.document
        raise IntegrityError(f"the archive holds no document with the digest {digest}")

    def document(self, blob: Blob) -> Any:
        """Return a file's JSON.

        Raises:
            IntegrityError: It is too large, or is not JSON.
        """
        if blob.document is None:
            what = (
                f"has {blob.size} bytes, expected at most {self._limits.document_bytes}"
                if blob.size > self._limits.document_bytes
                else "does not begin like one, or the archive's documents are too large together"
            )
            raise IntegrityError(f"{blob.name} should be a JSON document but {what}")
        if blob.name not in self._parsed:
            self._parsed[blob.name] = parse_document(blob.name, blob.document)
        return self._parsed[blob.name]

    def _follow(self, name: str) -> Blob:
        seen = [name]
        while seen[-1] not in self._blobs:
            target = self._links.get(seen[-1])
            if target is None:
                what = "a folder" if seen[-1] in self._folders else "not in the archive"
                raise IntegrityError(f"the link {name!r} leads to {seen[-1]!r}, which is {what}")
            if target in seen:
                raise IntegrityError(f"the link {name!r} leads in a circle: {' -> '.join([*seen, target])}")
            seen.append(target)
        return self._blobs[seen[-1]]


def _check_blob_name(name: str, blob: Blob) -> None:
    hexdigits = name.removeprefix(BLOB_FOLDER)
    if hexdigits != name and blob.digest != f"sha256:{hexdigits}":
        raise IntegrityError(f"the bytes of {name} do not match its name: found {blob.digest}")


def _normalise(name: str) -> str:
    if name.startswith("/"):
        raise IntegrityError(f"archive member {name!r} has an absolute name")
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise IntegrityError(f"archive member {name!r} has '..' in its name")
    return "/".join(parts)


def _link_target(name: str, target: str, folder: list[str]) -> str:
    if not target or target.startswith("/"):
        raise IntegrityError(f"the link {name!r} leads to {target!r}, expected a name inside the archive")
    parts = list(folder)
    for part in target.split("/"):
        if part == "..":
            if not parts:
                raise IntegrityError(f"the link {name!r} leads to {target!r}, which is outside the archive")
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)
