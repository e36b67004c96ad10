"""Reads an image archive as a stream: no file, no seeking, constant memory."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from jenkins_release.base.errors import IntegrityError, ReleaseError
from jenkins_release.images.archive.blobs import Blob, BlobHasher
from jenkins_release.images.archive.catalog import Catalog
from jenkins_release.images.archive.docker_layout import MANIFEST, read_docker_layout
from jenkins_release.images.archive.limits import ArchiveLimits
from jenkins_release.images.archive.oci_index import read_whole_layout
from jenkins_release.images.archive.oci_layout import (
    INDEX,
    LAYOUT,
    no_such_platform,
    raise_all,
    read_every_image,
    read_oci_layout,
)
from jenkins_release.images.archive.tar import Kind, TarMember, TarStream
from jenkins_release.oci.platforms import Platform, parse_platform
from jenkins_release.records.archive_index import ArchivedImage, ArchivedIndex, ArchiveIndex

_PARALLEL_BYTES = 64 << 10
_UNHASHED = 8
"""How many chunks the hash of the whole archive may lag behind; from a daemon, chunks are 1 MiB."""
_DOCUMENTS = {MANIFEST, INDEX, LAYOUT}
_JSON_STARTS = b"{[ \t\r\n"
_STATEMENT = re.compile(rb'\s*\{\s*"_type"\s*:')
"""How an in-toto statement begins: no document of an image has such a field."""


class MemberObserver(Protocol):
    """Receives the bytes of the layers as they pass: every file that is not a JSON document."""

    def begin(self, member: TarMember) -> None:
        """A file begins."""

    def data(self, piece: memoryview) -> None:
        """More bytes of it. They no longer change if ``bytes`` were fed to the reader."""

    def end(self, blob: Blob) -> None:
        """It is complete; ``blob`` is what was learnt about it."""


class ArchiveReader:
    """Reads a ``docker save`` archive from bytes that are pushed to it.

    Both layouts are supported: ``manifest.json`` (every Docker) and the OCI layout (Docker 25 and later,
    either image store). Every hash is computed here, never taken from the archive, and everything that the
    archive says about itself is compared with it. If both layouts are present, they must agree.

    Not for use by several threads at once; :meth:`feed` may be called from any one thread. As a context
    manager, it ends the thread of a reader that was not fed to the end.

    Args:
        platform: Platform to choose, such as ``linux/amd64``; None takes the only one.
        limits: Limits on what the archive can make the reader keep or do.
        parallel: Whether the hash of the whole archive is computed in a separate thread; nearly twice as fast
            if a second core is free.
        hashed: Whether the whole archive is hashed; the index has an empty ``sha256`` otherwise.
        observer: Receives the bytes of the layers.
        repacked: Whether the plain layers will be compressed before Docker sees them.
        platforms: Every platform that the images must be for. The archive is then read with all that belongs
            to them, to be kept as it is; ``platform`` is not used.
        every: Whether the images of all platforms that are there are read, whatever ``platform`` says.

    Raises:
        ConfigurationError: A platform is none.
    """

    def __init__(
        self,
        platform: str | None = "linux/amd64",
        *,
        limits: ArchiveLimits | None = None,
        parallel: bool = True,
        hashed: bool = True,
        observer: MemberObserver | None = None,
        repacked: bool = False,
        platforms: Sequence[str] = (),
        every: bool = False,
    ) -> None:
        self._every = every
        self._platforms = [parse_platform(each) for each in platforms]
        self._platform = None if platform is None else parse_platform(platform)
        self._limits = limits or ArchiveLimits()
        self._sha256 = hashlib.sha256() if hashed else None
        self._worker = ThreadPoolExecutor(1, "archive-hash") if parallel and hashed else None
        self._behind: deque[Future[None]] = deque()
        self._catalog = Catalog(self._limits, repacked=repacked)
        self._tar = TarStream(_Members(self._catalog, self._limits, observer), self._limits)
        self._failure: ReleaseError | None = None
        self._index: ArchiveIndex | None = None
        self._others: tuple[str, ...] = ()
        self._image_ids: dict[str, tuple[str, ...]] = {}
        self._indexes: tuple[ArchivedIndex, ...] = ()

    def __enter__(self) -> ArchiveReader:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop_worker()

    def feed(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the archive.

        A ``bytearray`` may be reused afterwards; ``bytes`` may be held for a few more chunks.

        Raises:
            IntegrityError: The archive is not acceptable; further calls raise the same error.
        """
        if self._failure is not None:
            raise self._failure
        if self._index is not None:
            raise ReleaseError("bytes were fed to an archive reader that has finished")
        view = memoryview(chunk).cast("B")
        self._hash(chunk, view)
        try:
            self._tar.feed(view)
        except ReleaseError as error:
            self._fail(error)
            raise
        finally:
            if not isinstance(chunk, bytes):
                self._catch_up(0)

    def finish(self) -> ArchiveIndex:
        """Check the archive as a whole, and return its content.

        Raises:
            IntegrityError: The archive is truncated or contradicts itself.
            ConfigurationError: An image is not there in the wanted platform.
        """
        if self._failure is not None:
            raise self._failure
        if self._index is None:
            try:
                self._tar.finish()
                self._catalog.check()
                images = self._read_images()
                self._catalog.check_named()
            except ReleaseError as error:
                self._fail(error)
                raise
            self._catch_up(0)
            sha256 = "" if self._sha256 is None else self._sha256.hexdigest()
            self._index = ArchiveIndex(
                self._tar.offset, sha256, images, self._others, self._image_ids, self._indexes
            )
            self._stop_worker()
        return self._index

    def document(self, digest: str) -> bytes:
        """Return the bytes of a config, or of any other kept document, once all bytes have passed."""
        return self._catalog.kept(digest)

    def _hash(self, chunk: bytes | bytearray | memoryview, view: memoryview) -> None:
        if self._sha256 is None:
            return
        if self._worker is None or (len(view) < _PARALLEL_BYTES and not self._behind):
            self._sha256.update(view)
            return
        # The hash may lag behind, so that the parser does not wait for it at every chunk.
        self._behind.append(self._worker.submit(self._sha256.update, view))
        self._catch_up(_UNHASHED if isinstance(chunk, bytes) else 1)

    def _catch_up(self, lag: int) -> None:
        while len(self._behind) > lag:
            self._behind.popleft().result()

    def _read_images(self) -> tuple[ArchivedImage, ...]:
        catalog = self._catalog
        docker = read_docker_layout(catalog) if MANIFEST in catalog else None
        if self._platforms and INDEX in catalog:
            return self._read_whole(docker)
        if self._every and INDEX in catalog:
            return self._read_every(docker)
        if INDEX in catalog:
            oci = read_oci_layout(catalog, self._platform, self._limits.index_depth)
            if docker is not None:
                _compare(docker, [(entry.image.references, entry.configs) for entry in oci])
            images = merge_images(entry.image for entry in oci)
            self._image_ids = {name: entry.image_ids for entry in oci for name in entry.image.references}
            every = frozenset().union(*(entry.configs for entry in oci))
            self._others = tuple(sorted(every - {image.config_digest for image in images}))
            return images
        if docker is None:
            raise IntegrityError(
                f"the archive has neither {MANIFEST} nor {INDEX}: it is not an image archive",
                hint="expected an archive that `docker save` wrote",
            )
        if self._every:
            return merge_images(docker)
        for platform in self._platforms or [each for each in (self._platform,) if each is not None]:
            _check_platforms(docker, platform)
        if self._platform is None and len({image.platform for image in docker}) > 1:
            raise IntegrityError(f"{MANIFEST} lists images of different platforms")
        return merge_images(docker)

    def _read_every(self, docker: list[ArchivedImage] | None) -> tuple[ArchivedImage, ...]:
        images = read_every_image(self._catalog, self._limits.index_depth)
        known = {image.config_digest for image in images}
        return (*images, *(image for image in docker or () if image.config_digest not in known))

    def _read_whole(self, docker: list[ArchivedImage] | None) -> tuple[ArchivedImage, ...]:
        images, indexes = read_whole_layout(self._catalog, self._platforms)
        if docker is not None:
            named = [(image.references, frozenset({image.config_digest})) for image in images]
            named += [
                (index.references, frozenset(image.config_digest for image in index.images))
                for index in indexes
            ]
            _compare(docker, named)
        self._indexes = tuple(indexes)
        return merge_images(images)

    def _fail(self, error: ReleaseError) -> None:
        self._failure = error
        self._stop_worker()

    def _stop_worker(self) -> None:
        if self._worker is not None:
            self._worker.shutdown(wait=False)
            self._worker = None


