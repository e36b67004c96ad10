"""The support window: which released versions customers may pull, and what is outside it.

A line is ``major.minor`` by default. N and N-1 are the two newest released lines with all their
patch releases; a line whose promised last day of support is not over stays too. A line is released once a
version of it is in force that is not a pre-release: a release candidate of 9.0 does not push 8.0 out. A
withdrawn version opens no line. Anything without a known version is never touched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Literal

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.tags import registry_tags, released_versions
from jenkins_release.base.versions import ReleaseVersion

LineKind = Literal["major.minor", "major"]
Line = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """Which lines are supported.

    Attributes:
        kind: What makes a line.
        lines: The newest released lines, newest first; fewer than ``count`` if fewer are released.
        count: Number of lines to support.
        promised: Older released lines whose last day of support is not over, newest first.
    """

    kind: LineKind
    lines: tuple[Line, ...]
    count: int = 2
    promised: tuple[Line, ...] = ()

    def supports(self, version: ReleaseVersion) -> bool:
        """Whether customers may rely on a version.

        Newer versions than N stay too, and so does every version while fewer than ``count`` lines are known
        to be released: without proof, nothing is retired.
        """
        line = line_of(version, self.kind)
        return len(self.lines) < self.count or line >= self.lines[-1] or line in self.promised

    def supported(self, versions: Iterable[ReleaseVersion]) -> list[ReleaseVersion]:
        """Return the supported ones of some versions, newest first."""
        return sorted({version for version in versions if self.supports(version)}, reverse=True)

    @property
    def names(self) -> tuple[str, ...]:
        """The lines as people write them, newest first."""
        return tuple(".".join(map(str, line)) for line in (*self.lines, *self.promised))

    @property
    def shown(self) -> str:
        """The lines in one text."""
        return ", ".join(self.names) or "none"


@dataclass(frozen=True)
class StoredTag:
    """A tag in the registry.

    Attributes:
        repository: Its repository.
        tag: The tag.
        digest: Digest of what it names.
    """

    repository: str
    tag: str
    digest: str


@dataclass(frozen=True)
class TagTemplates:
    """The product's tag templates: fixed release tags and moving ones."""

    fixed: tuple[str, ...]
    moving: tuple[str, ...] = ()


@dataclass(frozen=True)
class Retirement:
    """What is outside the window, and what of it is kept.

    Attributes:
        remove: Tags to remove.
        kept: Tags outside the window that stay, each with the reason.
    """

    remove: tuple[StoredTag, ...]
    kept: tuple[tuple[StoredTag, str], ...]


def line_of(version: ReleaseVersion, kind: LineKind = "major.minor") -> Line:
    """Return the line that a version belongs to."""
    return version.numbers[:2] if kind == "major.minor" else version.numbers[:1]


def promised_lines(ends: Mapping[str, date], today: date) -> list[str]:
    """Return the lines whose last day of support is not over."""
    return [line for line, last in ends.items() if last >= today]


def support_window(
    released: Iterable[ReleaseVersion],
    *,
    withdrawn: Iterable[ReleaseVersion] = (),
    count: int = 2,
    kind: LineKind = "major.minor",
    promised: Collection[str] = (),
) -> Window:
    """Compute the window.

    Args:
        released: Versions that were released.
        withdrawn: Withdrawn versions; they count as never released.
        count: Number of supported lines, N included.
        kind: What makes a line.
        promised: Lines, such as ``8.0``, that stay supported although newer ones are released.
    """
    gone = set(withdrawn)
    final = {line_of(v, kind) for v in released if v not in gone and v.final}
    count = max(1, count)
    newest = sorted(final, reverse=True)
    older = tuple(line for line in newest[count:] if ".".join(map(str, line)) in promised)
    return Window(kind, tuple(newest[:count]), count, older)


def versions_of(templates: Sequence[str], tag: str) -> tuple[ReleaseVersion, ...]:
    """Return every version that a fixed tag may have been made for, by each template."""
    return tuple({version for template in templates for version in released_versions([template], [tag])})


def retirement(
    tags: Iterable[StoredTag],
    window: Window,
    templates: TagTemplates,
    *,
    children: Mapping[str, frozenset[str]] | None = None,
    pulled: Mapping[tuple[str, str], str] | None = None,
) -> Retirement:
    """Decide which tags leave the registry.

    Args:
        tags: Every tag of the product's repositories.
        window: The support window.
        templates: The tag templates; tags that match none of them are ignored.
        children: Digest of an index to the digests that it lists.
        pulled: Repository and digest to the day of a recent pull, which protects it.
    """
    everything = list(tags)
    versions = {v for each in everything for v in versions_of(templates.fixed, each.tag)}
    kept_versions = {version for version in versions if window.supports(version)}
    live, old = _moving(kept_versions, templates), _moving(versions - kept_versions, templates)
    outside = [each for each in everything if _outside(each.tag, window, templates, live, old)]
    inside = {(each.repository, each.digest) for each in everything if each not in set(outside)}
    for repository, digest in list(inside):
        inside |= {(repository, child) for child in (children or {}).get(digest, frozenset())}
    reasons = _pulled(outside, templates, pulled or {})
    # Next to a kept tag of the same image, removing a tag would remove only a name.
    spared = {(each.repository, each.digest): reason for each, reason in reasons.items()}
    remove, kept = [], []
    for each in sorted(outside, key=lambda tag: (tag.repository, tag.tag)):
        place = (each.repository, each.digest)
        if place in inside:
            kept.append((each, "the image is also named by a tag that stays"))
        elif place in spared:
            kept.append((each, reasons.get(each, spared[place])))
        else:
            remove.append(each)
    return Retirement(tuple(remove), tuple(kept))


def _pulled(
    outside: Iterable[StoredTag], templates: TagTemplates, pulled: Mapping[tuple[str, str], str]
) -> dict[StoredTag, str]:
    """Return the tags that stay because they are still pulled, each with the reason.

    A version stays in all its repositories or in none, so that no one gets half a release.
    """
    found: dict[StoredTag, str] = {}
    versions: dict[ReleaseVersion, str] = {}
    for each in outside:
        if day := pulled.get((each.repository, each.digest)):
            found[each] = f"it was pulled on {day}"
            for version in versions_of(templates.fixed, each.tag):
                versions[version] = f"{version} was pulled on {day}, from {each.repository}"
    for each in outside:
        for version in versions_of(templates.fixed, each.tag):
            if version in versions:
                found.setdefault(each, versions[version])
    return found


def _moving(versions: Iterable[ReleaseVersion], templates: TagTemplates) -> set[str]:
    return {tag for version in versions for tag in registry_tags(templates.moving, version, "0")}


def _outside(tag: str, window: Window, templates: TagTemplates, live: set[str], old: set[str]) -> bool:
    versions = versions_of(templates.fixed, tag)
    if tag in live or any(window.supports(version) for version in versions):
        return False
    return bool(versions) or tag in old
