"""The files of a published release: chooses them, copies them, and checks that they are unaltered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from hashlib import sha256
from pathlib import Path

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError, RemoteError
from jenkins_release.base.stream import at_most
from jenkins_release.records.attestation import PROMOTION
from jenkins_release.records.candidate import PublishedKind, manifest_digest
from jenkins_release.records.published_release import PublishedFile, PublishedRelease, release_checksum_lines
from jenkins_release.records.setup import setup_zip_name
from jenkins_release.records.setup_zip import MAX_ZIP_BYTES
from jenkins_release.rules.setup_zip.proof import SetupProof, prove_setup_zip
from jenkins_release.share.candidates import CHECKSUMS
from jenkins_release.share.protocol import Listed, PathNotFound, Share
from jenkins_release.share.releases import INSTALLERS, RELEASE, ReleaseArea
from jenkins_release.share.staging import Staging
from jenkins_release.steps.candidate.authority import require_allowed
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.candidate.read_back import hash_of
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.release.releases import release_of
from jenkins_release.steps.setup_zip.sources import setup_scripts
from jenkins_release.steps.setup_zip.verify import prove_setup_file


@dataclass(frozen=True)
class SourceFile:
    """A file that will be published.

    Attributes:
        record: Its entry in ``release.json``.
        origin: Its path in the candidate; empty for a setup zip from this machine.
        data: The proven bytes of that setup zip.
    """

    record: PublishedFile
    origin: str = ""
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class FoundRelease:
    """A release as found in the release area.

    Attributes:
        data: The bytes of ``release.json``.
        record: Their content.
    """

    data: bytes
    record: PublishedRelease

    @property
    def digest(self) -> str:
        """Digest of ``release.json``."""
        return manifest_digest(self.data)


def files_to_publish(opened: OpenCandidate, setup_zip: Path | None, services: Services) -> list[SourceFile]:
    """Return the files of a candidate that are to be published, sorted by path.

    SBOM and VEX documents go with the files that customers install; alone, they are no release.

    Args:
        opened: The candidate.
        setup_zip: The zip with which customers deploy the images; None if the candidate has it.
        services: Keys and time, to prove that zip.

    Raises:
        ConfigurationError: There is nothing to publish, two setup zips, or one without images.
        IntegrityError: The setup zip is not for the promoted images.
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
    for document in record.documents:
        file = record.file(document.path)
        found.append(SourceFile(_file(document.path, document.kind, file.size, file.sha256), document.path))
    return sorted(found, key=lambda source: source.record.path)


def _file(path: str, kind: PublishedKind, size: int, digest: str) -> PublishedFile:
    return PublishedFile(path=path, kind=kind, size=size, sha256=digest)


def _setup_zip(path: Path, opened: OpenCandidate, services: Services) -> SourceFile:
    if not opened.record.images:
        raise ConfigurationError(
            f"candidate {opened.ref} has no images: a setup zip would deploy nothing",
            hint="leave out --setup-zip",
        )
    expected = setup_zip_name(opened.record.product, opened.ref.version)
    if path.name != expected:
        raise ConfigurationError(
            f"the setup zip {path} is not named {expected}", hint="'jenkins-release bundle build' makes it"
        )
    proof, data = prove_setup_file(path, services.trusted_keys, services.now())
    _require_of(opened, proof, str(path))
    return SourceFile(_file(path.name, "setup", proof.size, proof.sha256), data=data)


def _require_of(opened: OpenCandidate, proof: SetupProof, where: str) -> None:
    """Refuse a setup zip of another candidate, or of other images than its promotion on the share names.

    The zip's own attestations only prove what the promotion key signed. The promotion on the share also has
    to meet the policy.
    """
    if proof.release.digest != opened.digest:
        raise IntegrityError(
            f"{where} is of {proof.release.record.ident} with candidate.json {proof.release.digest}, not of "
            f"{opened.ref} with {opened.digest}",
            hint="'jenkins-release bundle build' makes the right one",
        )
    require_allowed(opened, {PROMOTION})
    release = release_of(opened)
    here = {(i.repository, i.digest) for i in release.promoted().images} if release is not None else set()
    promoted = proof.release.promoted
    if promoted is None or {(i.repository, i.digest) for i in promoted.images} != here:
        raise IntegrityError(
            f"{where} names other images than the promotion of {opened.ref} on the share",
            hint="'jenkins-release bundle build' makes the right one",
        )


