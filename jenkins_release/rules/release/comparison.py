"""What differs between two candidates: packages, layers and settings of images, and installers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import REDACTED, without_secrets
from jenkins_release.base.secret_names import POSSIBLE
from jenkins_release.records.candidate import Candidate, PlatformRecord
from jenkins_release.records.sbom import Finding, Package
from jenkins_release.rules.release.installers import without_version

Change = Literal["added", "removed", "changed"]
_SEMANTIC = frozenset(
    {"cargo", "composer", "conda", "gem", "golang", "hex", "maven", "npm", "nuget", "pub", "pypi", "swift"}
)
"""Ecosystems in which what follows ``+`` in a version says how it was built. A distribution's versions have
``+`` in them too, as in ``1.2+dfsg-3``, where all of it counts."""
_SECRET = re.compile(POSSIBLE, re.IGNORECASE)
_OPTION = re.compile(rf"(?<!\S)(--?[\w.-]*(?:{POSSIBLE})[\w.-]*[= ])\S+", re.IGNORECASE)
"""An option of a command line, with its value."""
_FIELDS = ("User", "Entrypoint", "Cmd", "WorkingDir", "ExposedPorts", "Volumes", "StopSignal", "Healthcheck")


@dataclass(frozen=True)
class PackageChange:
    """A package that differs.

    Attributes:
        name: Its name.
        ecosystem: Its ecosystem, such as ``deb``.
        key: What identifies it: its purl without the version.
        old: Its versions before, sorted; empty if it was added.
        new: Its versions now, sorted; empty if it was removed.
    """

    name: str
    ecosystem: str
    key: str
    old: tuple[str, ...]
    new: tuple[str, ...]

    @property
    def change(self) -> Change:
        """What happened to it."""
        return "changed" if self.old and self.new else "added" if self.new else "removed"

    @property
    def rebuilt(self) -> bool:
        """Whether its versions differ only after ``+``, in an ecosystem where that tells builds apart."""
        if self.change != "changed" or self.ecosystem not in _SEMANTIC:
            return False
        return {each.partition("+")[0] for each in self.old} == {each.partition("+")[0] for each in self.new}


@dataclass(frozen=True)
class PackageComparison:
    """The packages of an image, before and now.

    Attributes:
        changes: Those that differ, sorted by ecosystem and name.
        unchanged: Number of those that do not.
    """

    changes: tuple[PackageChange, ...]
    unchanged: int

    def of(self, change: Change) -> tuple[PackageChange, ...]:
        """Return the packages to which that happened, without those that were only built again."""
        return tuple(each for each in self.changes if each.change == change and not each.rebuilt)

    @property
    def rebuilt(self) -> tuple[PackageChange, ...]:
        """The packages that were only built again."""
        return tuple(each for each in self.changes if each.rebuilt)


@dataclass(frozen=True)
class LayerComparison:
    """The layers of an image by their ``diff_id``; bytes are those in the archive.

    Attributes:
        shared: Layers that both have.
        shared_bytes: Their bytes now.
        added: Layers that only the new image has.
        added_bytes: Their bytes.
        removed: Layers that only the old image has.
        removed_bytes: Their bytes.
    """

    shared: int
    shared_bytes: int
    added: int
    added_bytes: int
    removed: int
    removed_bytes: int


@dataclass(frozen=True)
class Difference:
    """A setting, a status or a file that differs: what it is, and how it was and is; None for not there."""

    what: str
    old: str | None
    new: str | None

    @property
    def change(self) -> Change:
        """What happened to it."""
        return "added" if self.old is None else "removed" if self.new is None else "changed"


@dataclass(frozen=True)
class InstallerChange:
    """An installer before and now: name, bytes and SHA-256 in hex; None for not there.

    Attributes:
        old: As it was.
        new: As it is.
    """

    old: tuple[str, int, str] | None
    new: tuple[str, int, str] | None

    @property
    def change(self) -> Change | Literal["same"]:
        """What happened to it; a new name with the same bytes is the same."""
        if self.old is None:
            return "added"
        if self.new is None:
            return "removed"
        return "same" if self.old[2] == self.new[2] else "changed"


def compare_packages(old: Iterable[Package], new: Iterable[Package]) -> PackageComparison:
    """Compare packages; one with several versions is one package.

    Args:
        old: Those before.
        new: Those now.
    """
    before, now = _versions(old), _versions(new)
    named = {each.key: each for each in (*before.values(), *now.values())}
    changes = []
    for key, each in named.items():
        versions = [side[key].new if key in side else () for side in (before, now)]
        if versions[0] != versions[1]:
            changes.append(PackageChange(each.name, each.ecosystem, key, versions[0], versions[1]))
    ordered = sorted(changes, key=lambda each: (each.ecosystem, each.name, each.key))
    return PackageComparison(tuple(ordered), len(named) - len(changes))


def _versions(packages: Iterable[Package]) -> dict[str, PackageChange]:
    """Return each package once, with all of its versions; a version that nobody knows is ``?``."""
    found: dict[str, tuple[Package, set[str]]] = {}
    for each in packages:
        found.setdefault(each.key, (each, set()))[1].add(each.version or "?")
    return {
        key: PackageChange(package.name, package.ecosystem, key, (), tuple(sorted(versions)))
        for key, (package, versions) in found.items()
    }


def compare_layers(old: PlatformRecord, new: PlatformRecord) -> LayerComparison:
    """Compare the layers of two images."""
    before, now = ({layer.diff_id: layer.size for layer in image.layers} for image in (old, new))
    count, there = Counter(old.diff_ids), Counter(new.diff_ids)
    shared, added, removed = count & there, there - count, count - there

    def size(layers: Counter[str], sizes: Mapping[str, int]) -> int:
        return sum(number * sizes[diff_id] for diff_id, number in layers.items())

    return LayerComparison(
        shared.total(),
        size(shared, now),
        added.total(),
        size(added, now),
        removed.total(),
        size(removed, before),
    )


def compare_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Compare how containers of two images run.

    Labels, history and times are left out: they change with every build. The value of a variable or of an
    option whose name suggests a secret is not shown, nor are logins in URLs.

    Args:
        old: The config JSON of the image before.
        new: That of the image now.
    """
    before, now = (_settings(config.get("config") or {}) for config in (old, new))
    names = [*dict.fromkeys((*before, *now))]
    return tuple(
        _shown(name, before.get(name), now.get(name)) for name in names if before.get(name) != now.get(name)
    )


