"""``candidate.json``: what a release candidate is made of. The SHA-256 of its bytes is its identity."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.names import check_identifier, check_path
from jenkins_release.oci.manifests import (
    Descriptor,
    RawManifest,
    build_manifest,
    read_content,
    sha256_digest,
)
from jenkins_release.records.archive_index import ArchivedImage
from jenkins_release.records.base import Moment, Part, Record
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
        offset: Its offset in the archive; None if the export made it.
    """

    media_type: str
    digest: Digest
    data: str
    offset: Size | None = None

    @property
    def raw(self) -> RawManifest:
        """It, as a registry has it."""
        return RawManifest(self.digest, self.media_type, self.data.encode())


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


class PlatformRecord(Part):
    """The image of one platform.

    Attributes:
        platform: ``os/architecture`` or ``os/architecture/variant``.
        config_digest: Digest of the config JSON, which names the ``diff_ids``.
        config_offset: Byte offset of the config JSON in the archive.
        config_size: Its bytes.
        layers: Layers, base first.
    """

    platform: str
    config_digest: Digest
    config_offset: Size
    config_size: Size
    layers: tuple[LayerRecord, ...]

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

    @property
    def end(self) -> int:
        """Bytes from the beginning of the archive to the end of what belongs to it."""
        ends = [layer.offset + layer.size for layer in self.layers]
        return max([self.config_offset + self.config_size, *ends])


def make_manifest(image: PlatformRecord | ArchivedImage) -> RawManifest:
    """Return the manifest that an export makes of an image whose layers are stored as a registry has them."""
    return build_manifest(
        Descriptor(image.config_digest, image.config_size),
        [Descriptor(layer.digest, layer.size, layer.compression) for layer in image.layers],
    )


class ImageRecord(PlatformRecord):
    """An image of the candidate for one platform; its identity is the config digest.

    Attributes:
        name: Short name, as in ``release.toml``.
        reference: Name and tag in the archive; what ``docker load`` restores.
        archive: Path of the archive that holds it.
        manifest: The manifest that customers will pull, if every layer is in the archive as a registry stores
            it; the promotion must end with exactly this one.
        layout: ``oci`` if the archive is an OCI layout, which not every ``docker load`` takes; None if it is
            an archive of ``docker save``.
    """

    name: Identifier
    reference: str
    archive: SharePath
    manifest: ManifestRecord | None = None
    layout: Literal["oci"] | None = None

    @model_validator(mode="after")
    def _manifest_fits(self) -> ImageRecord:
        if (self.layout == "oci") != bool(self.manifests):
            raise ValueError(
                f"image {self.name}: expected the offset of its manifest for an OCI layout, and for no other"
            )
        if self.manifest is not None:
            found = self.manifest.raw
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
            if self.manifest.offset is None and found != make_manifest(self):
                raise ValueError(f"the manifest of image {self.name} is not the one that an export makes")
        return self

    @property
    def identity(self) -> str:
        """The digest that QA signs for it: of its config."""
        return self.config_digest

    @property
    def fixed_digest(self) -> str:
        """Digest of the manifest that customers will pull; empty if only the promotion makes it."""
        return self.manifest.digest if self.manifest is not None else ""

    @property
    def parts(self) -> tuple[PlatformRecord, ...]:
        """The image of each platform."""
        return (self,)

    @property
    def manifests(self) -> tuple[StoredBlob, ...]:
        """Its manifest, if the archive holds it."""
        found = self.manifest
        if found is None or found.offset is None:
            return ()
        size = len(found.data.encode())
        return (StoredBlob(digest=found.digest, offset=found.offset, size=size, media_type=found.media_type),)

    @property
    def end(self) -> int:
        """Bytes from the beginning of the archive to the end of what belongs to it."""
        return max([super().end, *(blob.offset + blob.size for blob in self.manifests)])


class StoredBlob(Part):
    """Consecutive bytes of an archive, which a registry stores as they are.

    Attributes:
        digest: Their digest.
        offset: Their offset in the archive.
        size: Their number.
        media_type: What they are.
    """

    digest: Digest
    offset: Size
    size: Size
    media_type: str


class ListedPlatform(PlatformRecord):
    """The image of one platform in an index.

    Attributes:
        manifest: Its manifest, which the index lists.
    """

    manifest: StoredBlob


class BuildAttestation(Part):
    """What BuildKit attests about one image of an index: SBOM, provenance.

    Attributes:
        of: Digest of the manifest of that image.
        manifest: The attestation's manifest.
        blobs: What it names, each once.
        predicates: Predicate type of each of them, empty for none.
    """

    of: Digest
    manifest: StoredBlob
    blobs: tuple[StoredBlob, ...]
    predicates: tuple[str, ...]


