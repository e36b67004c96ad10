"""Installers of a candidate: selected from the build's output, checked, and streamed to the share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.names import MAX_PATH, name_problem
from jenkins_release.base.tags import fill
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.config.installers import InstallerSection
from jenkins_release.installers import LocalFile, SignatureCheck, find_files
from jenkins_release.records.candidate import FileRecord, InstallerRecord, SignatureRecord
from jenkins_release.rules.release.installers import names_version
from jenkins_release.share.releases import INSTALLERS
from jenkins_release.share.staging import Staging
from jenkins_release.steps.candidate.file_writer import write_file
from jenkins_release.steps.context.services import Services


@dataclass(frozen=True)
class PickedFile:
    """A file of the build's output for the candidate.

    Attributes:
        local: The file.
        section: The section that selected it.
        signature: What the command said of it; None if none is configured.
    """

    local: LocalFile
    section: InstallerSection
    signature: SignatureRecord | None = None

    @property
    def name(self) -> str:
        """File name."""
        return self.local.path.name

    @property
    def target(self) -> str:
        """Path in the candidate."""
        return f"{INSTALLERS}/{self.name}"


def pick_installers(
    folder: Path, version: ReleaseVersion, build: str, services: Services
) -> list[PickedFile]:
    """Find the configured installers, and have their signatures checked.

    Args:
        folder: The build's output.
        version: The expected version.
        build: Build number.
        services: Configuration and environment.

    Raises:
        ConfigurationError: A pattern matches nothing, or a name is invalid, has another version or occurs
            twice; ``reasons`` has all mistakes.
        IntegrityError: Files are not signed as configured; ``reasons`` names each.
    """
    picked: dict[Path, PickedFile] = {}
    mistakes: list[str] = []
    for section in services.configuration.installers:
        pattern = fill(section.files, version, build)
        found = find_files(folder, pattern)
        if not found and not section.optional:
            mistakes.append(f"{pattern} matches no file in {folder}")
        for path in found:
            if path in picked:
                continue
            picked[path] = PickedFile(LocalFile.at(path), section)
            mistakes += _name_mistakes(path, section, version, build, services)
    mistakes += _clashes(list(picked.values()))
    if mistakes:
        raise ConfigurationError(
            f"the installers cannot be exported: {mistakes[0]}",
            hint="see [[installers]] in release.toml; version_in_name = false allows other names",
            reasons=mistakes,
        )
    return _signed(list(picked.values()), services)


def _name_mistakes(
    path: Path, section: InstallerSection, version: ReleaseVersion, build: str, services: Services
) -> list[str]:
    problem = name_problem(path.name)
    if problem is not None:
        return [f"{path}: the name {problem}"]
    mistakes = []
    place = f"{services.configuration.product.name}/{version.text}/{build}/{INSTALLERS}/{path.name}"
    if len(place) > MAX_PATH:
        mistakes.append(
            f"{path}: its path on the share would have {len(place)} characters, at most {MAX_PATH} are "
            "possible"
        )
    if section.version_in_name and not names_version(path.name, version.text, build):
        mistakes.append(f"{path}: the name does not contain the version {version.text}")
    return mistakes


def _clashes(picked: Sequence[PickedFile]) -> list[str]:
    names: dict[str, Path] = {}
    mistakes = []
    for each in picked:
        first = names.setdefault(each.name.casefold(), each.local.path)
        if first != each.local.path:
            mistakes.append(
                f"{each.local.path} and {first} have the same name (upper and lower case are one on SMB)"
            )
    return mistakes


def _signed(picked: Sequence[PickedFile], services: Services) -> list[PickedFile]:
    found: list[PickedFile] = []
    unsigned: list[str] = []
    for each in picked:
        section = each.section
        if not section.check:
            found.append(each)
            continue
        check = SignatureCheck(
            section.check, section.check_expects, section.check_timeout_s, services.environ
        )
        said = check.check(each.local.path)
        if not said.signed:
            last = said.output.splitlines()[-1:]
            unsigned.append(f"{each.local.path}: {said.problem}" + (f": {last[0]}" if last else ""))
        signature = SignatureRecord(command=section.check, expects=section.check_expects, output=said.output)
        found.append(PickedFile(each.local, section, signature))
    if unsigned:
        raise IntegrityError(
            f"{len(unsigned)} of {len(picked)} installers are not signed as configured: {unsigned[0]}",
            hint="sign them in the build; installers.check in release.toml defines the check",
            reasons=unsigned,
        )
    return found


def write_installers(
    picked: Sequence[PickedFile], staging: Staging, services: Services
) -> tuple[tuple[FileRecord, ...], tuple[InstallerRecord, ...]]:
    """Stream installers into a candidate that is being written, and hash them on the way.

    Raises:
        IntegrityError: A file was changed meanwhile, or the share returns something else than was written.
        RemoteError: The share failed.
    """
    files = [write_file(each.local, each.target, staging, services) for each in picked]
    records = [
        InstallerRecord(path=each.target, kind=each.section.kind, signature=each.signature) for each in picked
    ]
    return tuple(files), tuple(records)