def prove_published_setup(
    found: FoundRelease, opened: OpenCandidate, area: ReleaseArea, services: Services
) -> None:
    """Prove the published setup zip, unless it is the candidate's own, which QA validated.

    Raises:
        IntegrityError: It is not for the promoted images, or no attestation names its files.
        RemoteError: The release area failed, after the retries.
    """
    version = found.record.version
    own = {opened.record.file(each.path).sha256 for each in opened.record.installers if each.kind == "setup"}
    for file in found.record.files:
        if file.kind != "setup" or file.sha256 in own:
            continue
        shown = area.shown(version, file.path)
        data = b""
        if file.size <= MAX_ZIP_BYTES:
            data = services.retry(f"read {shown}", _read_whole, area, version, file)
        if (len(data), sha256(data).hexdigest()) != (file.size, file.sha256):
            raise IntegrityError(
                f"{shown} is not the setup zip that was published",
                hint="find out who changed the release area",
            )
        scripts = setup_scripts()
        proof = prove_setup_zip(data, shown, services.trusted_keys, services.now(), scripts=scripts)
        _require_of(opened, proof, shown)


def _read_whole(area: ReleaseArea, version: str, file: PublishedFile) -> bytes:
    return b"".join(at_most(area.read(version, file.path), file.size))


def read_published(version: str, area: ReleaseArea) -> FoundRelease | None:
    """Read the published release of a version; None if there is none.

    Raises:
        IntegrityError: The folder exists, but its ``release.json`` is missing, not a valid record, or that of
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


def check_record(
    found: FoundRelease, opened: OpenCandidate, sources: Sequence[SourceFile], area: ReleaseArea
) -> None:
    """Check that ``release.json`` names this candidate and exactly the files that would be published.

    Who published it, when, and in which build is not compared, since only a signature proves that.

    Raises:
        IntegrityError: Another candidate or other files are published.
    """
    version = opened.ref.version
    wanted = {source.record.path: source.record for source in sources}
    there = {file.path: file for file in found.record.files}
    revision = opened.record.revision
    told = (found.record.candidate, found.record.candidate_digest, found.record.revision)
    if (told, wanted) != ((str(opened.ref), opened.digest, revision), there):
        lines = [
            f"published: {found.record.candidate} with candidate.json {found.record.candidate_digest}",
            f"to publish: {opened.ref} with candidate.json {opened.digest}",
        ]
        if found.record.revision != revision:
            lines.append(f"revision: expected {revision or 'none'}, found {found.record.revision or 'none'}")
        lines += [f"{path} differs" for path in sorted(wanted) if there.get(path) not in {None, wanted[path]}]
        lines += [f"{path} is not published" for path in sorted(wanted.keys() - there.keys())]
        lines += [f"{path} is published too" for path in sorted(there.keys() - wanted.keys())]
        raise IntegrityError(
            f"{area.shown(version)} is published already, with other content",
            hint="a published release never changes: release a new version",
            reasons=lines,
        )


def check_files(found: FoundRelease, area: ReleaseArea, services: Services) -> None:
    """Read a published release, and check that every file is as ``release.json`` records it.

    Raises:
        IntegrityError: A file was altered, is missing, or does not belong there; ``reasons`` lists them all.
        RemoteError: The release area failed, after the retries.
    """
    problems = altered_files(found, area, services)
    if problems:
        raise IntegrityError(
            f"the published release {found.record.version} was altered: {problems[0]}",
            hint="find out who changed the release area, and restore the file from the candidate",
            reasons=problems,
        )


def altered_files(found: FoundRelease, area: ReleaseArea, services: Services) -> list[str]:
    """Read a published release, and return how it differs from what ``release.json`` records.

    ``release.json`` itself is compared byte for byte, and the folder may contain nothing else.

    Raises:
        RemoteError: The release area failed, after the retries.
    """
    version = found.record.version
    problems: dict[str, str] = {}
    for file in found.record.files:
        shown, path = area.shown(version, file.path), f"{area.folder(version)}/{file.path}"
        try:
            with services.progress.task(f"check {file.path}", file.size) as task:
                size, digest = services.retry(f"read {shown}", hash_of, area.share, path, task.advance)
        except PathNotFound:
            problems[file.path] = f"{shown} is missing"
            continue
        if (size, digest) != (file.size, file.sha256):
            problems[file.path] = (
                f"{shown}: expected {file.size} bytes with SHA-256 {file.sha256}, found {size} with {digest}"
            )
    for path, data in _records(found).items():
        shown = area.shown(version, path)
        try:
            there = services.retry(f"read {shown}", area.read_small, version, path)
        except (IntegrityError, ConfigurationError) as error:
            problems[path] = error.message
            continue
        if there != data:
            problems[path] = (
                f"{shown}: expected SHA-256 {sha256(data).hexdigest()}, found {sha256(there).hexdigest()}"
            )
    return [*(misplaced_files([found], area, services)[version] | problems).values()]


def misplaced_files(
    releases: Sequence[FoundRelease], area: ReleaseArea, services: Services
) -> dict[str, dict[str, str]]:
    """List the folders of published releases, and find files that are missing, extra, or of another size.

    Files are not read, so a replaced file of the same name and size goes unnoticed.

    Returns:
        For each version, a map of path to problem.

    Raises:
        RemoteError: The release area failed, after the retries.
    """
    folders = [(each, folder) for each in releases for folder in _folders(each)]
    paths = [f"{area.folder(each.record.version)}/{folder}".rstrip("/") for each, folder in folders]
    listings = services.retry("list the files of the published releases", _list_each, area.share, paths)
    found: dict[str, dict[str, str]] = {each.record.version: {} for each in releases}
    there: dict[str, dict[str, int]] = {each.record.version: {} for each in releases}
    for (each, folder), listed in zip(folders, listings, strict=True):
        version = each.record.version
        if isinstance(listed, RemoteError):
            if not isinstance(listed, PathNotFound):
                found[version][folder] = listed.message
            continue
        for entry in listed:
            path = f"{folder}/{entry.name}".lstrip("/")
            if not entry.is_folder:
                there[version][path] = entry.size
            elif path not in _folders(each):
                found[version][path] = f"{area.shown(version, path)} does not belong there"
    for each in releases:
        version = each.record.version
        sizes = {file.path: file.size for file in each.record.files}
        sizes |= {path: len(data) for path, data in _records(each).items()}
        for path in sorted(sizes.keys() | there[version].keys()):
            expected, size, shown = sizes.get(path), there[version].get(path), area.shown(version, path)
            if expected is None:
                found[version][path] = f"{shown} does not belong there"
            elif size is None:
                found[version].setdefault(path, f"{shown} is missing")
            elif size != expected:
                found[version][path] = f"{shown}: expected {expected} bytes, found {size}"
    return found


def _records(found: FoundRelease) -> dict[str, bytes]:
    """Return the expected bytes of the files that accompany those that customers download."""
    return {CHECKSUMS: release_checksum_lines(found.data, found.record.files), RELEASE: found.data}


def _folders(found: FoundRelease) -> list[str]:
    return sorted({"", *(file.path.rpartition("/")[0] for file in found.record.files)})


def _list_each(share: Share, paths: Sequence[str]) -> Sequence[Listed]:
    listings = share.list_each(paths)
    for listed in listings:
        if isinstance(listed, RemoteError) and listed.retryable:
            raise listed
    return listings


def copy_file(source: SourceFile, opened: OpenCandidate, staging: Staging, services: Services) -> int:
    """Copy a file into the release area, read it back, and compare it with what was validated.

    If both shares are on the same server, the server copies it by itself.

    Returns:
        Bytes that the server copied by itself.

    Raises:
        IntegrityError: The copy differs; nothing is visible yet.
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
            pieces = iter(()) if copied else at_most(services.share.read(origin), file.size)
        else:
            pieces = iter([source.data])
        for piece in pieces:
            writer.write(piece)
            task.advance(len(piece))
        if copied:
            task.advance(file.size)
    with services.progress.task(f"read back {file.path}", file.size) as task:
        size, digest = hash_of(staging.share, staging.path(file.path), task.advance, expected=file.size)
    if (size, digest) != (file.size, file.sha256):
        raise IntegrityError(
            f"{file.path} in {staging.share.name}: expected {file.size} bytes with SHA-256 {file.sha256} as "
            f"QA validated, found {size} with {digest}",
            hint="'candidate verify' tells whether the candidate was altered; nothing was published",
        )
    return file.size if copied else 0
