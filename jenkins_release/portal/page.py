"""The portal's page of a product: static HTML that works without scripts and loads nothing."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from datetime import date
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import quote

from jenkins_release.portal.memory import NAME

if TYPE_CHECKING:
    from jinja2 import Template

_FOLDER = files("jenkins_release.portal") / "page"
_KINDS = {
    "setup": "setup for containers",
    "sbom": "software bill of materials (SBOM)",
    "vex": "vulnerability statements (VEX)",
}


@dataclass(frozen=True)
class PageFile:
    """A file on the page.

    Attributes:
        path: Path relative to the page.
        size: Bytes.
        sha256: SHA-256 in hex.
        kind: ``installer``, ``setup``, ``sbom`` or ``vex``.
    """

    path: str
    size: int
    sha256: str
    kind: str

    @property
    def name(self) -> str:
        """Its name without the folder."""
        return self.path.rpartition("/")[2]

    @property
    def described(self) -> str:
        """What it is, for customers; empty for an installer."""
        return _KINDS.get(self.kind, "")


@dataclass(frozen=True)
class PageRelease:
    """A supported version on the page.

    Attributes:
        version: Version.
        line: Its line, such as ``8.1``.
        published: Day on which it was published.
        files: Its files.
        notes: Release notes in Markdown; empty for none.
    """

    version: str
    line: str
    published: date
    files: tuple[PageFile, ...]
    notes: str


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
    """

    title: str
    product: str
    releases: tuple[PageRelease, ...]
    guide: str
    links: bool
    memory: str = ""

    @property
    def lines(self) -> list[tuple[str, list[PageRelease]]]:
        """The versions by line, newest first."""
        found: dict[str, list[PageRelease]] = {}
        for release in self.releases:
            found.setdefault(release.line, []).append(release)
        return list(found.items())


def render_page(page: Page) -> bytes:
    """Return the page as UTF-8.

    Style and script are embedded, and its content security policy names their hashes, so nothing else is
    loaded or run, whatever a name or text contains.
    """
    style, script = _text("page.css"), _text("page.js")
    policy = "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_source_hash(style)}'",
            f"script-src '{_source_hash(script)}'",
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
    environment.filters |= {"markdown": markdown, "raw": raw, "size": human_size, "address": _address}
    return environment.from_string(_text("page.html"))


def _address(path: str) -> str:
    """Return a path as a relative link. Prevents a first part with a colon from being read as a scheme."""
    return "./" + quote(path)
