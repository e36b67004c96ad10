"""The portal's page of the product, made from what the portal holds at this moment."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import field, replace
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError, ReleaseError
from jenkins_release.base.utf8 import NotUtf8, read_utf8
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.config.portal import PortalSection
from jenkins_release.portal import NotAtPortal
from jenkins_release.portal.memory import Remembered, memory_text, read_memory
from jenkins_release.portal.page import LineSupport, Page, PageFile, PageRelease, render_page
from jenkins_release.portal.system import system_of
from jenkins_release.records.attestation import (
    PROMOTION,
    PUBLICATION,
    REVOCATION,
    TEST_RESULT,
    WITHDRAWAL,
)
from jenkins_release.records.published_release import PublishedFile, PublishedRelease
from jenkins_release.rules.release.portal import line_name
from jenkins_release.share.releases import RELEASE
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.context.support import current_window
from jenkins_release.steps.publication.published_files import FoundRelease, read_published
from jenkins_release.steps.publication.standing import ReleaseStanding, standings

_log = logging.getLogger(__name__)
INDEX = "index.html"
HTML = "text/html; charset=utf-8"
MARKDOWN = "text/markdown; charset=utf-8"
SOURCES = "page"
"""Folder with the texts of the page, beside those of the versions: no version has this name."""
GUIDE = "setup-guide.md"
_MAX_TEXT = 1024 * 1024


@dataclass(frozen=True)
class AtPortal:
    """What the portal holds of the product.

    Attributes:
        complete: Version to record, of the releases of which every file is there.
        incomplete: Versions of which something is missing: an upload or a removal that did not end.
        sizes: Path below the product's folder to bytes.
        altered: Version to what is wrong with its record, there or in the release area.
        memory: What the page remembers of each version that was there.
    """

    complete: Mapping[str, FoundRelease]
    incomplete: tuple[str, ...]
    sizes: Mapping[str, int]
    altered: Mapping[str, str] = field(default_factory=dict)
    memory: Mapping[str, Remembered] = field(default_factory=dict)

    def files(self, version: str) -> dict[str, int]:
        """Return path below the version's folder to bytes."""
        start = f"{version}/"
        return {path.removeprefix(start): size for path, size in self.sizes.items() if path.startswith(start)}


@dataclass(frozen=True)
class PortalSupport:
    """Which versions at the portal customers are supported on.

    Attributes:
        supported: Versions, newest first: those that the page shows.
        withdrawn: Versions that were withdrawn, and are still there.
        outside: Versions outside N and N-1 that are still there.
        unproven: Versions of which it cannot be proven that they are in force, and why.
    """

    supported: tuple[str, ...]
    withdrawn: tuple[str, ...]
    outside: tuple[str, ...]
    unproven: Mapping[str, str] = field(default_factory=dict)


def look_at_portal(
    services: Services, *, without: str = "", published: FoundRelease | None = None
) -> AtPortal:
    """Look at what the portal holds.

    Args:
        services: The portal and the rest.
        without: A version on its way out; its record is not looked at, whatever it says.
        published: A release that was read from the release area already, and is not read again.

    Raises:
        IntegrityError: What the page remembers was changed.
        RemoteError: Portal or release area failed, after the retries.
    """
    product, portal = services.configuration.product.name, services.portal
    listed = services.retry(f"list {portal.name}", portal.files, product)
    sizes = {file.path.removeprefix(f"{product}/"): file.size for file in listed}
    complete: dict[str, FoundRelease] = {}
    incomplete = []
    altered: dict[str, str] = {}
    for version in sorted({top for path in sizes if _is_version(top := path.partition("/")[0])}):
        there = version != without and f"{version}/{RELEASE}" in sizes
        try:
            release = _record(version, published, services) if there else None
        except IntegrityError as error:
            altered[version] = error.message
            continue
        if release is None or any(
            sizes.get(f"{version}/{file.path}") != file.size for file in release.record.files
        ):
            incomplete.append(version)
        else:
            complete[version] = release
    return AtPortal(complete, tuple(incomplete), sizes, altered, _memory(services))


