"""Reading the project's Markdown: fences, the marks before them, tables, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- test: ([\w-]+) -->\n\Z")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Fence:
    """A fenced block.

    Attributes:
        language: What stands after the backticks.
        text: The lines in it.
        mark: The scenario that ``<!-- test: NAME -->`` before it names, or an empty string.
    """

    language: str
    text: str
    mark: str


@cache
def pages() -> tuple[Path, ...]:
    """Return every Markdown page that is written for people."""
    found = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]
    return (*found, *sorted((ROOT / "docs").rglob("*.md")))


def name(page: Path) -> str:
    """Return a page's path below the project."""
    return page.relative_to(ROOT).as_posix()


@cache
def read(page: Path) -> str:
    """Return a page's text."""
    return page.read_text(encoding="utf-8")


def fences(page: Path) -> Iterator[Fence]:
    """Yield the fenced blocks of a page."""
    text = read(page)
    for match in _FENCE.finditer(text):
        mark = _MARK.search(text[: match.start()])
        indent = match[1]
        body = "".join(line.removeprefix(indent) for line in match[3].splitlines(keepends=True))
        yield Fence(match[2], body, mark[1] if mark else "")


def marked(page: Path, mark: str) -> list[Fence]:
    """Return the blocks of a page with a mark, in their order."""
    return [fence for fence in fences(page) if fence.mark == mark]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", read(page))


def inline_code(page: Path) -> list[str]:
    """Return what stands between single backticks."""
    return _INLINE.findall(prose(page))


def links(page: Path) -> list[str]:
    """Return the targets of a page's links."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found = set()
    for heading in _HEADING.findall(prose(page)):
        plain = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
        found.add(plain.strip().replace(" ", "-"))
    return found


def table(page: Path, *headers: str) -> list[list[str]]:
    """Return the rows of the tables of a page whose first titles are ``headers``."""
    rows: list[list[str]] = []
    inside = False
    for line in read(page).splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        if not cells:
            inside = False
        elif tuple(cells[: len(headers)]) == headers:
            inside = True
        elif inside and not set("".join(cells)) <= set("-: "):
            rows.append(cells)
    return rows
