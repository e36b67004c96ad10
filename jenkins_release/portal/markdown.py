"""Renders the release team's Markdown as part of a page, without embedded HTML or external content.

CommonMark and tables by markdown-it-py, with HTML off: tags are shown as text. Only links to ``https``,
``http`` and ``mailto`` are kept; an image is shown as its description, since a page of the portal loads
nothing from other servers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from markdown_it.token import Token

_SCHEMES = frozenset({"https", "http", "mailto"})


def render_markdown(text: str, *, level: int) -> str:
    """Return the HTML of a Markdown text.

    Args:
        text: The Markdown.
        level: Level of its topmost headings. Gaps between levels are closed, so that people can navigate by
            headings; nothing is deeper than ``h6``.

    Returns:
        HTML in which everything except our own markup is escaped.
    """
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    _level_headings(tokens, level)
    for token in tokens:
        if token.type == "th_open":
            token.attrSet("scope", "col")
        if token.children:
            token.children = _inline(token.children)
    return str(parser.renderer.render(tokens, parser.options, {}))


def _level_headings(tokens: Sequence[Token], level: int) -> None:
    open_levels: list[int] = []
    for token in tokens:
        if token.type not in {"heading_open", "heading_close"}:
            continue
        own = int(token.tag[1:])
        if token.type == "heading_open":
            while open_levels and open_levels[-1] >= own:
                open_levels.pop()
            open_levels.append(own)
        token.tag = f"h{min(6, level + len(open_levels) - 1)}"


def _inline(tokens: Sequence[Token]) -> list[Token]:
    found: list[Token] = []
    dropped: list[bool] = []
    for token in tokens:
        if token.type == "link_open":
            drop = not _allowed(str(token.attrGet("href") or ""))
            dropped.append(drop)
            if drop:
                continue
            token.attrSet("rel", "noopener noreferrer")
        elif token.type == "link_close" and dropped.pop():
            continue
        if token.type == "image":
            described = "".join(child.content for child in token.children or [])
            token.type, token.tag, token.content, token.children, token.attrs = (
                "text",
                "",
                described,
                None,
                {},
            )
        found.append(token)
    return found


def _allowed(href: str) -> bool:
    try:
        parts = urlsplit(href)
    except ValueError:
        return False
    return parts.scheme.lower() in _SCHEMES and bool(parts.netloc or parts.path)