def standings_at(
    found: AtPortal,
    services: Services,
    known: Mapping[str, OpenCandidate | ReleaseError] = MappingProxyType({}),
) -> dict[str, ReleaseStanding]:
    """Say how each complete version at the portal stands, by its candidate and by what the page remembers.

    Args:
        found: What the portal holds.
        services: Share, keys, registry and release area.
        known: Candidates that this look has read already, as for :func:`standings`.
    """
    said = standings(found.complete, services, known)
    for version, each in said.items():
        lost = each.opened and lost_since(each.opened, found.memory.get(version), services)
        if lost:
            said[version] = replace(each, unproven=lost)
    return said


def window(
    found: AtPortal,
    services: Services,
    known: Mapping[str, OpenCandidate | ReleaseError] = MappingProxyType({}),
) -> PortalSupport:
    """Say which of the versions at the portal are supported; the arguments are those of :func:`standings_at`.

    What is not proven to be in force is not shown. It opens no line either: a line that is not proven
    must not push out one that is.
    """
    return _window(found, standings_at(found, services, known), services)


def _window(found: AtPortal, said: Mapping[str, ReleaseStanding], services: Services) -> PortalSupport:
    parsed = [ReleaseVersion.parse(version) for version in said]
    inside = supported(parsed, {v for v in parsed if not said[v.text].in_force}, services)
    shown = tuple(version.text for version in inside)
    unproven = {**found.altered, **{v: each.unproven for v, each in said.items() if each.unproven}}
    withdrawn = tuple(v for v, each in said.items() if each.withdrawn and v not in unproven)
    outside = tuple(v.text for v in parsed if v.text not in {*shown, *withdrawn, *unproven})
    return PortalSupport(shown, withdrawn, outside, unproven)


_SPEAKS = (TEST_RESULT, REVOCATION, PROMOTION, PUBLICATION, WITHDRAWAL)
"""What speaks for or against a release. An upload does not: each would change the page once more."""


def lost_since(opened: OpenCandidate, remembered: Remembered | None, services: Services) -> str:
    """Say what of a chain is gone that the page was made from; empty if nothing is."""
    if remembered is None or remembered.candidate != opened.digest:
        return ""
    files = list(opened.attestations.values())[: remembered.number]
    if len(files) == remembered.number and sha256(files[-1]).hexdigest() == remembered.sha256:
        return ""
    return (
        f"the attestation {remembered.number:04d} of {opened.ref}, which the page of {services.portal.name} "
        "was made from, was removed or replaced"
    )


def _memory(services: Services) -> dict[str, Remembered]:
    path = f"{services.configuration.product.name}/{INDEX}"
    try:
        data = services.retry(f"read {path}", services.portal.read_small, path)
    except NotAtPortal:
        return {}
    return read_memory(data, f"{services.portal.name}/{path}")


def _remember(before: Mapping[str, Remembered], said: Mapping[str, ReleaseStanding]) -> dict[str, Remembered]:
    """Return what the next page remembers: all that the one before it did, and what is proven now."""
    memory = dict(before)
    for version, each in said.items():
        if each.opened is None or each.unproven:
            continue
        spoken = each.opened.evidence.of(*_SPEAKS)[-1:]
        if spoken:
            digest = sha256(each.opened.attestations[spoken[0].file]).hexdigest()
            memory[version] = Remembered(each.opened.digest, spoken[0].statement.sequence, digest)
    return memory


def supported(
    versions: Iterable[ReleaseVersion], withdrawn: Collection[ReleaseVersion], services: Services
) -> list[ReleaseVersion]:
    """Return those of some versions that customers are supported on, newest first."""
    known = {version for version in versions if version not in withdrawn}
    return current_window(known, services).supported(known)


def write_index(
    services: Services, *, without: str = "", leaving: OpenCandidate | None = None
) -> tuple[bool, PortalSupport]:
    """Write the page again; the last step of an upload, the first of a removal.

    Args:
        services: The portal and the rest.
        without: A version to leave out.
        leaving: Its candidate, which the page remembers all the same; None if that is not proven.

    Returns:
        Whether the page changed, and what it shows.
    """
    product, portal = services.configuration.product.name, services.portal
    seen: list[PortalSupport] = []

    def make() -> bytes:
        found = look_at_portal(services, without=without)
        said = standings_at(found, services)
        seen.append(_window(found, said, services))
        left = {without: ReleaseStanding(opened=leaving)} if leaving is not None else {}
        memory = _remember(found.memory, {**said, **left})
        return render_page(replace(_page(found, seen[-1], services), memory=memory_text(memory)))

    path = f"{product}/{INDEX}"
    changed = services.retry(f"write {path}", portal.write_page, path, make, HTML)
    if seen[-1].withdrawn:
        _log.warning("withdrawn, but still at %s: %s", portal.name, ", ".join(seen[-1].withdrawn))
    for version, why in seen[-1].unproven.items():
        _log.warning(
            "%s is at %s, but cannot be proven and is not on the page: %s", version, portal.name, why
        )
    return changed, seen[-1]


