"""Pages for people: static HTML without scripts, and a style sheet beside it.

Jenkins serves archived files under a content security policy that allows neither inline styles nor scripts
nor ``data:`` addresses (https://www.jenkins.io/doc/book/security/configuring-content-security-policy/).
From a share a page opens as ``file:``, so every link is relative.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.moments import minute
from jenkins_release.base.text import plain, shortened, size, size_difference, web_address
from jenkins_release.steps.context.local_files import write_file

if TYPE_CHECKING:
    from jinja2 import Environment

STYLE = "page.css"
"""The style sheet of all pages."""
_LONGEST = 200
_SHOWN = len("sha256:") + 12


def write_page(template: str, page: Path, **values: Any) -> None:
    """Write a page, and its style sheet under the same name beside it.

    Args:
        template: Name of the template.
        page: The file.
        values: What the template shows.

    Raises:
        ConfigurationError: A file cannot be written, or both would have the same name.
    """
    style = page.with_suffix(".css")
    if style == page:
        raise ConfigurationError(f"the page {page} would overwrite its style sheet", hint="name it .html")
    write_file(style, style_sheet(), "the style sheet")
    write_file(page, render(template, style=f"./{quote(style.name)}", **values), "the page")


def render(template: str, **values: Any) -> bytes:
    """Return a page as UTF-8; values as in :func:`write_page`, and ``style``, the style sheet's address."""
    return (_environment().get_template(template).render(values) + "\n").encode()


def style_sheet() -> bytes:
    """Return the style sheet."""
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), STYLE)[0].encode()


def short(digest: str) -> str:
    """Return the beginning of a digest, enough to tell two apart."""
    return digest[:_SHOWN]


def brief(text: object) -> str:
    """Return the beginning of an untrusted text, safe for a page: others may have written megabytes."""
    return plain(shortened(str(text), _LONGEST))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("jenkins_release.steps.overview", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "size": size,
        "plain": plain,
        "brief": brief,
        "minute": minute,
        "signed": size_difference,
        "short": short,
        "address": web_address,
    }
    return environment
