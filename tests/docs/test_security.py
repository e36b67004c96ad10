"""The page on security names a test for each attack, and the tests are there."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "security.md"
_ROW = re.compile(r"^\| (F\d+) \|.*\| ([^|]+) \|$", re.MULTILINE)
_TEST = re.compile(r"`(tests/[\w/.-]+)::([^`]+)`")


def test_every_attack_has_a_test_that_exists():
    """Renamed or removed tests would leave a promise that nothing holds."""
    rows = dict(_ROW.findall(PAGE.read_text()))
    assert list(rows) == [f"F{number}" for number in range(1, 20)]
    for row, tests in rows.items():
        named = _TEST.findall(tests)
        assert named, f"{row} names no test"
        for path, name in named:
            text = (ROOT / path).read_text()
            pattern = rf'@test "{re.escape(name)}"' if path.endswith(".bats") else rf"def {re.escape(name)}\("
            assert re.search(pattern, text), f"{row}: {path} has no test {name}"
