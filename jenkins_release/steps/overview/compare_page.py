"""The page of a comparison: static HTML without scripts, and a style sheet beside it.

Jenkins serves archived files under a content security policy that allows neither inline styles nor scripts
nor ``data:`` addresses (https://www.jenkins.io/doc/book/security/configuring-content-security-policy/).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import quote

from jenkins_release.base.moments import minute
from jenkins_release.base.text import plain, size, size_difference

if TYPE_CHECKING:
    from jinja2 import Template

    from jenkins_release.steps.overview.comparison import CompareReport

_FOLDER = files("jenkins_release.steps.overview") / "page"


def render_comparison(report: CompareReport, style: str) -> bytes:
    """Return the page as UTF-8.

    Args:
        report: The comparison.
        style: File name of the style sheet, in the same folder.
    """
    return (_template().render(report=report, style=f"./{quote(style)}") + "\n").encode()


def style_sheet() -> bytes:
    """Return the style sheet."""
    return (_FOLDER / "compare.css").read_bytes()


@cache
def _template() -> Template:
    from jinja2 import BaseLoader, Environment, StrictUndefined

    environment = Environment(
        loader=BaseLoader(),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": size, "plain": plain, "minute": minute, "signed": size_difference}
    return environment.from_string((_FOLDER / "compare.html").read_text(encoding="utf-8"))
