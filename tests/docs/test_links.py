"""Links between the pages lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, anchors, inline_code, links, name, pages, read


@pytest.mark.parametrize("page", pages(), ids=name)
def test_relative_links_resolve(page: Path):
    """The file is there, and the heading in it."""
    for link in links(page):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), link
        assert file.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(file), link


@pytest.mark.parametrize("page", pages(), ids=name)
def test_modules_that_a_page_names_exist(page: Path):
    """By a path from the project's root, or from the package's."""
    named = [text for text in inline_code(page) if re.fullmatch(r"[\w.-]+/[\w./-]*\.py", text)]
    roots = (ROOT, ROOT / "jenkins_release", ROOT / "tests")
    assert [text for text in named if not any((root / text).exists() for root in roots)] == []


def test_every_page_is_reachable_from_the_readme():
    """Nobody finds a page that nothing links to."""
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached:
            continue
        reached.add(page)
        files = [link.partition("#")[0] for link in links(page) if "://" not in link]
        targets = [(page.parent / file).resolve() for file in files if file]
        todo += [target for target in targets if target.suffix == ".md" and target.exists()]
        todo += [child for target in targets if target.is_dir() for child in target.glob("*.md")]
    assert {name(page) for page in pages()} - {name(page) for page in reached} == set()


def test_decisions_have_numbers_of_their_own():
    """docs/adr/NNNN-title.md, and the heading has the same number."""
    found = sorted((ROOT / "docs" / "adr").glob("*.md"))
    numbers = [int(page.name[:4]) for page in found]
    assert numbers == sorted(set(numbers))
    for page in found:
        assert read(page).startswith(f"# {int(page.name[:4])}. "), page.name
