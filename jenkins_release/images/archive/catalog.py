"""The members of an archive by name: their kinds, and where links lead."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.strict_json import strict_json
from jenkins_release.images.archive.blobs import Blob
from jenkins_release.images.archive.limits import ArchiveLimits
from jenkins_release.images.archive.tar import Kind, TarMember
from jenkins_release.oci.manifests import Descriptor, Listed, RawManifest, check_manifest_size

_OLD_LAYER = re.compile(r"[0-9a-f]{64}/layer\.tar")
_MAX_NAME, _MAX_PART = 2048, 255
BLOB_FOLDER = "blobs/sha256/"
"""Where an OCI layout keeps its blobs (image-layout.md, "Blobs")."""
_Read = TypeVar("_Read")


class Catalog:
    """Members seen so far; complete once :meth:`check` has passed.

    Args:
        limits: Bounds on documents.
        repacked: Whether the plain layers will be compressed before Docker sees them.
    """

    def __init__(self, limits: ArchiveLimits, *, repacked: bool = False) -> None:
        self.repacked = repacked
        self._limits = limits
        self._blobs: dict[str, Blob] = {}
        self._links: dict[str, str] = {}
        self._folders: set[str] = set()
        self._parsed: dict[str, Any] = {}
        self._manifests: dict[tuple[object, str, str], Any] = {}
        self._named: set[str] = set()

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
            raise IntegrityError(f"archive member {member.name!r} has no proper name")
        if name in self or name in self._folders:
            raise IntegrityError(f"archive member {name or '.'!r} occurs twice")
        if member.kind is Kind.DIRECTORY:
            self._folders.add(name)
        elif member.kind is Kind.SYMLINK:
            self._links[name] = _link_target(name, member.target, name.split("/")[:-1])
        return name

    def add(self, blob: Blob) -> None:
        """Remember a file after its data has passed.

        Raises:
            IntegrityError: It is stored as a blob of another digest.
        """
        _check_blob_name(blob.name, blob)
        self._blobs[blob.name] = blob

    def check(self) -> None:
        """Check what is only known at the end: links, and names below names.

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
                    raise IntegrityError(
                        f"archive member {name!r} is below {parent!r}, which is not a folder"
                    )

    def blob(self, name: str, wanted_by: str, *, links: bool = False) -> Blob:
        """Return the file of that name, and count it as named by a document.

        Args:
            name: Name as a document gives it.
            wanted_by: The document, for the message.
            links: Whether it may be a link, as for a layer that images share.

        Raises:
            IntegrityError: The file does not exist.
        """
        normal = _normalise(name)
        if normal not in self:
            raise IntegrityError(
                f"{wanted_by} names {name!r}, which is not in the archive",
                hint="Docker 25 could leave out blobs that images share (moby #49473), and containerd's "
                "image store lacks layers that it had unpacked before it pulled the image (moby #49784): "
                "update Docker, or build or load the image again",
            )
        if normal in self._links and not links:
            raise IntegrityError(f"{wanted_by} names {name!r}, which is a link: only a layer may be one")
        blob = self._follow(normal)
        self._named |= {normal, blob.name}
        return blob

    def name(self, name: str) -> None:
        """Count a member, if there is one, as named by a document."""
        self._named.add(name)

    def name_old_layers(self) -> None:
        """Count links to named layers as named: skopeo and podman write them for Docker before 1.10."""
        for name, target in self._links.items():
            folder = name.removesuffix("/layer.tar")
            if _OLD_LAYER.fullmatch(name) and target in self._named:
                self._named |= {name, f"{folder}/VERSION", f"{folder}/json"}

    def check_named(self) -> None:
        """Check that a document names every member: other readers might use the rest.

        Docker 25 to 27 leave configs of image format 1 among the blobs, to which only a digest leads.

        Raises:
            IntegrityError: No document names a member.
        """
        folders = {name.rpartition("/")[0] for name in self._named} | {""}
        for name in tuple(folders):
            folders |= {"/".join(name.split("/")[:depth]) for depth in range(1, name.count("/") + 1)}
        spare = [name for name in self._links if name not in self._named]
        spare += [
            name
            for name, blob in self._blobs.items()
            if name not in self._named and not self._is_old_config(blob)
        ]
        spare += [name for name in self._folders if name not in folders]
        if spare:
            raise IntegrityError(
                f"no document of the archive names {spare[0]!r}"
                + (f", nor {len(spare) - 1} more of its members" if len(spare) > 1 else ""),
                hint="`docker save` does not write such archives: save the images again",
            )

    def _is_old_config(self, blob: Blob) -> bool:
        if not blob.name.startswith(BLOB_FOLDER) or blob.document is None:
            return False
        document = self.document(blob)
        return isinstance(document, dict) and isinstance(document.get("id"), str) and "rootfs" not in document

    def has_digest(self, digest: str) -> bool:
        """Whether the OCI layout holds the blob."""
        return BLOB_FOLDER + digest.removeprefix("sha256:") in self

    def stored(self, named: Descriptor | Listed, wanted_by: str) -> Blob:
        """Return a blob of the OCI layout. Raises IntegrityError if it is missing, or has another size."""
        blob = self.blob(BLOB_FOLDER + named.digest.removeprefix("sha256:"), wanted_by)
        if blob.size != named.size:
            raise IntegrityError(
                f"{wanted_by} gives {named.digest} a size of {named.size} bytes, found {blob.size}"
            )
        return blob

    def manifest(
        self, listed: Listed, read: Callable[[RawManifest, str], _Read], wanted_by: str, what: str
    ) -> _Read:
        """Read a manifest or index of the OCI layout as whoever gets it from a registry.

        Args:
            listed: What lists it says of it.
            read: A reader of :mod:`jenkins_release.oci.manifests`.
            wanted_by: The document that lists it, for messages.
            what: Which image it is, for messages.

        Raises:
            IntegrityError: It is missing, malformed, or larger than registries accept.
        """
        blob = self.stored(listed, wanted_by)
        key = (read, blob.digest, listed.media_type)
        if key not in self._manifests:
            check_manifest_size(blob.digest, blob.size, what)
            data = self.content(blob)
            self._manifests[key] = read(RawManifest(blob.digest, listed.media_type, data), what)
        found: _Read = self._manifests[key]
        return found

    def kept(self, digest: str) -> bytes:
        """Return the bytes of a document by its digest. Raises IntegrityError if it is missing."""
        for blob in self._blobs.values():
            if blob.digest == digest and blob.document is not None:
                return blob.document
        raise IntegrityError(f"the archive has no document with the digest {digest}")

    def document(self, blob: Blob) -> Any:
        """Return a file's JSON; its shape must be checked.

        Raises:
            IntegrityError: It is too large, or is not JSON.
        """
        if blob.name not in self._parsed:
            self._parsed[blob.name] = strict_json(self.content(blob), blob.name, maps=True)
        return self._parsed[blob.name]

    def content(self, blob: Blob) -> bytes:
        """Return the bytes of a document. Raises IntegrityError if it cannot be one."""
        if blob.document is None:
            what = (
                f"has {blob.size} bytes, expected at most {self._limits.document_bytes}"
                if blob.size > self._limits.document_bytes
                else "does not begin like one, or the archive's documents are too large in total"
            )
            raise IntegrityError(f"{blob.name} should be a JSON document but {what}")
        return blob.document

    def _follow(self, name: str) -> Blob:
        target = self._links.get(name, name)
        if target not in self._blobs:
            what = "not in the archive"
            if target in self._links or target in self._folders:
                what = "a link itself" if target in self._links else "a folder"
            raise IntegrityError(f"the link {name!r} leads to {target!r}, which is {what}")
        return self._blobs[target]


def _check_blob_name(name: str, blob: Blob) -> None:
    # rules_oci of Bazel adds what the blob is: blobs/sha256/<hex>.tar.gz
    hexdigits = name.removeprefix(BLOB_FOLDER)
    if hexdigits != name and blob.digest != f"sha256:{hexdigits.partition('.')[0]}":
        raise IntegrityError(f"the bytes of {name} do not match its name: found {blob.digest}")


def _normalise(name: str) -> str:
    if name.startswith("/"):
        raise IntegrityError(f"archive member {name!r} has an absolute name")
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if len(name.encode()) > _MAX_NAME or any(len(part.encode()) > _MAX_PART for part in parts):
        raise IntegrityError(f"archive member {name[:100]!r}... has a name that no file system allows")
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
