"""``candidate.json``: what a release candidate is made of. The SHA-256 of its bytes is its identity."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.names import check_identifier, check_path
from jenkins_release.oci.manifests import RawManifest, read_content, sha256_digest
from jenkins_release.records.base import Part, Record
from jenkins_release.records.sbom import DocumentFormat, DocumentKind, Names, Origin


def _path(value: str) -> str:
    try:
        check_path(value)
    except ConfigurationError as error:
        raise ValueError(error.message) from error
    return value


def _identifier(value: str) -> str:
    try:
        return check_identifier("name", value)
    except ConfigurationError as error:
        raise ValueError(error.message) from error


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=0)]
SharePath = Annotated[str, Field(min_length=1), AfterValidator(_path)]
InstallerKind = Literal["installer", "setup"]
PublishedKind = Literal["installer", "setup", "sbom", "vex"]
Identifier = Annotated[str, AfterValidator(_identifier)]


class FileRecord(Part):
    """A file of the candidate: path below the candidate's folder, bytes, SHA-256 in hex."""

    path: SharePath
    size: Size
    sha256: Sha256


class SignatureRecord(Part):
    """The proof that a command found an installer signed.

    Attributes:
        command: Program and arguments; ``{file}`` is the installer.
        expects: Regular expression that its output matched; empty if nothing was expected.
        output: The end of what it printed.
    """

    command: tuple[str, ...]
    expects: str
    output: str


class InstallerRecord(Part):
    """An installer of the candidate.

    Attributes:
        path: Path of its file.
        kind: ``installer``, or ``setup`` for the zip with which a customer deploys the images.
        signature: The proof that it is signed; None if that was not checked.
    """

    path: SharePath
    kind: InstallerKind
    signature: SignatureRecord | None = None

    @property
    def name(self) -> str:
        """File name."""
        return self.path.rpartition("/")[2]


class BlobRecord(Part):
    """A layer as a registry stores it: digest and bytes of one gzip file."""

    digest: Digest
    size: Size


class ManifestRecord(Part):
    """The manifest that a registry will hold, fixed when the candidate was exported.

    Attributes:
        media_type: Its media type.
        digest: Its digest: what customers pull.
        data: Its exact text.
    """

    media_type: str
    digest: Digest
    data: str


class LayerRecord(Part):
    """A layer inside an archive, which can be read without the rest.

    Attributes:
        diff_id: Digest of the uncompressed layer.
        digest: Digest of the bytes in the archive.
        offset: Offset of those bytes in the archive.
        size: Their number.
        compression: How they are compressed in the archive.
        gzip: What this program compressed a plain layer to at the export; a registry stores that if the
            promoting machine gets the same result.
    """

    diff_id: Digest
    digest: Digest
    offset: Size
    size: Size
    compression: Literal["none", "gzip", "zstd"]
    gzip: BlobRecord | None = None

    @property
    def blob(self) -> BlobRecord | None:
        """What a registry will store, if that is known before a promotion."""
        return self.gzip if self.compression == "none" else BlobRecord(digest=self.digest, size=self.size)


class ImageRecord(Part):
    """An image of the candidate.

    Attributes:
        name: Short name, as in ``release.toml``.
        reference: Name and tag in the archive; what ``docker load`` restores.
        archive: Path of the archive that holds it.
        platform: ``os/architecture`` or ``os/architecture/variant``.
        config_digest: Identity: digest of the config JSON.
        config_offset: Byte offset of the config JSON in the archive.
        config_size: Its bytes.
        layers: Layers, base first.
        manifest: The manifest that customers will pull, if every layer is in the archive as a registry stores
            it; the promotion must end with exactly this one.
    """

    name: Identifier
    reference: str
    archive: SharePath
    platform: str
    config_digest: Digest
    config_offset: Size
    config_size: Size
    layers: tuple[LayerRecord, ...]
    manifest: ManifestRecord | None = None

    @model_validator(mode="after")
    def _manifest_fits(self) -> ImageRecord:
        if self.manifest is not None:
            found = RawManifest(self.manifest.digest, self.manifest.media_type, self.manifest.data.encode())
            if sha256_digest(found.data) != found.digest:
                raise ValueError(f"the manifest of image {self.name} does not match its digest")
            try:
                content = read_content(found, f"image {self.name}")
            except IntegrityError as error:
                raise ValueError(error.message) from error
            size = self.config_size + self.size
            if (content.config_digest, content.layers, content.size) != (
                self.config_digest,
                tuple(layer.digest for layer in self.layers),
                size,
            ):
                raise ValueError(f"the manifest of image {self.name} belongs to another image")
        return self

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """Digests of the uncompressed layers, base first."""
        return tuple(layer.diff_id for layer in self.layers)

    def known_layers(self) -> dict[str, str]:
        """Return the digest of each layer as a registry may store it, and its ``diff_id``."""
        stored = [(layer.digest, layer.diff_id) for layer in self.layers]
        return dict([*stored, *((x.gzip.digest, x.diff_id) for x in self.layers if x.gzip is not None)])

    @property
    def size(self) -> int:
        """Bytes of the layers in the archive."""
        return sum(layer.size for layer in self.layers)


