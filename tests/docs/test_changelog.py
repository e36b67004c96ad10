"""CHANGELOG.md has the form of Keep a Changelog."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT


def test_each_kind_of_change_has_one_heading_in_a_version():
    """A second one hides what is below it from those who read the first."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for version in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (.+)$", version, re.MULTILINE)
        assert len(kinds) == len(set(kinds)), version.splitlines()[0]
        assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