def read_text(path: str, what: str) -> bytes:
    """Read a Markdown file of this machine for the page.

    Raises:
        ConfigurationError: It cannot be read, is no UTF-8 text, or far too large.
    """
    try:
        data = read_utf8(Path(path).read_bytes()).encode()
    except (OSError, NotUtf8) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(
            f"{what} {path} cannot be read: {reason}", hint="write it, or change it in [portal]"
        ) from error
    if len(data) > _MAX_TEXT:
        raise ConfigurationError(f"{what} {path} has {len(data)} bytes, at most {_MAX_TEXT} are allowed")
    return data


def _record(version: str, published: FoundRelease | None, services: Services) -> FoundRelease | None:
    product, portal = services.configuration.product.name, services.portal
    path = f"{product}/{version}/{RELEASE}"
    try:
        data = services.retry(f"read {path}", portal.read_small, path)
    except NotAtPortal:  # it is being removed right now
        return None
    area = services.releases
    if published is None or published.record.version != version:
        published = services.retry(f"read {area.shown(version)}", read_published, version, area)
    if published is not None and published.data != data:
        raise IntegrityError(
            f"{portal.name}/{path} is not the one in the release area",
            hint=f"find out who changed the portal; "
            f"'release portal {version} --remove --force REASON' removes it",
        )
    record = PublishedRelease.from_bytes(data, f"{portal.name}/{path}")
    if (record.product, record.version) != (product, version):
        raise IntegrityError(f"{portal.name}/{path} describes {record.product} {record.version}")
    return FoundRelease(data, record)


def _page(found: AtPortal, shown: PortalSupport, services: Services) -> Page:
    section, product = services.configuration.portal, services.configuration.product.name
    releases = []
    for text in shown.supported:
        version, record = ReleaseVersion.parse(text), found.complete[text].record
        files = tuple(
            PageFile(f"{text}/{file.path}", file.size, file.sha256, file.kind, _system(file, section))
            for file in record.files
        )
        releases.append(
            PageRelease(
                text,
                line_name(version, services.configuration.support.line),
                record.published_at.date(),
                files,
                _source(found, f"{text}.md", services),
                _source(found, upgrade_notes(text), services),
                version.final,
            )
        )
    logo = f"{SOURCES}/{logo_name(section.logo)}"
    return Page(
        section.title or f"{product} downloads",
        product,
        tuple(releases),
        _source(found, GUIDE, services),
        links=section.access == "public",
        support=_support(shown, services),
        logo=logo if section.logo and logo in found.sizes else "",
        colour=section.colour,
    )


def _system(file: PublishedFile, section: PortalSection) -> str:
    return system_of(file.path.rpartition("/")[2], file.kind, section.systems)


def _support(shown: PortalSupport, services: Services) -> dict[str, LineSupport]:
    section = services.configuration.support
    versions = map(ReleaseVersion.parse, shown.supported)
    lines = current_window(versions, services).names
    return {
        line: LineSupport(section.ends.get(line), section.lines - place) for place, line in enumerate(lines)
    }


def upgrade_notes(version: str) -> str:
    """Return the name of a version's upgrade notes at the portal, beside its release notes."""
    return f"upgrade-{version}.md"


def logo_name(path: str) -> str:
    """Return the name of the logo at the portal, for that of the product's repository."""
    return f"logo{Path(path).suffix.lower()}"


def _source(found: AtPortal, name: str, services: Services) -> str:
    """Read a text of the page from the portal: the page can be made anew wherever a command runs."""
    path = f"{SOURCES}/{name}"
    if path not in found.sizes:
        return ""
    full = f"{services.configuration.product.name}/{path}"
    try:
        data = services.retry(f"read {full}", services.portal.read_small, full)
    except NotAtPortal:
        return ""
    return data.decode("utf-8", "replace")


def _is_version(name: str) -> bool:
    try:
        ReleaseVersion.parse(name)
    except ConfigurationError:
        return False
    return True