class _Members:
    """Turns members of the tar into entries of the catalog."""

    def __init__(self, catalog: Catalog, limits: ArchiveLimits, observer: MemberObserver | None) -> None:
        self._catalog = catalog
        self._limits = limits
        self._observer = observer
        self._observed = False
        self._kept = 0
        self._member: TarMember | None = None
        self._name = ""
        self._hasher: BlobHasher | None = None

    def begin(self, member: TarMember) -> None:
        self._name = self._catalog.admit(member)
        self._member = member
        self._hasher = None
        if member.kind is Kind.FILE and member.size == 0:
            self._hasher = BlobHasher(self._limits, keep=True)
        if self._name in _DOCUMENTS and member.size > self._limits.document_bytes:
            raise IntegrityError(
                f"{self._name} has {member.size} bytes, expected at most {self._limits.document_bytes}"
            )

    def data(self, piece: memoryview) -> None:
        if self._hasher is None:
            document = self._may_be_document(piece[0])
            self._hasher = BlobHasher(self._limits, keep=document)
            self._observed = self._observer is not None and not document
            if self._observed and self._observer and self._member:
                self._observer.begin(self._member)
        if self._observed and self._observer:
            self._observer.data(piece)
        self._hasher.update(piece)

    def end(self) -> None:
        if self._hasher is not None and self._member is not None:
            blob = self._hasher.finish(self._name, self._member.offset, self._member.size)
            if blob.document is not None and _STATEMENT.match(blob.document):
                # An SBOM may have megabytes, and nothing in it says what the archive holds.
                blob = dataclasses.replace(blob, document=None)
                self._kept -= blob.size
            self._catalog.add(blob)
            if self._observed and self._observer:
                self._observer.end(blob)
        self._hasher = None
        self._observed = False

    def _may_be_document(self, first: int) -> bool:
        size = self._member.size if self._member else 0
        if self._name not in _DOCUMENTS and (first not in _JSON_STARTS or size > self._limits.document_bytes):
            return False
        if self._kept + size > self._limits.documents_bytes:
            return False
        self._kept += size
        return True


