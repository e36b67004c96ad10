"""The portal's page of the product, made from what the portal holds at this moment."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jenkins_release.errors import ConfigurationError, IntegrityError
from jenkins_release.portal import NotAtPortal
from jenkins_release.portal.page import Page, PageFile, PageRelease, render_page
from jenkins_release.records.published import PublishedRelease
from jenkins_release.rules.portal import line_name, supported_versions
from jenkins_release.rules.versions import ReleaseVersion
from jenkins_release.share.releases import RELEASE
from jenkins_release.steps._portal_release import withdrawn_among
from jenkins_release.steps._published import read_published
from jenkins_release.steps.services import Services

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
    """

    complete: Mapping[str, PublishedRelease]
    incomplete: tuple[str, ...]
    sizes: Mapping[str, int]

    def files(self, version: str) -> dict[str, int]:
        """Return path below the version's folder to bytes."""
        start = f"{version}/"
        return {path.removeprefix(start): size for path, size in self.sizes.items() if path.startswith(start)}


@dataclass(frozen=True)
class Window:
    """Which versions at the portal customers are supported on.

    Attributes:
        supported: Versions, newest first: those that the page shows.
        withdrawn: Versions that were withdrawn, and are still there.
        outside: Versions outside N and N-1 that are still there.
    """

    supported: tuple[str, ...]
    withdrawn: tuple[str, ...]
    outside: tuple[str, ...]


def look(services: Services, *, without: str = "") -> AtPortal:
    """Look at what the portal holds.

    Args:
        services: The portal and the rest.
        without: A version on its way out; its record is not looked at, whatever it says.

    Raises:
        IntegrityError: A ``release.json`` there is none, or not the one in the release area.
    """
    product, portal = services.configuration.product.name, services.portal
    listed = services.retry(f"list {portal.name}", lambda: portal.files(product))
    sizes = {file.path.removeprefix(f"{product}/"): file.size for file in listed}
    complete: dict[str, PublishedRelease] = {}
    incomplete = []
    for version in sorted({top for path in sizes if _is_version(top := path.partition("/")[0])}):
        there = version != without and f"{version}/{RELEASE}" in sizes
        record = _record(version, services) if there else None
        if record is None or any(sizes.get(f"{version}/{file.path}") != file.size for file in record.files):
            incomplete.append(version)
        else:
            complete[version] = record
    return AtPortal(complete, tuple(incomplete), sizes)


def window(found: AtPortal, services: Services) -> Window:
    """Say which of the versions at the portal are supported."""
    records = [*found.complete.values()]
    gone = withdrawn_among(records, services)
    parsed = [ReleaseVersion.parse(record.version) for record in records]
    inside = supported(parsed, {version for version in parsed if gone[version.text]}, services)
    shown = tuple(version.text for version in inside)
    withdrawn = tuple(version for version in gone if gone[version])
    outside = tuple(v.text for v in parsed if v.text not in {*shown, *withdrawn})
    return Window(shown, withdrawn, outside)


def supported(
    versions: Iterable[ReleaseVersion], withdrawn: Collection[ReleaseVersion], services: Services
) -> list[ReleaseVersion]:
    """Return those of some versions that customers are supported on, newest first."""
    section = services.configuration.support
    return supported_versions(versions, withdrawn, count=section.lines, kind=section.line)


def write_index(services: Services, *, without: str = "") -> tuple[bool, Window]:
    """Write the page anew; the last thing of an upload, the first of a removal.

    Args:
        services: The portal and the rest.
        without: A version to leave out.

    Returns:
        Whether the page changed, and what it shows.
    """
    product, portal = services.configuration.product.name, services.portal
    seen: list[Window] = []

    def make() -> bytes:
        found = look(services, without=without)
        seen.append(window(found, services))
        return render_page(_page(found, seen[-1], services))

    path = f"{product}/{INDEX}"
    changed = services.retry(f"write {path}", lambda: portal.write_page(path, make, HTML))
    if seen[-1].withdrawn:
        _log.warning("withdrawn, and still at %s: %s", portal.name, ", ".join(seen[-1].withdrawn))
    return changed, seen[-1]


def read_text(path: str, what: str) -> bytes:
    """Read a Markdown file of this machine for the page.

    Raises:
        ConfigurationError: It cannot be read, is no UTF-8 text, or far too large.
    """
    try:
        data = Path(path).read_bytes()
        data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigurationError(
            f"{what} {path} cannot be read: {reason}", hint="write it, or change it in [portal]"
        ) from error
    if len(data) > _MAX_TEXT:
        raise ConfigurationError(f"{what} {path} has {len(data)} bytes, at most {_MAX_TEXT} are possible")
    return data


def _record(version: str, services: Services) -> PublishedRelease | None:
    product, portal = services.configuration.product.name, services.portal
    path = f"{product}/{version}/{RELEASE}"
    try:
        data = services.retry(f"read {path}", lambda: portal.read_small(path))
    except NotAtPortal:  # somebody removes it at this moment
        return None
    area = services.releases
    published = services.retry(f"read {area.shown(version)}", lambda: read_published(version, area))
    if published is not None and published.data != data:
        raise IntegrityError(
            f"{portal.name}/{path} is not the one in the release area",
            hint=f"find out who changed the portal; "
            f"'release portal {version} --remove --force REASON' removes it",
        )
    record = PublishedRelease.from_bytes(data, f"{portal.name}/{path}")
    if (record.product, record.version) != (product, version):
        raise IntegrityError(f"{portal.name}/{path} describes {record.product} {record.version}")
    return record


def _page(found: AtPortal, shown: Window, services: Services) -> Page:
    section, product = services.configuration.portal, services.configuration.product.name
    releases = []
    for text in shown.supported:
        version, record = ReleaseVersion.parse(text), found.complete[text]
        files = tuple(
            PageFile(f"{text}/{file.path}", file.size, file.sha256, file.kind) for file in record.files
        )
        notes = _source(found, f"{text}.md", services)
        line = line_name(version, services.configuration.support.line)
        releases.append(PageRelease(text, line, record.published_at.date(), files, notes))
    title = section.title or f"{product} downloads"
    guide = _source(found, GUIDE, services)
    return Page(title, product, tuple(releases), guide, links=section.access == "public")


def _source(found: AtPortal, name: str, services: Services) -> str:
    """Read a text of the page from the portal: the page can be made anew wherever a command runs."""
    path = f"{SOURCES}/{name}"
    if path not in found.sizes:
        return ""
    full = f"{services.configuration.product.name}/{path}"
    try:
        data = services.retry(f"read {full}", lambda: services.portal.read_small(full))
    except NotAtPortal:
        return ""
    return data.decode("utf-8", "replace")


def _is_version(name: str) -> bool:
    try:
        ReleaseVersion.parse(name)
    except ConfigurationError:
        return False
    return True