def _settings(container: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for name in _FIELDS:
        value = container.get(name)
        if value:
            found[name] = _text(sorted(value) if name in {"ExposedPorts", "Volumes"} else value)
    for entry in container.get("Env") or []:
        name, _, value = entry.partition("=")
        found[f"Env {name}"] = value
    return found


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_text(item)}" for name, item in sorted(value.items()))
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value)


def _shown(what: str, old: str | None, new: str | None) -> Difference:
    return Difference(
        what, *(None if value is None else _without_secrets(what, value) for value in (old, new))
    )


def _without_secrets(what: str, value: str) -> str:
    if what.startswith("Env ") and _SECRET.search(what.removeprefix("Env ")):
        return REDACTED
    return without_secrets(_OPTION.sub(rf"\1{REDACTED}", value))


def compare_findings(old: Iterable[Finding], new: Iterable[Finding]) -> tuple[Difference, ...]:
    """Compare what VEX documents say about vulnerabilities; several statuses of one stand side by side."""
    before, now = _statuses(old), _statuses(new)
    return tuple(
        Difference(name, before.get(name), now.get(name))
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    )


def _statuses(findings: Iterable[Finding]) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for each in findings:
        found.setdefault(each.vulnerability, set()).add(each.status)
    return {name: ", ".join(sorted(statuses)) for name, statuses in found.items()}


def compare_installers(old: Candidate, new: Candidate) -> tuple[InstallerChange, ...]:
    """Pair the installers of two candidates by their names without version and build, sorted by name."""
    before, now = _installers(old), _installers(new)
    return tuple(
        InstallerChange(before.get(name), now.get(name)) for name in sorted(before.keys() | now.keys())
    )


def _installers(record: Candidate) -> dict[str, tuple[str, int, str]]:
    files = [(each.name, record.file(each.path)) for each in record.installers]
    stems = Counter(without_version(name, record.version, record.build) for name, _ in files)
    found = {}
    for name, file in files:
        stem = without_version(name, record.version, record.build)
        found[stem if stems[stem] == 1 else name] = (name, file.size, file.sha256)
    return found


def formats_to_compare(old: Sequence[str], new: Sequence[str]) -> tuple[frozenset[str], str]:
    """Choose the formats of SBOM that two images are compared by.

    Scanners differ in what they find and how they name it, so the formats that both images have are taken.

    Args:
        old: Formats of the SBOMs of the image before.
        new: Those of the image now.

    Returns:
        The formats; and what to keep in mind, empty if both have the same.
    """
    common = {*old} & {*new}
    if common:
        return frozenset(common), ""
    note = f"the SBOMs are {' and '.join(sorted({*old}))} before and {' and '.join(sorted({*new}))} now"
    return frozenset({*old, *new}), f"{note}: a scanner may name the same package differently"
