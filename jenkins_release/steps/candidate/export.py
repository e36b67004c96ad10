"""Export: images and installers of a build to a new release candidate on the share."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import field
from hashlib import sha256
from pathlib import Path

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.names import check_identifier
from jenkins_release.base.tags import image_reference
from jenkins_release.base.version import PROGRAM
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.config.model import ImageSection
from jenkins_release.images.protocol import ImageNotFound, LocalImage
from jenkins_release.installers import LocalFile
from jenkins_release.oci.platforms import parse_platform
from jenkins_release.records.attestation import PROVENANCE, Place, sign_statement
from jenkins_release.records.candidate import (
    Candidate,
    CandidateImage,
    FileRecord,
    checksum_lines,
    manifest_digest,
)
from jenkins_release.records.provenance import provenance
from jenkins_release.rules.gate.chain import Chain
from jenkins_release.rules.gate.ledger import entries_of
from jenkins_release.share.candidates import CHECKSUMS, MANIFEST, CandidateRef
from jenkins_release.share.protocol import ShareFull
from jenkins_release.share.staging import Staging
from jenkins_release.steps.candidate.archive_writer import write_archive
from jenkins_release.steps.candidate.built_archive import BuiltArchive, find_archive, write_built
from jenkins_release.steps.candidate.documents import (
    PickedDocument,
    compare_again,
    pick_documents,
    write_attested,
    write_documents,
)
from jenkins_release.steps.candidate.installers import PickedFile, pick_installers, write_installers
from jenkins_release.steps.candidate.known_layers import find_known_layers
from jenkins_release.steps.candidate.ledger_standing import enter, place_of
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.notices.announce import Happened, announced, by_version

_BUILD_THEM = "build or pull them on this machine first; names come from images.source in release.toml"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportRequest:
    """What to export.

    Attributes:
        version: Product version.
        build: Build number.
        revision: Source revision that was built; ``GIT_COMMIT`` in Jenkins by default.
        key: URI of the build key; ``signing.build_key`` by default.
        dry_run: Check everything, write nothing.
        folder: The build's output, to which the patterns of installers are relative.
    """

    version: str
    build: str
    revision: str = ""
    key: str = ""
    dry_run: bool = False
    folder: Path = Path()


@dataclass(frozen=True)
class ExportReport:
    """What was exported.

    Attributes:
        candidate: The record; None after a dry run.
        digest: Digest of ``candidate.json``; empty after a dry run.
        location: The candidate's folder.
        images: The images as described by the daemon.
        installers: The installers in the build's output.
        bytes: Bytes of all files.
        reused: How many of them the share already had and copied itself.
        seconds: Time from the first request to the commit.
        attested: Whether a build attestation was added.
        source: How the images left the daemon, ``save`` or ``push``; empty without images of a daemon.
        why: Why in that way.
        head: SHA-256 in hex of its file, to be kept elsewhere; empty without one.
        documents: The SBOM and VEX documents in the build's output.
    """

    candidate: Candidate | None
    digest: str
    location: str
    images: tuple[LocalImage, ...]
    installers: tuple[PickedFile, ...]
    bytes: int
    reused: int
    seconds: float
    attested: bool
    head: str = ""
    documents: tuple[PickedDocument, ...] = ()
    source: str = ""
    why: str = ""


@dataclass
class _Wanted:
    """An image of the configuration with its reference filled in.

    Attributes:
        section: The image as configured.
        local: What is known of it.
        built: The archive that the build wrote; None for an image of the daemon.
    """

    section: ImageSection
    local: LocalImage = field(repr=False)
    built: BuiltArchive | None = None

    @property
    def name(self) -> str:
        return self.section.name


@dataclass(frozen=True)
class _Moved:
    """How bytes came to the share; see :class:`ExportReport`."""

    reused: int = 0
    source: str = ""
    why: str = ""


def _happened(_: ExportRequest, report: ExportReport, __: Services) -> Happened | None:
    """A candidate is on the share; QA is next."""
    record = report.candidate
    if record is None:
        return None
    verdict = "--verdict pass --tester NAME --results junit.xml"
    return Happened(
        "candidate",
        record.version,
        record.build,
        location=report.location,
        facts=[
            *(("image", f"{image.reference}, {image.identity}") for image in record.images),
            *((installer.kind, installer.name) for installer in record.installers),
            *((document.kind.upper(), document.path) for document in record.documents),
            ("candidate.json", report.digest),
            ("revision", record.revision),
            ("build attestation", "signed" if report.attested else "none"),
        ],
        next_step="QA loads it, tests it, and signs the verdict:",
        command=f"jenkins-release qa sign-off {record.ident} {verdict}",
    )


@announced("candidate export", by_version, _happened)
def export_candidate(request: ExportRequest, services: Services) -> ExportReport:
    """Export the configured images and installers as a release candidate, completely or not at all.

    The daemon's stream is hashed and parsed on its way to the share; nothing is kept on this machine's disk.

    Raises:
        ConfigurationError: Wrong version, build, image, platform, installer, SBOM or VEX document; the
            candidate exists already.
        IntegrityError: The daemon's archive does not match its images, or an installer is not signed or was
            changed meanwhile.
        RemoteError: Daemon or share failed, after the retries.
        LeaseHeld: Another export of the same build is running.
    """
    version = ReleaseVersion.parse(request.version)
    ref = CandidateRef(version.text, check_identifier("build", request.build))
    has_key = request.key or services.configuration.signing.key_for("build")
    signs = has_key or services.policy.build_attestation
    signer = services.signer("build", request.key) if signs else None
    wanted = _inspect(request.folder, version, ref.build, services)
    picked = tuple(pick_installers(request.folder, version, ref.build, services))
    if not wanted and not picked:
        raise ConfigurationError(
            f"there is nothing to export in {request.folder.absolute()}",
            hint="all patterns of [[installers]] are optional and match nothing",
        )
    inspected = [(image.section, image.local) for image in wanted]
    documents = tuple(pick_documents(request.folder, version, ref.build, inspected, services))
    area = services.candidates
    needed = _check_space(wanted, [*(each.local for each in picked), *(x.local for x in documents)], services)
    local = tuple(image.local for image in wanted)
    if request.dry_run:
        if area.exists(ref):
            raise ConfigurationError(f"candidate {ref} already exists on the share: {area.shown(ref)}")
        return ExportReport(None, "", area.shown(ref), local, picked, 0, 0, 0.0, False, documents=documents)
    started, begin = services.now(), time.monotonic()
    made: dict[bytes, tuple[Candidate, _Moved, str]] = {}

    def attempt() -> tuple[Candidate, _Moved, str]:
        # An earlier attempt may have lost the answer to the last step, together with the share.
        if made and area.exists(ref) and (mine := made.get(area.read_small(ref, MANIFEST))):
            _log.warning("%s is already visible: only the answer was lost", area.shown(ref))
            return mine
        with area.stage(ref, services.holder()) as staging:
            archives, images, moved = _write_archives(ref, wanted, staging, services)
            others, installers = write_installers(picked, staging, services)
            written = write_documents(documents, staging, services)
            described = compare_again(documents, images)
            attested_files, attested = write_attested(
                [(image, each.built.local) for image, each in zip(images, wanted, strict=True) if each.built],
                described,
                staging,
                services,
            )
            files = (*archives, *others, *written, *attested_files)
            record = Candidate(
                product=area.product,
                version=ref.version,
                build=ref.build,
                revision=request.revision or services.environ.get("GIT_COMMIT", ""),
                build_url=services.build_url,
                built_by=services.user(),
                exported_at=services.now(),
                exporter=PROGRAM,
                files=files,
                images=images,
                installers=installers,
                documents=(*described, *attested),
            )
            manifest = record.to_bytes()
            chain: dict[str, bytes] = {}
            staging.write(CHECKSUMS, checksum_lines(manifest, files))
            if signer is not None:
                envelope = sign_statement(
                    PROVENANCE,
                    provenance(record, started=started, finished=record.exported_at),
                    {MANIFEST: manifest_digest(manifest).removeprefix("sha256:")},
                    place=Place(1, ""),
                    signed_at=services.now(),
                    signer=signer,
                )
                chain["0001-build.dsse.json"] = envelope
                staging.write("attestations/0001-build.dsse.json", envelope)
            staging.write(MANIFEST, manifest)
            # Before the candidate is visible: the ledger then knows every candidate that is. Entries of an
            # export that dies here are of no candidate, and in nobody's way.
            enter(entries_of(place_of(ref, services), Chain.of(manifest, chain)), services)
            head = "".join(sha256(envelope).hexdigest() for envelope in chain.values())
            made[manifest] = record, moved, head
            staging.commit()
            services.changed = True
        return made[manifest]

    try:
        record, moved, head = services.retry(f"export {ref}", attempt)
    except ShareFull as error:
        error.hint = f"the candidate needs at least {needed} bytes: {error.hint}"
        raise
    total = sum(file.size for file in record.files)
    return ExportReport(
        record,
        manifest_digest(record.to_bytes()),
        area.shown(ref),
        local,
        picked,
        total,
        moved.reused,
        time.monotonic() - begin,
        signer is not None,
        head,
        documents,
        moved.source,
        moved.why,
    )


def _inspect(folder: Path, version: ReleaseVersion, build: str, services: Services) -> list[_Wanted]:
    """Look up every image first, so that everything missing is reported at once."""
    wanted: list[_Wanted] = []
    mistakes: list[tuple[str, str]] = []
    for section in services.configuration.images:
        try:
            reference = image_reference(section.source, version, build)
        except ConfigurationError as error:
            mistakes.append((error.message, error.hint))
            continue
        if section.archive:
            try:
                built = find_archive(section, reference, folder, version, build, services)
            except ConfigurationError as error:
                mistakes.append((error.message, error.hint))
            else:
                wanted.append(_Wanted(section, built.image, built))
            continue
        try:
            local = services.retry(f"inspect {reference}", services.engine.inspect, reference)
        except ImageNotFound as error:
            # Anything else is a problem of the daemon, the same for every image.
            mistakes.append((error.message, _BUILD_THEM))
            continue
        platforms = [str(parse_platform(each)) for each in services.configuration.platforms_of(section)]
        if mistake := _platform_mistake(local, platforms):
            mistakes.append(mistake)
        wanted.append(_Wanted(section, local))
    if mistakes:
        reasons = [message for message, _ in mistakes]
        raise ConfigurationError(
            f"{len(reasons)} of {len(services.configuration.images)} images cannot be exported: {reasons[0]}",
            hint="; ".join(dict.fromkeys(hint for _, hint in mistakes)),
            reasons=reasons,
        )
    return wanted


def _platform_mistake(local: LocalImage, platforms: Sequence[str]) -> tuple[str, str] | None:
    """Say what is wrong with the platform of an image of the daemon, and what to do; None if nothing is."""
    if len(platforms) > 1 and local.config_digest:
        return (
            f"image {local.reference} is in the daemon for {local.platform or 'no platform'} only, "
            f"export.platforms requires {', '.join(platforms)}",
            "Docker's classic image store holds one platform: build with 'docker buildx build --platform "
            f'{",".join(platforms)} --output type=oci,dest=FILE\', and set archive = "FILE" in [[images]]',
        )
    if local.platform in platforms:
        return None
    states = f"is for {local.platform}" if local.platform else "states no platform"
    required = ", ".join(platforms)
    partial = (
        ""
        if local.platform or local.config_digest
        else (
            "; Docker with containerd's image store may lack parts of an image that was pulled (moby #49784)"
        )
    )
    return (
        f"image {local.reference} {states}, export.platform requires {required}",
        f"build images with 'docker build --platform {platforms[0]}'{partial}",
    )


def _check_space(wanted: Sequence[_Wanted], picked: Sequence[LocalFile], services: Services) -> int:
    """Refuse before the transfer if the share certainly has too little space; return the bytes that it needs.

    Shared layers are in an archive once, so a single archive needs at least the size of the largest image;
    archives per image need the sum.
    """
    sizes = [image.local.size for image in wanted]
    single = services.configuration.export.archives == "single"
    needed = max(sizes, default=0) if single else sum(sizes)
    needed += sum(each.size for each in picked)
    free = services.retry("ask for free space", services.share.free_space)
    if free is not None and free < needed:
        raise ShareFull(
            f"the candidate needs at least {needed} bytes, but {services.share.name} has {free} free",
            hint="free some space on the share, or ask for a larger volume or quota; nothing was written",
        )
    return needed


def _write_archives(
    ref: CandidateRef, wanted: Sequence[_Wanted], staging: Staging, services: Services
) -> tuple[tuple[FileRecord, ...], tuple[CandidateImage, ...], _Moved]:
    files: list[FileRecord] = []
    images: dict[str, CandidateImage] = {}
    if not wanted:
        return (), (), _Moved()
    groups = _groups(wanted, services)
    known = find_known_layers(ref, services)
    reused = 0
    sources: dict[str, str] = {}
    for name, group in groups.items():
        path = f"images/{name}-{ref.version}-{ref.build}.tar"
        platforms = services.configuration.platforms_of(group[0].section)
        written = write_archive(path, [image.local for image in group], platforms, known, staging, services)
        reused += written.reused
        sources.setdefault(written.source, written.why)
        files.append(FileRecord(path=path, size=written.index.size, sha256=written.index.sha256))
        records = [written.record(image.name, image.local, path) for image in group]
        known.add_layers(records, staging.folder, str(ref), proven=True)
        images |= {record.name: record for record in records}
    for image in wanted:
        if image.built is None:
            continue
        path = f"images/{image.name}-{ref.version}-{ref.build}.oci.tar"
        whole, record = write_built(path, image.name, image.built, known, staging, services)
        reused += whole.reused
        files.append(FileRecord(path=path, size=whole.index.size, sha256=whole.index.sha256))
        known.add_layers([record], staging.folder, str(ref))
        images[record.name] = record
    moved = _Moved(reused, ", ".join(sources), "; ".join(sources.values()))
    return tuple(files), tuple(images[image.name] for image in wanted), moved


def _groups(wanted: Sequence[_Wanted], services: Services) -> dict[str, list[_Wanted]]:
    """Return the images of the daemon by the name of their archive, which has images of one platform.

    An image for several platforms has an archive of its own.
    """
    product, usual = services.configuration.product.name.lower(), services.configuration.export.all_platforms
    groups: dict[str, list[_Wanted]] = {}
    for image in wanted:
        if image.built is not None:
            continue
        platforms = services.configuration.platforms_of(image.section)
        name = image.name
        if services.configuration.export.archives == "single":
            together = platforms == usual and len(platforms) == 1
            name = product if together else f"{product}-{image.name}"
        groups.setdefault(name, []).append(image)
    return groups