class MultiPlatformRecord(Part):
    """An image of the candidate for several platforms, carried byte for byte; its identity is its index.

    The digest of the index covers everything else: it names the manifests, and they name configs and layers.

    Attributes:
        name: Short name, as in ``release.toml``.
        reference: Name and tag; what ``candidate load`` gives the image of a platform.
        archive: Path of the archive that holds it, an OCI layout.
        index: The index, whose digest customers pull.
        platforms: The image of each platform, in the order of the index.
        attestations: What else the index lists.
    """

    name: Identifier
    reference: str
    archive: SharePath
    index: StoredBlob
    platforms: tuple[ListedPlatform, ...] = Field(min_length=1)
    attestations: tuple[BuildAttestation, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> MultiPlatformRecord:
        if len({each.platform for each in self.platforms}) != len(self.platforms):
            raise ValueError(f"image {self.name} has a platform twice")
        manifests = {each.manifest.digest for each in self.platforms}
        if any(each.of not in manifests for each in self.attestations):
            raise ValueError(f"image {self.name} has an attestation of another image")
        return self

    @property
    def identity(self) -> str:
        """The digest that QA signs for it: of its index."""
        return self.index.digest

    @property
    def fixed_digest(self) -> str:
        """Digest of what customers will pull."""
        return self.index.digest

    @property
    def platform(self) -> str:
        """The platforms, for people."""
        return ", ".join(each.platform for each in self.platforms)

    @property
    def parts(self) -> tuple[PlatformRecord, ...]:
        """The image of each platform."""
        return self.platforms

    @property
    def size(self) -> int:
        """Bytes of the layers in the archive; platforms may share layers."""
        return sum({layer.digest: layer.size for each in self.platforms for layer in each.layers}.values())

    @property
    def manifests(self) -> tuple[StoredBlob, ...]:
        """The manifests that the index lists."""
        return (*(each.manifest for each in self.platforms), *(each.manifest for each in self.attestations))

    @property
    def end(self) -> int:
        """Bytes from the beginning of the archive to the end of what belongs to it."""
        blobs = [self.index, *self.manifests, *(blob for each in self.attestations for blob in each.blobs)]
        return max([*(blob.offset + blob.size for blob in blobs), *(each.end for each in self.platforms)])


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return "several" if "index" in value else "one"
    return "several" if isinstance(value, MultiPlatformRecord) else "one"


CandidateImage = ImageRecord | MultiPlatformRecord
"""An image of a candidate."""
_AnyImage = Annotated[
    Annotated[ImageRecord, Tag("one")] | Annotated[MultiPlatformRecord, Tag("several")], Discriminator(_kind)
]


def config_digests(image: CandidateImage) -> dict[str, str]:
    """Return the digest of the config of each platform."""
    return {part.platform: part.config_digest for part in image.parts}


class DocumentRecord(Part):
    """An SBOM or VEX document of an image, which was valid when the candidate was exported.

    Attributes:
        path: Path of its file.
        image: Short name of the image.
        kind: ``sbom`` or ``vex``.
        format: ``spdx``, ``cyclonedx`` or ``openvex``.
        format_version: Version of that format.
        origin: ``file``, or ``attestation`` for an in-toto statement that contains it.
        names: By what it names the image: a ``digest`` of it, its ``name``, or ``nothing``.
        platform: The platform of the image that it describes; None if it describes the whole image.
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
    platform: str | None = None
    packages: Size | None = None
    statements: Size | None = None

    def describes(self, image: str, platform: str) -> bool:
        """Whether it is about an image for one platform."""
        return self.image == image and self.platform in {None, platform}


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
    MULTI_PLATFORM_SCHEMA: ClassVar[str] = "jenkins-release/candidate/v2"
    """With images for several platforms, which readers of the first version would not understand."""

    product: Identifier
    version: Identifier
    build: Identifier
    revision: str
    build_url: str
    built_by: str
    exported_at: Moment
    exporter: str
    files: tuple[FileRecord, ...]
    images: tuple[_AnyImage, ...]
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

    @property
    def identities(self) -> str:
        """What identifies its images, as the heading of a column."""
        return "config digest" if self.own_schema() == self.SCHEMA else "config or index digest"

    def file(self, path: str) -> FileRecord:
        """Return the record of one file; the validator guarantees that an image's archive has one."""
        return next(record for record in self.files if record.path == path)

    def archives(self) -> tuple[FileRecord, ...]:
        """Return the image archives, each once."""
        names = {image.archive for image in self.images}
        return tuple(record for record in self.files if record.path in names)

    def own_schema(self) -> str:
        """Return the oldest schema that has what this candidate holds."""
        several = any(isinstance(image, MultiPlatformRecord) for image in self.images)
        return self.MULTI_PLATFORM_SCHEMA if several else self.SCHEMA

    @classmethod
    def schemas(cls) -> tuple[str, ...]:
        """Return the schemas that can be read."""
        return (cls.SCHEMA, cls.MULTI_PLATFORM_SCHEMA)

    @model_validator(mode="after")
    def _consistent(self) -> Candidate:
        if self.schema_name != self.own_schema():
            raise ValueError(f"the schema is {self.schema_name}, expected {self.own_schema()}")
        sizes = {record.path: record.size for record in self.files}
        if len({path.casefold() for path in sizes}) != len(self.files):
            raise ValueError("two files have the same path (upper and lower case are one on SMB)")
        if len({image.name.casefold() for image in self.images}) != len(self.images):
            raise ValueError("two images have the same name")
        for image in self.images:
            if image.archive not in sizes:
                raise ValueError(f"image {image.name} names the archive {image.archive}, which is not a file")
            if image.end > sizes[image.archive]:
                raise ValueError(f"image {image.name} reaches beyond the end of {image.archive}")
        archives = {image.archive for image in self.images}
        for installer in self.installers:
            if installer.path not in sizes or installer.path in archives:
                raise ValueError(f"the installer {installer.path} is not a separate file")
        if len({installer.name.casefold() for installer in self.installers}) != len(self.installers):
            raise ValueError("two installers have the same name")
        return self._documented(sizes)

    def _documented(self, sizes: Mapping[str, int]) -> Candidate:
        names = {image.name: {part.platform for part in image.parts} for image in self.images}
        others = {image.archive for image in self.images} | {each.path for each in self.installers}
        for document in self.documents:
            if document.path not in sizes or document.path in others:
                raise ValueError(f"the document {document.path} is not a separate file")
            if document.image not in names:
                raise ValueError(f"the document {document.path} is of an unknown image, {document.image}")
            if document.platform is not None and document.platform not in names[document.image]:
                raise ValueError(f"the document {document.path} is of an unknown platform of its image")
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
