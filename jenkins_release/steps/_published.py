"""Files of a published release: what goes there, how it gets there, and whether it is still that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jenkins_release.errors import ConfigurationError, IntegrityError
from jenkins_release.records.candidate import InstallerKind, manifest_digest
from jenkins_release.records.published import PublishedFile, PublishedRelease, release_checksum_lines
from jenkins_release.records.setup import setup_zip_name
from jenkins_release.share.candidates import CHECKSUMS
from jenkins_release.share.protocol import PathNotFound
from jenkins_release.share.releases import INSTALLERS, RELEASE, ReleaseArea
from jenkins_release.share.staging import Staging
from jenkins_release.steps._open import OpenCandidate
from jenkins_release.steps._read_back import hash_of
from jenkins_release.steps.bundle_verify import prove_setup_file
from jenkins_release.steps.services import Services


@dataclass(frozen=True)
class SourceFile:
    """A file that will be published.

    Attributes:
        record: What it will be in the release area.
        origin: Its path in the candidate; empty for a setup zip of this machine.
        data: The bytes of that setup zip, as they were proven.
    """

    record: PublishedFile
    origin: str = ""
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class FoundRelease:
    """A release that is published.

    Attributes:
        data: The bytes of ``release.json``.
        record: What they say.
    """

    data: bytes
    record: PublishedRelease

    @property
    def digest(self) -> str:
        """Digest of ``release.json``."""
        return manifest_digest(self.data)


def files_to_publish(opened: OpenCandidate, setup_zip: Path | None, services: Services) -> list[SourceFile]:
    """Return what is published of a candidate, sorted by path.

    Args:
        opened: The candidate.
        setup_zip: The zip with which customers deploy the images, where the candidate does not hold it.
        services: Keys and time, to prove that zip.

    Raises:
        ConfigurationError: There is nothing to publish, two setup zips, or one without images.
        IntegrityError: The setup zip is not that of the promoted images.
    """
    record = opened.record
    found = []
    for installer in record.installers:
        file = record.file(installer.path)
        path = installer.name if installer.kind == "setup" else f"{INSTALLERS}/{installer.name}"
        found.append(SourceFile(_file(path, installer.kind, file.size, file.sha256), installer.path))
    if setup_zip is not None:
        if any(source.record.kind == "setup" for source in found):
            raise ConfigurationError(
                f"candidate {opened.ref} holds a setup zip already, and {setup_zip} is given",
                hint="publish the one that QA validated: leave out --setup-zip",
            )
        found.append(_setup_zip(setup_zip, opened, services))
    if not found:
        raise ConfigurationError(
            f"candidate {opened.ref} holds no installers, there is nothing to publish",
            hint="[[installers]] in release.toml says what an export takes; --setup-zip adds a setup zip",
        )
    return sorted(found, key=lambda source: source.record.path)


def _file(path: str, kind: InstallerKind, size: int, digest: str) -> PublishedFile:
    return PublishedFile(path=path, kind=kind, size=size, sha256=digest)


def _setup_zip(path: Path, opened: OpenCandidate, services: Services) -> SourceFile:
    if not opened.record.images:
        raise ConfigurationError(
            f"candidate {opened.ref} holds no images, a setup zip would deploy nothing",
            hint="leave out --setup-zip",
        )
    expected = setup_zip_name(opened.record.product, opened.ref.version)
    if path.name != expected:
        raise ConfigurationError(
            f"the setup zip {path} is not named {expected}", hint="'jenkins-release bundle build' makes it"
        )
    proof, data = prove_setup_file(path, services.trusted_keys, services.now())
    if proof.release.digest != opened.digest:
        raise IntegrityError(
            f"{path} is of {proof.release.record.ident} with candidate.json {proof.release.digest}, not of "
            f"{opened.ref} with {opened.digest}",
            hint="'jenkins-release bundle build' makes the right one",
        )
    return SourceFile(_file(path.name, "setup", proof.size, proof.sha256), data=data)


def read_published(version: str, area: ReleaseArea) -> FoundRelease | None:
    """Read what is published of a version, None where nothing is.

    Raises:
        IntegrityError: The folder is there, and ``release.json`` in it is missing, no record, or that of
            another release.
    """
    if not area.exists(version):
        return None
    data, where = area.read_small(version, RELEASE), area.shown(version, RELEASE)
    record = PublishedRelease.from_bytes(data, where)
    if (record.product, record.version) != (area.product, version):
        raise IntegrityError(
            f"{where}: expected {area.product} {version}, found {record.product} {record.version}",
            hint="the folder was renamed or copied by hand, or differs from another in its case only",
        )
    return FoundRelease(data, record)


def check_published(
    found: FoundRelease,
    opened: OpenCandidate,
    sources: Sequence[SourceFile],
    area: ReleaseArea,
    services: Services,
) -> None:
    """Check that what is published is exactly what would be, byte for byte.

    Raises:
        IntegrityError: Another candidate or other files are published, or a file was altered since.
    """
    version = opened.ref.version
    wanted = {source.record.path: source.record for source in sources}
    there = {file.path: file for file in found.record.files}
    if (found.record.candidate_digest, wanted) != (opened.digest, there):
        lines = [
            f"published: {found.record.candidate} with candidate.json {found.record.candidate_digest}",
            f"to publish: {opened.ref} with candidate.json {opened.digest}",
        ]
        lines += [f"{path} differs" for path in sorted(wanted) if there.get(path) not in {None, wanted[path]}]
        lines += [f"{path} is not published" for path in sorted(wanted.keys() - there.keys())]
        lines += [f"{path} is published too" for path in sorted(there.keys() - wanted.keys())]
        raise IntegrityError(
            f"{area.shown(version)} is published already, with other content",
            hint="a published release never changes: release a new version",
            reasons=lines,
        )
    problems = altered_files(found, area, services)
    if problems:
        raise IntegrityError(
            f"the published release {version} was altered: {problems[0]}",
            hint="find out who changed the release area, and restore the file from the candidate",
            reasons=problems,
        )


def altered_files(found: FoundRelease, area: ReleaseArea, services: Services) -> list[str]:
    """Read a published release again and say what is not as ``release.json`` records it.

    Raises:
        RemoteError: The release area failed, after the retries.
    """
    version = found.record.version
    problems = []
    for file in found.record.files:
        shown, path = area.shown(version, file.path), f"{area.folder(version)}/{file.path}"
        try:
            with services.progress.task(f"check {file.path}", file.size) as task:
                size, digest = services.retry(
                    f"read {shown}",
                    lambda path=path, task=task: hash_of(area.share, path, task.advance),  # type: ignore[misc]
                )
        except PathNotFound:
            problems.append(f"{shown} is missing")
            continue
        if (size, digest) != (file.size, file.sha256):
            problems.append(
                f"{shown}: expected {file.size} bytes with SHA-256 {file.sha256}, found {size} with {digest}"
            )
    try:
        lines = services.retry(f"read {CHECKSUMS}", lambda: area.read_small(version, CHECKSUMS))
    except IntegrityError as error:
        return [*problems, error.message]
    if lines != release_checksum_lines(found.data, found.record.files):
        problems.append(f"{area.shown(version, CHECKSUMS)} does not match release.json")
    return problems


def copy_file(source: SourceFile, opened: OpenCandidate, staging: Staging, services: Services) -> int:
    """Copy a file into the release area, and compare what stands there with what was validated.

    The server copies it by itself where both shares are on one server; then, and through the wire too,
    it is read back from the destination.

    Returns:
        Bytes that the server copied by itself.

    Raises:
        IntegrityError: What stands there is something else; nothing is visible so far.
        RemoteError: A share failed.
    """
    file = source.record
    copied = False
    with (
        staging.create(file.path) as writer,
        services.progress.task(f"publish {file.path}", file.size) as task,
    ):
        if source.origin:
            origin = f"{services.candidates.folder(opened.ref)}/{source.origin}"
            copied = services.share.copy_into(writer, origin)
            pieces = iter(()) if copied else services.share.read(origin)
        else:
            pieces = iter([source.data])
        for piece in pieces:
            writer.write(piece)
            task.advance(len(piece))
        if copied:
            task.advance(file.size)
    with services.progress.task(f"read back {file.path}", file.size) as task:
        size, digest = hash_of(staging.share, staging.path(file.path), task.advance)
    if (size, digest) != (file.size, file.sha256):
        raise IntegrityError(
            f"{file.path} in {staging.share.name}: expected {file.size} bytes with SHA-256 {file.sha256} as "
            f"QA validated, found {size} with {digest}",
            hint="'candidate verify' tells whether the candidate was altered; nothing was published",
        )
    return file.size if copied else 0