def _check_platforms(images: Sequence[ArchivedImage], wanted: Platform) -> None:
    elsewhere = []
    for image in images:
        found = parse_platform(image.platform) if image.platform else Platform("", "")
        if found != wanted:
            label = image.references[0] if image.references else image.config_digest
            elsewhere.append(no_such_platform(label, wanted, [found]))
    raise_all(elsewhere)


def merge_images(images: Iterable[ArchivedImage]) -> tuple[ArchivedImage, ...]:
    """Merge the entries of the same image: one for each config digest, with the layers of the first."""
    merged: dict[str, ArchivedImage] = {}
    owner: dict[str, str] = {}
    for image in images:
        for reference in image.references:
            if owner.setdefault(reference, image.config_digest) != image.config_digest:
                raise IntegrityError(
                    f"{reference} names two images: {owner[reference]} and {image.config_digest}"
                )
        known = merged.setdefault(image.config_digest, image)
        references = tuple(dict.fromkeys((*known.references, *image.references)))
        merged[image.config_digest] = dataclasses.replace(known, references=references)
    return tuple(merged.values())


def _compare(docker: list[ArchivedImage], oci: Sequence[tuple[Sequence[str], frozenset[str]]]) -> None:
    """Check that ``manifest.json`` and ``index.json`` agree.

    Args:
        docker: The images of ``manifest.json``.
        oci: Names of each image of ``index.json``, and its config digests for all platforms.
    """
    by_reference = {name: configs for names, configs in oci for name in names}
    every_config = frozenset().union(*(configs for _, configs in oci))
    for image in docker:
        for name in image.references:
            if name not in by_reference:
                raise IntegrityError(f"{MANIFEST} names {name}, but {INDEX} does not")
            expected = by_reference[name]
            if image.config_digest not in expected:
                raise IntegrityError(
                    f"{name} has the config {image.config_digest} in {MANIFEST}, "
                    f"but {', '.join(sorted(expected))} in {INDEX}"
                )
        if image.config_digest not in every_config:
            raise IntegrityError(f"{MANIFEST} lists the config {image.config_digest}, but {INDEX} does not")
    named = {name for image in docker for name in image.references}
    if missing := by_reference.keys() - named:
        raise IntegrityError(
            f"{INDEX} names {min(missing)}, but {MANIFEST} does not",
            hint="Docker 25 wrote such archives (moby #47065): update Docker and save the images again",
        )
