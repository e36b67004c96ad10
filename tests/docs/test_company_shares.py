"""What docs/company-shares.md says was tried is tried by the tests that it names."""

from __future__ import annotations

import ast

import pytest

from tests.docs.pages import ROOT, read, table

PAGE = ROOT / "docs" / "company-shares.md"
_TITLES = [
    ("what the share does",),
    ("what the share has",),
    ("what others do",),
    ("what the server grants",),
    ("what the domain does",),
]
_TITLES += [("what the network does",), ("when", "what happens")]
ROWS = [cells for titles in _TITLES for cells in table(PAGE, *titles)]


@pytest.mark.parametrize("test", [cells[3].strip("`") for cells in ROWS])
def test_a_row_names_a_test_that_exists(test: str):
    """A test that is renamed or removed takes its row along."""
    file, _, name = test.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_no_row_is_overlooked():
    """Every table of the page is read here."""
    rows = [line for line in read(PAGE).splitlines() if line.startswith("| ")]
    assert len(ROWS) == len([row for row in rows if "::test_" in row]) >= 40
