"""What runs in the network of the domain: one test for each file there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

FILES = sorted(path.stem for path in (Path(__file__).parent / "inside").glob("test_*.py"))

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]


@pytest.mark.parametrize("file", FILES)
def test_nothing_fails_there(ran: Mapping[str, list[str]], file: str) -> None:
    """No test of it failed or was skipped."""
    assert not ran[file], "\n".join(ran[file])
