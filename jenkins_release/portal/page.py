"""The portal's page of a product: static HTML that works without scripts and loads nothing but the logo."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import date
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import quote

from jenkins_release.base.dataclass import dataclass
from jenkins_release.portal.colours import brand_style
from jenkins_release.portal.memory import NAME
from jenkins_release.portal.system import OTHER, SYSTEMS, described

if TYPE_CHECKING:
    from jinja2 import Template

_FOLDER = files("jenkins_release.portal") / "page"
_KINDS = {
    "setup": "setup for containers",
    "sbom": "software bill of materials (SBOM)",
    "vex": "vulnerability statements (VEX)",
}
_DOCUMENTS = frozenset({"sbom", "vex"})


@dataclass(frozen=True)
class PageFile:
    """A file on the page.

    Attributes:
        path: Path relative to the page.
        size: Bytes.
        sha256: SHA-256 in hex.
        kind: ``installer``, ``setup``, ``sbom`` or ``vex``.
        system: The system that it is for, as :func:`system_of` says.
    """

    path: str
    size: int
    sha256: str
    kind: str
    system: str = OTHER

    @property
    def name(self) -> str:
        """Its name without the folder."""
        return self.path.rpartition("/")[2]

    @property
    def described(self) -> str:
        """What it is, for customers; empty if its name does not tell."""
        return _KINDS.get(self.kind) or described(self.name)


@dataclass(frozen=True)
class PageRelease:
    """A supported version on the page.

    Attributes:
        version: Version.
        line: Its line, such as ``8.1``.
        published: Day on which it was published.
        files: Its files.
        notes: Release notes in Markdown; empty for none.
        upgrade: Upgrade notes in Markdown; empty for none.
        final: Whether it is not a pre-release.
    """

    version: str
    line: str
    published: date
    files: tuple[PageFile, ...]
    notes: str
    upgrade: str = ""
    final: bool = True

    @property
    def systems(self) -> list[tuple[str, list[PageFile]]]:
        """Its files by system: the usual ones first, what is for no known system last."""
        found: dict[str, list[PageFile]] = {}
        for file in self.files:
            if file.kind not in _DOCUMENTS:
                found.setdefault(file.system, []).append(file)
        return sorted(found.items(), key=lambda group: (_place(group[0]), group[0].casefold()))

    @property
    def known_systems(self) -> list[str]:
        """The systems of its files, as far as they are known."""
        return [system for system, _ in self.systems if system != OTHER]

    @property
    def documents(self) -> list[PageFile]:
        """Documents that describe its images."""
        return [file for file in self.files if file.kind in _DOCUMENTS]


def _place(system: str) -> int:
    usual = len(SYSTEMS)
    return SYSTEMS.index(system) if system in SYSTEMS else usual + (system == OTHER)


@dataclass(frozen=True)
class LineSupport:
    """How long a line is supported.

    Attributes:
        ends: Last day; None if no day is known.
        newer: Number of further lines after which it is outside the support window.
    """

    ends: date | None
    newer: int


@dataclass(frozen=True)
class PageLine:
    """A supported line on the page.

    Attributes:
        name: Its name, such as ``8.1``.
        newest: Its newest version.
        earlier: Its other versions, newest first.
        support: How long it is supported; None if that is not known.
    """

    name: str
    newest: PageRelease
    earlier: tuple[PageRelease, ...]
    support: LineSupport | None


@dataclass(frozen=True)
class Page:
    """The content of the page.

    Attributes:
        title: Its title.
        product: Product.
        releases: Supported versions, newest first.
        guide: Setup guide in Markdown; empty for none.
        links: Whether files are links; otherwise customers are sent an address for each file.
        memory: What the page remembers about its releases; see :mod:`.memory`.
        support: Line to how long it is supported.
        logo: Path of the logo relative to the page; empty for none.
        colour: The product's colour, ``#rrggbb``; empty for the default.
    """

    title: str
    product: str
    releases: tuple[PageRelease, ...]
    guide: str
    links: bool
    memory: str = ""
    support: Mapping[str, LineSupport] = field(default_factory=dict)
    logo: str = ""
    colour: str = ""

    @property
    def lines(self) -> list[PageLine]:
        """The lines with their final versions, newest first."""
        found: dict[str, list[PageRelease]] = {}
        for release in self.releases:
            if release.final:
                found.setdefault(release.line, []).append(release)
        return [
            PageLine(name, newest, tuple(earlier), self.support.get(name))
            for name, (newest, *earlier) in found.items()
        ]

    @property
    def trials(self) -> list[PageRelease]:
        """The pre-releases, newest first: no customer should take one for the newest version."""
        return [release for release in self.releases if not release.final]


def render_page(page: Page) -> bytes:
    """Return the page as UTF-8.

    Style and script are embedded, and its content security policy names their hashes, so nothing but the logo
    is loaded and nothing else is run, whatever a name or text contains.
    """
    style, script = _text("page.css") + brand_style(page.colour), _text("page.js")
    policy = "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_source_hash(style)}'",
            f"script-src '{_source_hash(script)}'",
            *(["img-src 'self'"] if page.logo else []),
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return (
        _template().render(page=page, memory=NAME, style=style, script=script, policy=policy) + "\n"
    ).encode()


def human_size(count: int) -> str:
    """Return a readable number of bytes, in decimal units as usual for downloads."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{count:,} bytes" if unit == "bytes" else f"{value:.1f} {unit}"


def human_day(day: date) -> str:
    """Return a day such as ``3 November 2026``."""
    return f"{day.day} {day:%B %Y}"


def _listed(names: Sequence[str]) -> str:
    """Return names as in a sentence."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _source_hash(text: str) -> str:
    """Return a source expression for an inline element (Content Security Policy Level 3, section 2.3.1)."""
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    from jinja2 import BaseLoader, Environment, StrictUndefined
    from markupsafe import Markup

    from jenkins_release.portal.markdown import render_markdown

    def markdown(text: str, level: int) -> Markup:
        return Markup(render_markdown(text, level=level))  # noqa: S704 - escaped there

    def raw(text: str) -> Markup:
        return Markup(text)  # noqa: S704 - our own style and script

    environment = Environment(
        loader=BaseLoader(),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "markdown": markdown,
        "raw": raw,
        "size": human_size,
        "address": _address,
        "day": human_day,
        "listed": _listed,
    }
    return environment.from_string(_text("page.html"))


def _address(path: str) -> str:
    """Return a path as a relative link. Prevents a first part with a colon from being read as a scheme."""
    return "./" + quote(path)
