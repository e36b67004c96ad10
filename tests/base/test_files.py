"""Reading a file that somebody named."""

from __future__ import annotations

from pathlib import Path

import pytest

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.files import read_named


@pytest.mark.parametrize(("what", "shown"), [("the plan", "the plan {}"), ("", "{}")])
def test_one_that_cannot_be_read_is_named(tmp_path: Path, what: str, shown: str):
    """With the reason of the system, and how to get one."""
    path = tmp_path / "plan.json"
    with pytest.raises(ConfigurationError) as caught:
        read_named(path, 10, what=what, hint="'promote plan --out' writes one")
    assert caught.value.message == f"{shown.format(path)} cannot be read: No such file or directory"
    assert caught.value.hint == "'promote plan --out' writes one"


@pytest.mark.parametrize("size", [9, 10, 11, 1_000_000])
def test_of_a_long_one_no_more_is_read_than_shows_it(tmp_path: Path, size: int):
    """Whoever parses it refuses what is longer than the limit."""
    path = tmp_path / "plan.json"
    path.write_bytes(bytes(size))
    assert len(read_named(path, 10, hint="")) == min(size, 11)
