"""SBOM and VEX documents of a candidate: found in the build's output, validated, written, and read again."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import count
from pathlib import Path

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError, ReleaseError
from jenkins_release.base.names import MAX_PATH
from jenkins_release.base.tags import fill
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.config.model import ImageSection
from jenkins_release.images.protocol import LocalImage
from jenkins_release.installers import LocalFile, find_files
from jenkins_release.oci.manifests import sha256_digest
from jenkins_release.records.candidate import (
    CandidateImage,
    DocumentRecord,
    FileRecord,
    ListedPlatform,
    MultiPlatformRecord,
    PlatformRecord,
    StoredBlob,
)
from jenkins_release.records.sbom import BillOfMaterials, DocumentFormat, DocumentKind, Subject
from jenkins_release.sbom import (
    MAX_DOCUMENT_BYTES,
    SBOM_PREDICATES,
    InvalidDocument,
    contradiction,
    read_document,
    read_statement,
)
from jenkins_release.share.releases import SBOM
from jenkins_release.share.staging import Staging
from jenkins_release.steps.candidate.archive_reader import verified_file
from jenkins_release.steps.candidate.file_writer import write_file, write_pieces
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.context.services import Services

_log = logging.getLogger(__name__)
_ENDINGS = {"spdx": "spdx.json", "cyclonedx": "cdx.json", "openvex": "openvex.json"}


@dataclass(frozen=True)
class PickedDocument:
    """A valid document of the build's output for the candidate.

    Attributes:
        local: The file.
        record: Its entry in ``candidate.json``.
        sha256: SHA-256 in hex of what was validated.
        subject: The image that it names.
        section: Its image as configured.
        reference: Name and tag of its image on the build machine.
    """

    local: LocalFile
    record: DocumentRecord
    sha256: str
    subject: Subject
    section: ImageSection
    reference: str


def pick_documents(
    folder: Path,
    version: ReleaseVersion,
    build: str,
    images: Sequence[tuple[ImageSection, LocalImage]],
    services: Services,
) -> list[PickedDocument]:
    """Find the configured SBOM and VEX documents of the images, and validate them.

    One document is in memory at a time.

    Args:
        folder: The build's output.
        version: The version.
        build: Build number.
        images: Each image as configured, and as the daemon describes it.
        services: The product.

    Raises:
        ConfigurationError: A pattern matches nothing, or a document is not valid, too large, given twice, or
            about another image; ``reasons`` has all mistakes of all documents.
    """
    digests = {section.name: local.config_digest for section, local in images if local.config_digest}
    picked: list[PickedDocument] = []
    mistakes: list[str] = []
    hints: dict[str, None] = {}
    for section, local in images:
        kinds: tuple[tuple[DocumentKind, tuple[str, ...]], ...] = (
            ("sbom", section.sbom),
            ("vex", section.vex),
        )
        for kind, patterns in kinds:
            files = dict.fromkeys(
                path
                for pattern in patterns
                for path in _matches(folder, fill(pattern, version, build), section, kind, mistakes)
            )
            for path in files:
                try:
                    with services.progress.task(f"validate {path.name}") as task:
                        found = _read(path, kind, section, local, digests)
                        task.advance(found.local.size)
                except ReleaseError as error:
                    mistakes += error.reasons or (error.message,)
                    hints[error.hint] = None
                    continue
                same = next((each for each in picked if _same(each, found)), None)
                if same is not None:
                    mistakes.append(f"{path} is the same as {same.local.path}, both of image {section.name}")
                    continue
                picked.append(_placed(found, picked))
    place = f"{services.configuration.product.name}/{version.text}/{build}/"
    mistakes += [
        f"{each.local.path}: its path on the share would have {len(place + each.record.path)} characters, at "
        f"most {MAX_PATH} are possible"
        for each in picked
        if len(place + each.record.path) > MAX_PATH
    ]
    if mistakes:
        raise ConfigurationError(
            f"the SBOM and VEX documents cannot be exported: {mistakes[0]}",
            hint="; ".join(filter(None, [*hints, "see sbom and vex of [[images]] in release.toml"])),
            reasons=mistakes,
        )
    return picked


def compare_again(
    picked: Sequence[PickedDocument], images: Sequence[CandidateImage]
) -> tuple[DocumentRecord, ...]:
    """Compare documents with their images once more, when everything is known of these.

    A daemon with containerd's image store does not tell config digests, and nothing does for an archive of
    the build. A digest also tells which of several platforms a document describes.

    Args:
        picked: The documents.
        images: The images as they are in the candidate.

    Returns:
        Their final entries in ``candidate.json``.

    Raises:
        ConfigurationError: A document is about another image; ``reasons`` names each.
    """
    records, mistakes = [], []
    for each in picked:
        image = next(image for image in images if image.name == each.record.image)
        digests = {part.platform: {part.config_digest, *_manifest_of(part)} for part in (*image.parts,)}
        names, other = contradiction(
            each.subject,
            reference=each.reference,
            repository=each.section.repository,
            config_digests=[part.config_digest for part in image.parts],
            manifests=[image.fixed_digest, *(digest for found in digests.values() for digest in found)],
            others=[part.config_digest for one in images if one is not image for part in one.parts],
        )
        if other:
            error = _of_another(each.local.path, each.record.kind, image.name, each.reference, other)
            mistakes.append(error.message)
        stated = {*each.subject.image_ids, *each.subject.digests}
        described = [platform for platform, found in digests.items() if stated & found]
        platform = described[0] if len(digests) > 1 and len(described) == 1 else None
        records.append(each.record.model_copy(update={"names": names, "platform": platform}))
    if mistakes:
        raise ConfigurationError(
            f"the SBOM and VEX documents cannot be exported: {mistakes[0]}",
            hint="scan the images after the build, under their names in images.source",
            reasons=mistakes,
        )
    return tuple(records)


def _manifest_of(part: PlatformRecord) -> list[str]:
    return [part.manifest.digest] if isinstance(part, ListedPlatform) else []


def write_documents(
    picked: Sequence[PickedDocument], staging: Staging, services: Services
) -> tuple[FileRecord, ...]:
    """Stream documents into a candidate that is being written.

    Raises:
        IntegrityError: A document was changed since it was validated, or the share returns something else.
        RemoteError: The share failed.
    """
    files = []
    for each in picked:
        written = write_file(each.local, each.record.path, staging, services)
        if written.sha256 != each.sha256:
            raise IntegrityError(
                f"{each.local.path} was changed while it was exported",
                hint="export after the build has ended, when nothing writes to its output any more",
            )
        files.append(written)
    return tuple(files)


def write_attested(
    images: Sequence[tuple[CandidateImage, LocalFile]],
    before: Sequence[DocumentRecord],
    staging: Staging,
    services: Services,
) -> tuple[tuple[FileRecord, ...], tuple[DocumentRecord, ...]]:
    """Write the SBOMs that BuildKit attached to the images of an index, beside those that came as files.

    They stay where they are, too. One that is not valid is left out with a warning, as it was not asked for:
    a policy that requires SBOMs will miss it.

    Args:
        images: Each image of an archive that the build wrote, and that archive.
        before: Documents that are in the candidate already.
        staging: The candidate.
        services: The share.

    Raises:
        IntegrityError: An archive was changed meanwhile, or the share returns something else.
        RemoteError: The share failed.
    """
    files: list[FileRecord] = []
    records = [*before]
    for image, archive in images:
        if not isinstance(image, MultiPlatformRecord):
            continue
        platforms = {each.manifest.digest: each.platform for each in image.platforms}
        for attestation in image.attestations:
            for blob, kind in zip(attestation.blobs, attestation.predicates, strict=True):
                if kind not in SBOM_PREDICATES:
                    continue
                where = f"{archive.path}: the SBOM {blob.digest} of image {image.name}"
                try:
                    data = _blob(archive, blob, where)
                    found = read_statement(data, where, predicate_type=kind, manifest_digest=attestation.of)
                    if not found.listed:
                        raise InvalidDocument(f"{where} has no list of packages")
                except InvalidDocument as error:
                    _log.warning("left out: %s", error.message)
                    continue
                platform = platforms[attestation.of]
                stem = f"{SBOM}/{image.name}.{platform.replace('/', '-')}"
                record = DocumentRecord(
                    path=_free_path(stem, found.format, records),
                    image=image.name,
                    kind="sbom",
                    format=found.format,
                    format_version=found.version,
                    origin="attestation",
                    names="digest",
                    platform=platform,
                    packages=len(found.packages),
                )
                files.append(write_pieces([data], len(data), record.path, staging, services))
                records.append(record)
    return tuple(files), tuple(records[len(before) :])


def read_documents(
    opened: OpenCandidate,
    image: str,
    platform: str,
    kind: DocumentKind,
    services: Services,
    formats: Collection[str] = frozenset(_ENDINGS),
) -> list[BillOfMaterials]:
    """Read the documents of one image of a candidate from the share.

    Args:
        opened: The candidate.
        image: Short name of the image.
        platform: Its platform.
        kind: SBOM or VEX.
        services: The share.
        formats: Formats to read.

    Raises:
        IntegrityError: A document is not what was recorded, or is not valid.
        RemoteError: The share failed, after the retries.
    """
    found = []
    for record in opened.record.documents:
        if record.kind == kind and record.format in formats and record.describes(image, platform):
            data = services.retry(f"read {record.path}", _bytes, record.path, opened, services)
            found.append(read_document(data, services.candidates.shown(opened.ref, record.path)))
    return found


def _matches(
    folder: Path, pattern: str, section: ImageSection, kind: DocumentKind, mistakes: list[str]
) -> list[Path]:
    found = find_files(folder, pattern)
    if not found:
        mistakes.append(f"image {section.name}: {kind} = {pattern!r} matches no file in {folder}")
    return found


def _read(
    path: Path, kind: DocumentKind, section: ImageSection, local: LocalImage, digests: dict[str, str]
) -> PickedDocument:
    file = LocalFile.at(path)
    if file.size > MAX_DOCUMENT_BYTES:
        raise ConfigurationError(
            f"{path} has {file.size} bytes, expected at most {MAX_DOCUMENT_BYTES}",
            hint="have the scanner leave out files, for example with SYFT_FILE_METADATA_SELECTION=none",
        )
    data = b"".join(file.pieces())
    found = read_document(data, str(path))
    names, other = contradiction(
        found.subject,
        reference=local.reference,
        repository=section.repository,
        config_digests=[digest for name, digest in digests.items() if name == section.name],
        others=[digest for name, digest in digests.items() if name != section.name],
    )
    problem = _wrong_kind(found, kind) or other
    if problem:
        raise _of_another(path, kind, section.name, local.reference, problem)
    path_there = f"{SBOM}/{section.name}.{_ENDINGS[found.format]}"
    record = DocumentRecord(
        path=path_there,
        image=section.name,
        kind=kind,
        format=found.format,
        format_version=found.version,
        origin=found.origin,
        names=names,
        packages=len(found.packages) if kind == "sbom" else None,
        statements=len(found.findings) if kind == "vex" else None,
    )
    digest = sha256(data).hexdigest()
    return PickedDocument(file, record, digest, found.subject, section, local.reference)


def _of_another(
    path: Path, kind: DocumentKind, image: str, reference: str, problem: str
) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is not the {kind.upper()} of image {image}: {problem}",
        hint=f"scan {reference} after the build, and give that file",
    )


def _wrong_kind(found: BillOfMaterials, kind: DocumentKind) -> str:
    if kind == "sbom" and not found.listed:
        return "it has no list of packages"
    if kind == "vex" and not found.findings:
        return "it says of no vulnerability whether the image is affected"
    return ""


def _same(one: PickedDocument, other: PickedDocument) -> bool:
    return (one.sha256, one.record.image, one.record.kind) == (
        other.sha256,
        other.record.image,
        other.record.kind,
    )


def _placed(found: PickedDocument, before: Sequence[PickedDocument]) -> PickedDocument:
    """Return a document under the first free name, such as ``rms.spdx.json`` or ``rms.2.spdx.json``."""
    image, kind = found.record.image, found.record.kind
    stem = f"{SBOM}/{image}" + (".vex" if kind == "vex" and found.record.format != "openvex" else "")
    path = _free_path(stem, found.record.format, [each.record for each in before])
    return replace(found, record=found.record.model_copy(update={"path": path}))


def _free_path(stem: str, kind: DocumentFormat, before: Sequence[DocumentRecord]) -> str:
    taken = {each.path.casefold() for each in before}
    names = (f"{stem}{'' if number == 1 else f'.{number}'}.{_ENDINGS[kind]}" for number in count(1))
    return next(name for name in names if name.casefold() not in taken)


def _blob(archive: LocalFile, blob: StoredBlob, where: str) -> bytes:
    if blob.size > MAX_DOCUMENT_BYTES:
        raise InvalidDocument(f"{where} has {blob.size} bytes, expected at most {MAX_DOCUMENT_BYTES}")
    data = archive.stretch(blob.offset, blob.size)
    if sha256_digest(data) != blob.digest:
        raise IntegrityError(
            f"{archive.path} was changed while it was exported",
            hint="export after the build has ended, when nothing writes to its output any more",
        )
    return data


def _bytes(path: str, opened: OpenCandidate, services: Services) -> bytes:
    file = opened.record.file(path)
    if file.size > MAX_DOCUMENT_BYTES:
        raise IntegrityError(
            f"{services.candidates.shown(opened.ref, path)} has {file.size} bytes, expected at most "
            f"{MAX_DOCUMENT_BYTES}"
        )
    with services.progress.task(f"read {path}", file.size) as task:
        return b"".join(verified_file(file, opened, services, advance=task.advance))