class DocumentRecord(Part):
    """An SBOM or VEX document of an image, which was valid when the candidate was exported.

    Attributes:
        path: Path of its file.
        image: Short name of the image.
        kind: ``sbom`` or ``vex``.
        format: ``spdx``, ``cyclonedx`` or ``openvex``.
        format_version: Version of that format.
        origin: ``file``, or ``attestation`` for an in-toto statement that contains it.
        names: By what it names the image: its config ``digest``, its ``name``, or ``nothing``.
        packages: Packages in an SBOM.
        statements: Statements in a VEX document.
    """

    path: SharePath
    image: Identifier
    kind: DocumentKind
    format: DocumentFormat
    format_version: str
    origin: Origin
    names: Names
    packages: Size | None = None
    statements: Size | None = None


class Candidate(Record):
    """A release candidate.

    Attributes:
        product: Product name.
        version: Version.
        build: Build number.
        revision: Source revision that it was built from; empty if unknown.
        build_url: URL of the Jenkins build; empty outside Jenkins.
        built_by: Who started the build.
        exported_at: When the export ended, UTC.
        exporter: Program that wrote it, with its version.
        files: Every file except ``candidate.json``, ``SHA256SUMS`` and the attestations.
        images: Every image.
        installers: Every installer.
        documents: The SBOM and VEX documents of its images; not written if there are none.
    """

    SCHEMA: ClassVar[str] = "jenkins-release/candidate/v1"

    product: Identifier
    version: Identifier
    build: Identifier
    revision: str
    build_url: str
    built_by: str
    exported_at: AwareDatetime
    exporter: str
    files: tuple[FileRecord, ...]
    images: tuple[ImageRecord, ...]
    installers: tuple[InstallerRecord, ...] = ()
    documents: Annotated[tuple[DocumentRecord, ...], Field(exclude_if=operator.not_)] = ()

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Candidate:
        """Read a record back; arguments and errors as in :meth:`Record.from_bytes`.

        Steps and rules read the same bytes several times, so the last valid records are cached. Records are
        frozen.
        """
        try:
            return _remembered(data)
        except IntegrityError:
            return super().from_bytes(data, where)

    @property
    def ident(self) -> str:
        """``version/build``, as people name a candidate."""
        return f"{self.version}/{self.build}"

    def file(self, path: str) -> FileRecord:
        """Return the record of one file; the validator guarantees that an image's archive has one."""
        return next(record for record in self.files if record.path == path)

    def archives(self) -> tuple[FileRecord, ...]:
        """Return the image archives, each once."""
        names = {image.archive for image in self.images}
        return tuple(record for record in self.files if record.path in names)

    @model_validator(mode="after")
    def _consistent(self) -> Candidate:
        sizes = {record.path: record.size for record in self.files}
        if len({path.casefold() for path in sizes}) != len(self.files):
            raise ValueError("two files have the same path (upper and lower case are one on SMB)")
        if len({image.name.casefold() for image in self.images}) != len(self.images):
            raise ValueError("two images have the same name")
        for image in self.images:
            if image.archive not in sizes:
                raise ValueError(f"image {image.name} names the archive {image.archive}, which is not a file")
            ends = [layer.offset + layer.size for layer in image.layers]
            if max([image.config_offset + image.config_size, *ends]) > sizes[image.archive]:
                raise ValueError(f"image {image.name} reaches beyond the end of {image.archive}")
        archives = {image.archive for image in self.images}
        for installer in self.installers:
            if installer.path not in sizes or installer.path in archives:
                raise ValueError(f"the installer {installer.path} is not a separate file")
        if len({installer.name.casefold() for installer in self.installers}) != len(self.installers):
            raise ValueError("two installers have the same name")
        return self._documented(sizes)

    def _documented(self, sizes: Mapping[str, int]) -> Candidate:
        names = {image.name for image in self.images}
        others = {image.archive for image in self.images} | {each.path for each in self.installers}
        for document in self.documents:
            if document.path not in sizes or document.path in others:
                raise ValueError(f"the document {document.path} is not a separate file")
            if document.image not in names:
                raise ValueError(f"the document {document.path} is of an unknown image, {document.image}")
        if len({document.path for document in self.documents}) != len(self.documents):
            raise ValueError("two documents have the same path")
        return self


@lru_cache(maxsize=8)
def _remembered(data: bytes) -> Candidate:
    return super(Candidate, Candidate).from_bytes(data, "candidate.json")


def manifest_digest(data: bytes) -> str:
    """Return the candidate's identity: ``sha256:`` and the SHA-256 of ``candidate.json``'s bytes."""
    return f"sha256:{sha256(data).hexdigest()}"


def checksum_lines(candidate: bytes, files: tuple[FileRecord, ...]) -> bytes:
    """Return ``SHA256SUMS`` as ``sha256sum -c`` reads it (coreutils: hash, space, ``*``, path)."""
    lines = [f"{sha256(candidate).hexdigest()} *candidate.json"]
    lines += [f"{record.sha256} *{record.path}" for record in files]
    return ("\n".join(lines) + "\n").encode()
